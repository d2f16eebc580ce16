package states_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/destination/destinationtest"
	"github.com/grapnel/grapnel/internal/destination/states"
)

const arn = "arn:aws:states:eu-central-1:123456789012:stateMachine:triage"

func config(url string) string {
	return fmt.Sprintf(`{"endpoint": %q, "state_machine": %q, %s}`, url, arn, destinationtest.AWSKeys)
}

func build(tb testing.TB, url string) destination.Destination {
	tb.Helper()
	return destinationtest.Build(tb, states.Kind(), config(url), destinationtest.Deps(tb))
}

func TestConformance(t *testing.T) {
	t.Parallel()
	destinationtest.Run(t, destinationtest.Suite{
		Kind: states.Kind(), Config: config, Secrets: []string{destinationtest.AWSKey, destinationtest.AWSToken},
	})
}

func TestExecutionsAreNamedAsDeliveries(t *testing.T) {
	t.Parallel()
	url, calls := destinationtest.AWS(t, "states", nil)
	if _, err := build(t, url).Do(t.Context(), destinationtest.Request(`{"a": "<b>"}`)); err != nil {
		t.Fatal(err)
	}
	call := <-calls
	var got map[string]string
	if err := json.Unmarshal(call.Body, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"stateMachineArn": arn, "name": "dlv_0199d2c4-1-2", "input": `{"a": "<b>"}`}
	if diff := cmp.Diff(want, got); diff != "" || call.Header.Get("X-Amz-Target") != "AWSStepFunctions.StartExecution" {
		t.Errorf("%v, request (-want +got):\n%s", call.Header, diff)
	}
}

func TestErrorsHaveClasses(t *testing.T) {
	t.Parallel()
	for code, row := range map[string]struct {
		want destination.Class
		says string
	}{
		"ExecutionLimitExceeded":    {destination.Throttled, "because"},
		"ThrottlingException":       {destination.Throttled, "because"},
		"StateMachineDoesNotExist":  {destination.NotFound, "because"},
		"StateMachineDeleting":      {destination.NotFound, "because"},
		"InvalidExecutionInput":     {destination.BadRequest, "because"},
		"AccessDeniedException":     {destination.Forbidden, "must allow states:StartExecution on " + arn},
		"InvalidSignatureException": {destination.Credentials, "because"},
	} {
		url, _ := destinationtest.AWS(t, "states", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazonaws.swf.service.v2.model#`+code+`","message":"because"}`)
		})
		_, err := build(t, url).Do(t.Context(), destinationtest.Request(`{}`))
		if got := destinationtest.Failed(t, err); got.Class != row.want || !strings.Contains(got.Message, row.says) {
			t.Errorf("%s: %+v, want %s that says %q", code, got, row.want, row.says)
		}
	}
}

// An attempt whose answer was lost has started the execution: the next one finds
// its own name taken.
func TestAnExecutionThatIsThereIsTheDelivery(t *testing.T) {
	t.Parallel()
	const answer = `{"__type":"ExecutionAlreadyExists","message":"Execution Already Exists: 'arn:x'"}`
	url, _ := destinationtest.AWS(t, "states", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, answer)
	})
	resp, err := build(t, url).Do(t.Context(), destinationtest.Request(`{}`))
	if err != nil || resp.Status != http.StatusOK || string(resp.Body) != answer {
		t.Errorf("Do = %+v, %v, want success", resp, err)
	}
}

func TestWhatNoStateMachineTakesIsNotSent(t *testing.T) {
	t.Parallel()
	url, calls := destinationtest.AWS(t, "states", nil)
	d := build(t, url)
	for body, want := range map[string]destination.Class{
		"plain":                                  destination.InputFailed,
		"":                                       destination.InputFailed,
		`"` + strings.Repeat("x", 256<<10) + `"`: destination.TooLarge,
	} {
		r := destinationtest.Request(`{}`)
		r.Body = []byte(body)
		_, err := d.Do(t.Context(), r)
		if got := destinationtest.Failed(t, err); got.Class != want {
			t.Errorf("%.20q: %v, want %s", body, got, want)
		}
	}
	if len(calls) != 0 {
		t.Errorf("%d calls", len(calls))
	}
}

func TestWrongConfigurationsAreRefused(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]string{
		`{}`:                          "state_machine: is missing",
		`{"state_machine": "triage"}`: "not the ARN of a state machine",
		`{"state_machine": "arn:aws:states:us-east-1:123456789012:execution:triage:x"}`: "not the ARN of a state machine",
		`{"state_machine": "` + arn + `", "region": "us-east-1"}`:                       "differs",
	} {
		_, problems := destinationtest.Decode(t, states.Kind(), config)
		if !strings.Contains(problems, want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", config, problems, want)
		}
	}
	c, problems := destinationtest.Decode(t, states.Kind(), `{"state_machine": "`+arn+`:live"}`)
	if problems != "" || c.Address() != arn+":live" {
		t.Errorf("address %q (%s)", c.Address(), problems)
	}
}
