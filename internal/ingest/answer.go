package ingest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/grapnel/grapnel/event"
)

// Answer is one HTTP answer to a sender.
type Answer struct {
	Status      int
	ContentType string
	Body        string
	Header      map[string]string
}

// Answerer says what a sender is told. The zero Answerer answers 200 with the
// event id as JSON, and refuses without details.
type Answerer struct {
	// Accepted is sent for accepted events and repetitions when it is set:
	// what the provider expects, or what the configuration says.
	Accepted *Answer
	// AWS answers with the statuses and plain texts of AWS's own inbound webhook
	// functions, and refuses what those refuse.
	AWS *AWSStyle
}

const (
	plainText       = "text/plain; charset=utf-8"
	applicationJSON = "application/json"
)

func (a *Answerer) accepted(id event.ID) Answer {
	switch {
	case a.AWS != nil:
		return Answer{Status: http.StatusAccepted, ContentType: plainText, Body: awsAccepted}
	case a.Accepted != nil:
		return *a.Accepted
	default:
		return Answer{Status: http.StatusOK, ContentType: applicationJSON, Body: `{"id":"` + string(id) + `"}` + "\n"}
	}
}

// refused words a refusal. A sender learns the status and one general
// sentence, never which check failed: the owner reads that in the list.
func (a *Answerer) refused(status int) Answer {
	if a.AWS != nil {
		if text := awsText(status); text != "" {
			return Answer{Status: status, ContentType: plainText, Body: text}
		}
	}
	return Answer{Status: status, ContentType: applicationJSON, Body: `{"error":"` + sentences[status] + `"}` + "\n"}
}

var sentences = map[int]string{
	http.StatusBadRequest:            "the request is malformed",
	http.StatusUnauthorized:          "the request is not proven to come from the sender",
	http.StatusForbidden:             "the sender is not allowed",
	http.StatusNotFound:              "nothing listens at this path",
	http.StatusMethodNotAllowed:      "the method is not taken here",
	http.StatusRequestTimeout:        "the body did not arrive in time",
	http.StatusRequestEntityTooLarge: "the body is larger than this endpoint takes",
	http.StatusTooManyRequests:       "too many requests",
	http.StatusServiceUnavailable:    "the event cannot be stored now; send it again",
	http.StatusInternalServerError:   "internal error",
}

func (a Answer) write(w http.ResponseWriter) {
	h := w.Header()
	for name, value := range a.Header {
		h.Set(name, value)
	}
	if a.ContentType != "" {
		h.Set("Content-Type", a.ContentType)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	if a.Status == http.StatusNoContent {
		w.WriteHeader(a.Status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
	_, _ = w.Write([]byte(a.Body)) // a sender that went away finds its event by repeating it
}

// seconds words a wait for Retry-After: whole seconds, at least one (RFC 9110 10.2.3).
func seconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
