package deliver

import (
	"context"
	"log/slog"
	"strconv"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/store"
)

// DeadLetterRun is how the run of a delivery to a dead letter destination
// begins. The number of the last attempt follows behind a dot if not all of them
// counted: a delivery that was retried by hand and ends again is a letter of its
// own. The run of the delivery that ended, if it has one, follows behind a colon.
const DeadLetterRun = "dead_letter"

func deadLetterRun(j *job, attempt int, counted bool) string {
	run := DeadLetterRun
	made, count := j.made, j.counted
	if attempt > 0 {
		made = attempt
		if counted {
			count++
		}
	}
	if made != count {
		run += "." + strconv.Itoa(made)
	}
	if j.delivery.Run != "" {
		run += ":" + j.delivery.Run
	}
	return run
}

// deadLetter returns the dispatch of the job's event to a dead letter
// destination. Such a delivery has no dead letter of its own.
func deadLetter(j *job, name string, o *store.Outcome) *store.Dispatch {
	d := j.delivery
	run, now := deadLetterRun(j, o.Attempt, o.Counted), o.Time
	return &store.Dispatch{Event: d.Event, Deliveries: []*store.Delivery{{
		Event: d.Event, Rule: d.Rule, Target: d.Target, Destination: name, Run: run,
		Origin: store.OriginDeadLetter, Mode: store.Async, Deadline: now.Add(DefaultPolicy().MaxAge),
	}}}
}

// deadLetterAttributes returns the words that EventBridge puts beside a dead
// letter (user guide, "Using dead-letter queues"). They are read from the
// records of the delivery that ended, so that they outlive a restart.
func (e *Engine) deadLetterAttributes(ctx context.Context, plan *Plan, j *job) map[string]string {
	d := j.delivery
	words := map[string]string{
		"RULE_ARN": plan.RuleARN, "TARGET_ARN": plan.TargetARN,
		"ERROR_CODE": "UNKNOWN", "ERROR_MESSAGE": "", "RETRY_ATTEMPTS": "0",
	}
	_, run, _ := strings.Cut(d.Run, ":")
	ended := store.NewDeliveryID(d.Event, j.event.Envelope.ID, d.Rule, d.Target, run)
	known, err := e.config.Records.Delivery(ctx, ended)
	if err != nil {
		e.log.WarnContext(ctx, "the delivery behind a dead letter could not be read",
			slog.String("delivery", ended.String()), slog.Any("error", err))
		return words
	}
	class, reason, attempted := destination.Class(known.Class), known.Reason, false
	for _, o := range known.Outcomes { // a retry by hand may have gone on since
		if o.State == store.Dead {
			class, reason, attempted = destination.Class(o.Class), o.Reason, o.Attempt > 0
		}
	}
	words["ERROR_MESSAGE"] = reason
	words["RETRY_ATTEMPTS"] = strconv.Itoa(max(0, known.Attempts-1))
	switch {
	case class == destination.DeadlinePassed || class == destination.TargetRemoved:
		words["EXHAUSTED_RETRY_CONDITION"] = "MaximumEventAgeInSeconds"
	case attempted && class.Retry() != destination.RetryNever:
		// An attempt that is worth another one ends a delivery only as the last.
		words["EXHAUSTED_RETRY_CONDITION"] = "MaximumRetryAttempts"
	}
	if last := classIn(reason); last != "" {
		class = last
	}
	words["ERROR_CODE"] = ErrorCode(class)
	return words
}

// errorCodes maps every class to the ERROR_CODE of EventBridge that comes
// nearest to it (user guide, "Using dead-letter queues").
var errorCodes = map[destination.Class]string{
	destination.Refused:          "CONNECTION_FAILURE",
	destination.Reset:            "CONNECTION_FAILURE",
	destination.DNS:              "CONNECTION_FAILURE",
	destination.DNSNotFound:      "CONNECTION_FAILURE",
	destination.TLS:              "CONNECTION_FAILURE",
	destination.Protocol:         "CONNECTION_FAILURE",
	destination.Timeout:          "TIMEOUT",
	destination.RequestTimeout:   "TIMEOUT",
	destination.BlockedAddress:   "SDK_CLIENT_ERROR",
	destination.Unauthorized:     "NO_PERMISSIONS",
	destination.Forbidden:        "NO_PERMISSIONS",
	destination.NotFound:         "NO_RESOURCE",
	destination.Gone:             "NO_RESOURCE",
	destination.TargetRemoved:    "NO_RESOURCE",
	destination.Conflict:         "RESOURCE_MODIFICATION_COLLISION",
	destination.FunctionPending:  "RESOURCE_MODIFICATION_COLLISION",
	destination.Throttled:        "THROTTLING",
	destination.TooLarge:         "INVALID_PARAMETER",
	destination.InputFailed:      "INVALID_PARAMETER",
	destination.TooManyHops:      "RESOURCE_LIMIT_EXCEEDED",
	destination.Credentials:      "TRANSIENT_ASSUME_ROLE",
	destination.Redirect:         "ERROR_FROM_TARGET",
	destination.BadRequest:       "ERROR_FROM_TARGET",
	destination.Rejected:         "ERROR_FROM_TARGET",
	destination.ServerError:      "ERROR_FROM_TARGET",
	destination.Unavailable:      "ERROR_FROM_TARGET",
	destination.FunctionFailed:   "ERROR_FROM_TARGET",
	destination.EventGone:        "INTERNAL_ERROR",
	destination.InternalError:    "INTERNAL_ERROR",
	destination.StoppedInBetween: "INTERNAL_ERROR",
	destination.DeadlinePassed:   "UNKNOWN",
}

// ErrorCode returns the ERROR_CODE of EventBridge that comes nearest to a class.
// deadline_passed names no cause by itself: UNKNOWN.
func ErrorCode(class destination.Class) string {
	if code := errorCodes[class]; code != "" {
		return code
	}
	return "UNKNOWN"
}
