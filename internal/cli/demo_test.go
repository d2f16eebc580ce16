package cli_test

import (
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/cli"
)

// The demo must not praise what did not happen.
func TestDemoFailsOnDeliveriesThatProveNothing(t *testing.T) {
	t.Parallel()
	attempt := func(status int, answer string) api.Outcome {
		return api.Outcome{Attempt: 1, Status: status, Excerpt: &api.Content{Data: answer}}
	}
	busy := attempt(503, "signature verified, busy, try again with dlv_1\n")
	taken := attempt(200, "signature verified, 9 B taken as dlv_1\n")
	for name, tc := range map[string]struct {
		state    string
		outcomes []api.Outcome
		want     string // in the error; "" for none
	}{
		"a retry, then taken":   {"delivered", []api.Outcome{busy, taken}, ""},
		"not delivered":         {"dead", []api.Outcome{busy}, "the delivery to deploy is dead"},
		"no failure":            {"delivered", []api.Outcome{taken}, "answered 200, not 503"},
		"no answer":             {"delivered", []api.Outcome{busy, {Attempt: 2, Status: 200}}, "did not verify attempt 2"},
		"signature not checked": {"delivered", []api.Outcome{busy, attempt(200, "taken as dlv_1")}, "did not verify attempt 1"},
		"another webhook-id":    {"delivered", []api.Outcome{busy, attempt(200, "signature verified, 9 B taken as dlv_2")}, "did not verify"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := cli.Proven(&api.DeliveryDetail{
				Delivery: api.Delivery{ID: "dlv_1", Destination: "deploy", State: tc.state}, Outcomes: tc.outcomes,
			})
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("error %v, want none", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
