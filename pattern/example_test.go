package pattern_test

import (
	"errors"
	"fmt"

	"github.com/grapnel/grapnel/pattern"
)

func ExampleCompile() {
	p, err := pattern.Compile([]byte(`{
		"source": ["github.com"],
		"detail": {"ref": [{"prefix": "refs/tags/"}, {"wildcard": "refs/heads/release-*"}]}
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	matched, err := p.Match([]byte(`{"source": "github.com", "detail": {"ref": "refs/heads/release-2"}}`))
	fmt.Println(matched, err)
	// Output: true <nil>
}

func ExampleError() {
	_, err := pattern.Compile([]byte(`{"detail": {"size": [{"numeric": [">", "5"]}]}}`))
	fmt.Println(err)
	if invalid, ok := errors.AsType[*pattern.Error](err); ok {
		fmt.Printf("%s, at byte %d, in %v\n", invalid.Reason, invalid.Offset, invalid.Path)
	}
	// Output:
	// Event pattern is not valid. Reason: Value of > must be numeric
	//  at [Source: (String)"{"detail": {"size": [{"numeric": [">", "5"]}]}}"; line: 1, column: 43]
	// Value of > must be numeric, at byte 39, in [detail size 0]
}

func ExampleSet() {
	var rules []*pattern.Pattern
	for _, text := range []string{
		`{"source": ["github.com"], "detail-type": ["push"]}`,
		`{"source": ["stripe.com"]}`,
		`{"detail": {"commits": {"author": [{"anything-but": "bot"}]}}}`,
	} {
		p, err := pattern.Compile([]byte(text))
		if err != nil {
			fmt.Println(err)
			return
		}
		rules = append(rules, p)
	}
	set := pattern.NewSet(rules)

	// The body of the request is the detail; nothing is copied to join the two.
	event := pattern.Event{
		Envelope: []byte(`{"source": "github.com", "detail-type": "push"}`),
		Detail:   []byte(`{"commits": [{"author": "bot"}, {"author": "ann"}]}`),
	}
	matched, err := set.MatchEvent(event, nil)
	fmt.Println(matched, err)
	// Output: [0 2] <nil>
}

func ExamplePattern_Explain() {
	p, err := pattern.Compile([]byte(`{"detail": {"action": ["opened", "reopened"], "items": {"sku": ["A"], "left": [0]}}}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, event := range []string{
		`{"detail": {"action": "Opened", "items": [{"sku": "A", "left": 0}]}}`,
		`{"detail": {"action": "opened", "items": [{"sku": "A", "left": 3}, {"sku": "B", "left": 0}]}}`,
	} {
		explanation, err := p.Explain([]byte(event))
		fmt.Println(explanation, err)
	}
	// Output:
	// no match
	//   detail.action is "Opened", wanted "opened" or "reopened": it differs only by case; did you mean {"equals-ignore-case": "opened"}? <nil>
	// no match
	//   detail.items.sku is not "A" where the other fields fit: no single element of detail.items satisfies all of detail.items.left, detail.items.sku <nil>
}
