// Package slack is the kind of destination that posts to a Slack channel: by an
// incoming webhook, or as an app by chat.postMessage. What Slack names as the
// cause of a failure becomes the class of the attempt.
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/grapnel/grapnel/internal/destination"
)

// maxAnswer is how much of an answer of the Web API is read, in bytes.
const maxAnswer = 64 << 10

// slack is a destination.
type slack struct {
	*destination.Poster
	hide    destination.Hidden
	channel string // "" for an incoming webhook
	shown   string
	now     func() time.Time
}

var _ destination.Closer = (*slack)(nil)

// Format prints the address, whatever the verb: the fields hold secrets.
func (s *slack) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "slack "+s.shown) }

// Do posts a message.
func (s *slack) Do(ctx context.Context, r *destination.Request) (*destination.Response, error) {
	body, err := message(r, s.channel)
	if err != nil {
		return nil, &destination.Error{
			Class: destination.InternalError, Message: "the message cannot be written as JSON", Err: err,
		}
	}
	if s.channel == "" {
		resp, err := s.Post(ctx, r, body, r.WantBody)
		return resp, named(err)
	}
	resp, err := s.Post(ctx, r, body, max(r.WantBody, maxAnswer))
	if failure, ok := errors.AsType[*destination.Error](err); ok {
		failure.Excerpt = failure.Excerpt[:min(len(failure.Excerpt), r.WantBody)]
	}
	if err != nil {
		return nil, named(err)
	}
	return s.judge(resp, r.WantBody)
}

// judge reads an answer of the Web API, which has status 200 also if it says
// that nothing was posted.
func (s *slack) judge(resp *destination.Response, want int) (*destination.Response, error) {
	var answer struct {
		OK    *bool  `json:"ok"`
		Error string `json:"error"`
	}
	bad := json.Unmarshal(resp.Body, &answer) != nil || answer.OK == nil
	excerpt := resp.Body[:min(len(resp.Body), max(want, 0))]
	switch {
	case bad:
		return nil, &destination.Error{
			Class: destination.Protocol, Status: resp.Status, Excerpt: s.hide.Bytes(excerpt),
			Message: "the answer is none of Slack's Web API",
		}
	case !*answer.OK:
		e := &destination.Error{
			Class: classOf(answer.Error), Status: resp.Status, Excerpt: s.hide.Bytes(excerpt),
			Message: "Slack answered " + s.hide.Text(word(answer.Error)),
		}
		e.RetryAfter, e.NoRetry = destination.RetryAfter(resp.Header.Get("Retry-After"), s.now())
		return nil, e
	}
	resp.Truncated = resp.Truncated || len(excerpt) < len(resp.Body)
	resp.Body = excerpt
	return resp, nil
}

// named adds Slack's own name of the cause to the message of a failure. An
// incoming webhook answers with nothing but the name, with a status that says
// the class; see "Handling errors" of Slack's page on incoming webhooks.
func named(err error) error {
	failure, ok := errors.AsType[*destination.Error](err)
	if !ok || len(failure.Excerpt) == 0 {
		return err
	}
	if name := string(failure.Excerpt); errorName.MatchString(name) {
		failure.Message += ": " + name
	}
	return err
}

// errorName is how Slack's names of errors look.
var errorName = regexp.MustCompile(`^[a-z][a-z0-9_]{1,63}$`)

// word returns a name of an error, or what stands for a text that is none.
func word(name string) string {
	if !errorName.MatchString(name) {
		return "an error without a name"
	}
	return name
}

// classOf returns the class of an error of Slack; the names are those of the
// reference of chat.postMessage and of incoming webhooks.
func classOf(name string) destination.Class {
	switch name {
	case "invalid_auth", "not_authed", "token_revoked", "token_expired", "account_inactive", "invalid_token",
		"not_allowed_token_type":
		return destination.Unauthorized
	case "missing_scope", "no_permission", "not_in_channel", "access_denied", "action_prohibited", "ekm_access_denied",
		"org_login_required", "posting_to_general_channel_denied", "restricted_action", "restricted_action_read_only_channel",
		"restricted_action_thread_only_channel", "restricted_action_thread_locked",
		"restricted_action_non_threadable_channel", "team_access_not_granted", "two_factor_setup_required",
		"cannot_reply_to_message", "as_user_not_supported":
		return destination.Forbidden
	case "channel_not_found", "no_service", "no_service_id", "no_team", "team_disabled", "user_not_found", "unknown_method":
		return destination.NotFound
	case "is_archived", "channel_is_archived":
		return destination.Gone
	case "msg_too_long", "msg_blocks_too_long", "too_many_attachments":
		return destination.TooLarge
	case "rate_limited", "ratelimited", "message_limit_exceeded":
		return destination.Throttled
	case "internal_error", "fatal_error", "rollup_error":
		return destination.ServerError
	case "service_unavailable", "team_added_to_org", "accesslimited":
		return destination.Unavailable
	case "request_timeout":
		return destination.RequestTimeout
	default: // invalid_blocks, invalid_payload, no_text …: the message itself
		return destination.BadRequest
	}
}
