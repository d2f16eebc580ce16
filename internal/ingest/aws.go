package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/signature"
)

// AWSStyle is what differs between AWS's three inbound webhook functions.
type AWSStyle struct {
	Form      bool // takes forms with one field payload (GitHub)
	Timestamp bool // answers 400 to a missing or stale time (Stripe)
	Fields    bool // takes forms of any fields (Twilio)
}

// Texts of AWS's functions, spelled as there.
const (
	awsAccepted    = "Message forwarded to Amazon EventBridge"
	awsSignature   = "Invalid Signature"
	awsTimestamp   = "Invalid timestamp"
	awsNoBody      = "Missing event body"
	awsContentType = "Unsupported content-type"
	awsTwilioType  = "Invalid content-type"
	awsForm        = "Invalid urlencoded payload"
	awsJSON        = "Invalid JSON payload"
	awsFailedEntry = "FailedEntry Error - The entry could not be succesfully forwarded to Amazon EventBridge" //nolint:misspell // as there
	awsUnavailable = "Internal Server Error - The request was rejected by Amazon EventBridge API"
	awsInternal    = "Internal Server Error"
)

// Reason codes of requests that only answer: aws refuses.
const (
	ReasonAWSNoBody      = "aws_missing_body"
	ReasonAWSContentType = "aws_unsupported_content_type"
	ReasonAWSEncoding    = "aws_invalid_encoding"
	ReasonAWSForm        = "aws_invalid_form"
	ReasonAWSJSON        = "aws_invalid_json"
	ReasonAWSFailedEntry = "aws_failed_entry"
	ReasonAWSPayload     = "aws_invalid_payload"
)

// awsText is what the functions say to a status that does not depend on them; ""
// if they have nothing of their own to say.
func awsText(status int) string {
	switch status {
	case http.StatusServiceUnavailable:
		return awsUnavailable
	case http.StatusInternalServerError:
		return awsInternal
	case http.StatusUnauthorized:
		return awsSignature
	default:
		return ""
	}
}

// awsRefusal is a verified request that the function refuses.
type awsRefusal struct {
	Answer

	reason, detail string
}

func refusedByAWS(status int, text, reason, detail string) *awsRefusal {
	return &awsRefusal{Answer{Status: status, ContentType: plainText, Body: text}, reason, detail}
}

// unproven words the refusal of a request that is not proven, with the quirks
// of the functions: a header that is not ASCII, or an element of Stripe's that
// is no pair, makes them fail.
func (s *AWSStyle) unproven(reason signature.Reason, h http.Header) Answer {
	status, text := http.StatusUnauthorized, awsSignature
	stripe := h.Get("Stripe-Signature")
	switch {
	case notASCII(stripe) || notASCII(h.Get("X-Hub-Signature-256")) || notASCII(h.Get("X-Twilio-Signature")):
		status, text = http.StatusInternalServerError, awsInternal
	case !s.Timestamp:
	case stripe == "":
		status, text = http.StatusBadRequest, awsTimestamp
	case !arePairs(stripe):
		status, text = http.StatusInternalServerError, awsInternal
	case reason == signature.MissingTimestamp || reason == signature.MalformedTimestamp ||
		reason == signature.StaleTimestamp || reason == signature.FutureTimestamp:
		status, text = http.StatusBadRequest, awsTimestamp
	}
	return Answer{Status: status, ContentType: plainText, Body: text}
}

func notASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) >= 0
}

func arePairs(list string) bool {
	for element := range strings.SplitSeq(list, ",") {
		if strings.Count(element, "=") != 1 {
			return false
		}
	}
	return true
}

// check refuses what AWS's functions refuse, with their words, and returns nil
// for what they take. The request is verified already.
func (s *AWSStyle) check(contentType string, body []byte) *awsRefusal {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.TrimSpace(media)
	form := media == "application/x-www-form-urlencoded"
	switch {
	case len(body) == 0:
		return refusedByAWS(http.StatusBadRequest, awsNoBody, ReasonAWSNoBody, "the body is empty")
	case media != applicationJSON && (!form || !s.Form && !s.Fields):
		text := awsContentType
		if s.Fields {
			text = awsTwilioType
		}
		return refusedByAWS(http.StatusBadRequest, text, ReasonAWSContentType, "the content type is "+media)
	case !utf8.Valid(body):
		return refusedByAWS(http.StatusBadRequest, pythonDecodeError(body), ReasonAWSEncoding, "the body is not UTF-8")
	case form && s.Fields:
		return checkFields(body)
	}
	text := body
	if form {
		payload, ok := formPayload(body)
		if !ok {
			return refusedByAWS(http.StatusBadRequest, awsForm, ReasonAWSForm, "the form has not exactly one field payload")
		}
		text = payload
	}
	switch {
	case event.IsObject(text):
		return nil
	case json.Valid(text):
		return refusedByAWS(http.StatusInternalServerError, awsFailedEntry, ReasonAWSFailedEntry, "the body is not a JSON object")
	case json.Valid(withoutConstants(text)):
		return refusedByAWS(http.StatusInternalServerError, awsFailedEntry, ReasonAWSFailedEntry,
			"the body has NaN or Infinity, which Python reads and EventBridge does not")
	case s.Fields:
		return refusedByAWS(http.StatusBadRequest, pythonJSONError(text), ReasonAWSJSON, "the body is not JSON")
	default:
		return refusedByAWS(http.StatusBadRequest, awsJSON, ReasonAWSJSON, "the body is not JSON")
	}
}

// checkFields refuses a Payload that says it is JSON and is not.
func checkFields(body []byte) *awsRefusal {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil // Python skips what it cannot decode
	}
	if form.Get("PayloadType") == applicationJSON && form.Has("Payload") && !json.Valid([]byte(form.Get("Payload"))) {
		return refusedByAWS(http.StatusInternalServerError, awsInternal, ReasonAWSPayload, "Payload is not JSON")
	}
	return nil
}

// withoutConstants replaces the constants that Python's JSON reader adds to the
// language by numbers.
func withoutConstants(text []byte) []byte {
	out := make([]byte, 0, len(text))
	inString := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if inString {
			if c == '\\' && i+1 < len(text) {
				out = append(out, c)
				i++
				c = text[i]
			} else if c == '"' {
				inString = false
			}
			out = append(out, c)
			continue
		}
		rest := string(text[i:min(len(text), i+len("Infinity"))])
		switch {
		case strings.HasPrefix(rest, "NaN"):
			out = append(out, '0')
			i += len("NaN") - 1
		case rest == "Infinity":
			out = append(out, '0')
			i += len("Infinity") - 1
		default:
			inString = c == '"'
			out = append(out, c)
		}
	}
	return out
}

// pythonDecodeError words the first byte that is not UTF-8 as Python does.
func pythonDecodeError(body []byte) string {
	at := 0
	for {
		r, size := utf8.DecodeRune(body[at:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		at += size
	}
	reason := "invalid start byte"
	switch lead := body[at]; {
	case lead < 0xc2 || lead > 0xf4:
	case !utf8.FullRune(body[at:]):
		reason = "unexpected end of data"
	default:
		reason = "invalid continuation byte"
	}
	return fmt.Sprintf("'utf-8' codec can't decode byte 0x%02x in position %d: %s", body[at], at, reason)
}

// pythonJSONError words the place of a syntax error as Python's JSON reader does.
func pythonJSONError(text []byte) string {
	at := int64(0)
	if syntax, ok := errors.AsType[*json.SyntaxError](json.Unmarshal(text, new(any))); ok {
		at = max(0, syntax.Offset-1)
	}
	before := string(text[:min(int64(len(text)), at)])
	line := 1 + strings.Count(before, "\n")
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("Expecting value: line %d column %d (char %d)", line, column, utf8.RuneCountInString(before))
}
