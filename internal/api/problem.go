package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/grapnel/grapnel/internal/fault"
)

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"

// Problem is an error as the API shows it: a problem document (RFC 9457) of the
// type about:blank with the members code, kind, hint, retry_after, request_id
// and errors.
//
//nolint:errname // RFC 9457 calls it a problem, and so does the document.
type Problem struct {
	Title      string       `json:"title" doc:"The phrase of the status."`
	Status     int          `json:"status" doc:"The HTTP status."`
	Detail     string       `json:"detail" doc:"What was wrong, for people."`
	Code       string       `json:"code" doc:"A stable code; docs/errors.md explains each."`
	Kind       string       `json:"kind" doc:"How to react: invalid, not_found, conflict, unauthorized, forbidden, too_large, throttled, transient, permanent, canceled or internal."`
	Hint       string       `json:"hint,omitempty" doc:"What to do next."`
	RetryAfter Duration     `json:"retry_after,omitempty" doc:"When to try again, if that is known."`
	RequestID  string       `json:"request_id" doc:"Finds the line in the log."`
	Errors     []FieldError `json:"errors,omitempty" doc:"Every member or parameter that is wrong."`
}

// FieldError is one thing that is wrong with a request.
type FieldError struct {
	Location string `json:"location,omitempty" doc:"Where: query.since, body.filter.state."`
	Message  string `json:"message"`
}

var (
	_ huma.StatusError       = (*Problem)(nil)
	_ huma.HeadersError      = (*Problem)(nil)
	_ huma.ContentTypeFilter = (*Problem)(nil)
)

// Error returns the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus returns the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns application/problem+json.
func (*Problem) ContentType(string) string { return problemType }

// GetHeaders returns Retry-After in whole seconds, rounded up, if it is known.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.RetryAfter > 0 {
		seconds := int(math.Ceil(time.Duration(p.RetryAfter).Seconds()))
		h.Set("Retry-After", strconv.Itoa(seconds))
	}
	return h
}

// write sends the problem without huma: for what is refused before a route.
func (p *Problem) write(w http.ResponseWriter) {
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	// Whoever went away does not miss the rest.
	_ = json.NewEncoder(w).Encode(p)
}

// problemOf returns what a user may see of err. Only the message of a fault is
// shown; any other error is logged and shown as "internal error".
func (s *server) problemOf(ctx context.Context, err error) *Problem {
	f, ok := errors.AsType[*fault.Error](err)
	if cause := context.Cause(ctx); !ok && cause != nil {
		if f, ok = errors.AsType[*fault.Error](cause); !ok {
			f, ok = fault.New(fault.Canceled, codeCanceled, "the request was canceled"), true
		}
	}
	if !ok {
		f = fault.New(fault.Internal, codeInternal, "internal error").
			WithHint("the log has a line with request_id %s", requestID(ctx))
	}
	if f.Kind.Status() >= http.StatusInternalServerError {
		level := slog.LevelWarn
		if f.Kind == fault.Internal {
			level = slog.LevelError
		}
		s.config.Log.LogAttrs(ctx, level, "request failed",
			slog.String("request_id", requestID(ctx)), slog.String("code", f.Code), slog.Any("error", err))
	}
	return newProblem(ctx, f)
}

func newProblem(ctx context.Context, f *fault.Error) *Problem {
	status := f.Kind.Status()
	return &Problem{
		Title: title(status), Status: status, Detail: f.Message, Code: cmp.Or(f.Code, f.Kind.String()),
		Kind: f.Kind.String(), Hint: f.Hint, RetryAfter: Duration(f.RetryAfter), RequestID: requestID(ctx),
	}
}

func title(status int) string {
	return cmp.Or(http.StatusText(status), "Client Closed Request") // 499 has no phrase
}

// humaProblem turns the errors that huma makes (parameters and bodies that do
// not fit their schema) into problems. Values are not echoed: a body may hold
// what must not be printed.
func (s *server) humaProblem(ctx huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	f := fault.New(fault.Invalid, codeInvalid, "the request does not fit the schema of this route")
	status := http.StatusBadRequest
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		p := newProblem(ctx.Context(), fault.New(fault.TooLarge, codeBodyTooLarge,
			"the body is larger than %d bytes", ctx.Operation().MaxBodyBytes))
		return p, nil
	case e.Status == http.StatusUnsupportedMediaType:
		f = fault.New(fault.Invalid, codeMediaType, "the body must be application/json")
		status = e.Status
	case e.Status == http.StatusBadRequest, e.Status == http.StatusRequestTimeout:
		f = fault.New(fault.Invalid, codeMalformedBody, "the body cannot be read")
	case e.Status >= http.StatusInternalServerError:
		return s.problemOf(ctx.Context(), e), nil
	}
	p := newProblem(ctx.Context(), f)
	p.Status, p.Title = status, title(status)
	for _, d := range e.Errors {
		if d == nil {
			continue
		}
		p.Errors = append(p.Errors, FieldError{Location: d.Location, Message: strings.TrimPrefix(d.Message, "invalid value: ")})
	}
	slices.SortStableFunc(p.Errors, func(a, b FieldError) int { return cmp.Compare(a.Location, b.Location) })
	if len(p.Errors) == 0 {
		p.Errors = []FieldError{{Location: "body", Message: e.Detail}}
	}
	if len(p.Errors) == 1 && p.Errors[0].Message != "" {
		p.Detail += ": " + strings.TrimPrefix(p.Errors[0].Location+": ", ": ") + p.Errors[0].Message
	}
	return p, nil
}

// humaContext lets uniform embed a huma.Context although it has a method of the
// name Context.
type humaContext huma.Context

// uniform sends 400 where huma would send 422, so that everything of kind
// invalid has one status.
type uniform struct{ humaContext }

// SetStatus sends the status.
func (u uniform) SetStatus(status int) {
	if status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	u.humaContext.SetStatus(status)
}

// Unwrap lets the adapter find its own context.
func (u uniform) Unwrap() huma.Context { return u.humaContext }
