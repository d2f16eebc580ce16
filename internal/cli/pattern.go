package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/pattern"
)

func (a *app) newPattern() *cobra.Command {
	var text, event string
	test := &cobra.Command{
		Use: "test", Short: "Try an event pattern with an event", Args: none,
		Long: `Match an EventBridge event pattern with an event and say which fields do not fit, what
was wanted and what was there. The event is the whole envelope.` + exitsAnswer,
		Example: `  grapnel pattern test --pattern '{"detail": {"action": ["opened"]}}' --event @event.json
  grapnel events show ID --json | jq .envelope | grapnel pattern test --pattern @rule.json --event -`,
		RunE: func(*cobra.Command, []string) error { return a.testPattern(text, event) },
	}
	test.Flags().StringVar(&text, "pattern", "", "the pattern: JSON, @file, or - for stdin")
	test.Flags().StringVar(&event, "event", "", "the event: JSON, @file, or - for stdin")
	a.jsonFlag(test)
	return group("pattern", "Try event patterns", test)
}

func (a *app) testPattern(patternFlag, eventFlag string) error {
	if patternFlag == "" || eventFlag == "" || patternFlag == "-" && eventFlag == "-" {
		return usage("grapnel pattern test --pattern @pattern.json --event @event.json", "--pattern and --event are needed, one of them from stdin at most")
	}
	text, err := a.input("--pattern", patternFlag)
	if err != nil {
		return err
	}
	event, err := a.input("--event", eventFlag)
	if err != nil {
		return err
	}
	compiled, err := pattern.Compile(text)
	if err != nil {
		return usage("the language: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html", "%v", err)
	}
	explained, err := compiled.Explain(event)
	if err != nil {
		return usage("an event is one JSON object: the whole envelope", "--event: %v", err)
	}
	if a.json {
		if err := a.out.json(explained); err != nil {
			return fmt.Errorf("writing the answer: %w", err)
		}
	} else {
		a.printExplained(&explained)
	}
	if !explained.Matched {
		return answerError{exitFailed}
	}
	return nil
}

func (a *app) printExplained(e *pattern.Explanation) {
	if e.Matched {
		a.out.line("%s", a.out.green("match"))
		return
	}
	a.out.line("%s", a.out.yellow("no match"))
	for _, f := range e.Failures {
		a.out.line("  %s", word(f.String()))
	}
}
