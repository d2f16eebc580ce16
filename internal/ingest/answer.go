package ingest

import (
	"net/http"
	"strconv"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/signature"
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

// AWSStyle is what differs between AWS's three functions.
type AWSStyle struct {
	Form      bool // takes forms with one field payload (GitHub)
	Timestamp bool // answers 400 to a missing or stale time (Stripe)
	Fields    bool // takes forms of any fields (Twilio)
}

// Texts of AWS's functions, spelled as there.
const (
	awsAccepted     = "Message forwarded to Amazon EventBridge"
	awsSignature    = "Invalid Signature"
	awsTimestamp    = "Invalid timestamp"
	awsNoBody       = "Missing event body"
	awsContentType  = "Unsupported content-type"
	awsTwilioType   = "Invalid content-type"
	awsForm         = "Invalid urlencoded payload"
	awsJSON         = "Invalid JSON payload"
	awsFailedEntry  = "FailedEntry Error - The entry could not be succesfully forwarded to Amazon EventBridge" //nolint:misspell // as there
	awsUnavailable  = "Internal Server Error - The request was rejected by Amazon EventBridge API"
	awsInternal     = "Internal Server Error"
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
func (a *Answerer) refused(status int, reason string) Answer {
	if a.AWS != nil {
		if text := a.AWS.text(status, reason); text.Body != "" {
			return text
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

func (s *AWSStyle) text(status int, reason string) Answer {
	a := Answer{Status: status, ContentType: plainText}
	switch {
	case reason == reasonAWSFailedEntry:
		a.Body = awsFailedEntry
	case status == http.StatusServiceUnavailable:
		a.Body = awsUnavailable
	case status == http.StatusInternalServerError:
		a.Body = awsInternal
	case s.Timestamp && (reason == string(signature.MissingTimestamp) || reason == string(signature.MissingSignature) ||
		reason == string(signature.MalformedTimestamp) || reason == string(signature.StaleTimestamp) ||
		reason == string(signature.FutureTimestamp)):
		a.Status, a.Body = http.StatusBadRequest, awsTimestamp
	case status == http.StatusUnauthorized:
		a.Body = awsSignature
	case reason == reasonAWSNoBody:
		a.Body = awsNoBody
	case reason == reasonAWSContentType && s.Fields:
		a.Body = awsTwilioType
	case reason == reasonAWSContentType:
		a.Body = awsContentType
	case reason == reasonAWSForm:
		a.Body = awsForm
	case reason == reasonAWSJSON:
		a.Body = awsJSON
	}
	return a
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
