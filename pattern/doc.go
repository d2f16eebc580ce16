// Package pattern implements the event pattern language of Amazon EventBridge:
// it compiles patterns, matches events against one pattern or against all the
// rules of a bus at once, and explains why an event did not match.
//
// # The language
//
// A pattern is a JSON object in the shape of the events that it accepts. Each
// field holds a list of alternatives; one of them has to fit. All fields have
// to fit; fields of the event that the pattern does not name do not matter.
//
//	{
//	  "source": ["github.com"],
//	  "detail-type": ["pull_request"],
//	  "detail": {
//	    "action": ["opened", "reopened"],
//	    "pull_request": {"base": {"ref": ["main", {"prefix": "release/"}]}}
//	  }
//	}
//
// An alternative is a string, a number, true, false, null, or one operator:
//
//	{"prefix": "refs/tags/"}                  string that starts with it
//	{"suffix": ".png"}                        string that ends with it
//	{"equals-ignore-case": "alice"}           string equal to it but for case
//	{"prefix": {"equals-ignore-case": "re"}}  the same for the start (or the end)
//	{"wildcard": "src/*.go"}                  * is any text; \* and \\ are literal
//	{"anything-but": "closed"}                a value that is something else; takes a list of
//	                                          strings or of numbers, or prefix, suffix, wildcard
//	                                          or equals-ignore-case with a string or a list
//	{"numeric": [">", 0, "<=", 5]}            number in a range; also =, <, <=, >, >= alone
//	{"cidr": "10.0.0.0/8"}                    string that is an address of the block
//	{"exists": true}, {"exists": false}       a value is there, or none is
//
// Alternatives over several fields are written as "$or" with a list of at
// least two objects, next to the fields that always apply:
//
//	{"detail": {"$or": [{"severity": ["HIGH"]}, {"score": [{"numeric": [">", 7]}]}]}}
//
// Arrays in the event are looked into: one element that fits is enough, for
// the negative operators too. Conditions below one array of objects have to be
// met by the same element. A dot in a key is the same as nesting.
//
// # Matching
//
// [Compile] makes a [Pattern], [Pattern.Match] asks it about one event,
// [NewSet] joins many patterns so that [Set.Match] reads an event once for all
// of them. [Event] lets both match an event whose detail is held apart from
// its envelope, without joining the two. [Pattern.Explain] says which field
// did not fit, what was wanted and what was there.
//
// Patterns and sets are immutable and safe for concurrent use. The time of a
// match is bounded by the size of the event and of the pattern, whatever the
// event holds; see [ErrTooComplex].
//
// # Where it differs
//
// Verdicts and messages follow event-ruler 2.0, the library that the service
// runs, but for its defects: quotes inside prefix and suffix, network blocks
// that match other text, case folding beyond the Basic Multilingual Plane, and
// text after the closing brace of a pattern, which is refused here.
package pattern
