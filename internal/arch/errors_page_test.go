package arch_test

import (
	"go/constant"
	"go/types"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/signature"
)

// refusal explains a reason code that package ingest adds to those of signature.
type refusal struct {
	reason        string
	status        int
	meaning, next string
}

var refusals = []refusal{
	{"unknown_path", 404, "No source listens at the path.", "Compare the path with grapnel sources list."},
	{"method_not_allowed", 405, "The source does not take the method.", "Set the provider to POST."},
	{"body_too_large", 413, "The body is larger than max_body of the source.", "Raise max_body, at most 256MiB, or let the sender send less."},
	{"body_incomplete", 400, "The connection ended before the body did.", "Look at the sender, or at a proxy in between."},
	{"body_timeout", 408, "The body did not arrive in time.", "Look at the sender's network, or at a proxy in between."},
	{"rate_limited", 429, "The source, or one address, has sent as many requests as rate allows.", "Raise rate on the source; the sender tries again after Retry-After."},
	{"too_many_in_flight", 429, "As many requests as max_in_flight of the source allows are under way.", "Raise max_in_flight on the source; the sender tries again after Retry-After."},
	{"bad_encoding", 400, "The body is not in the encoding that Content-Encoding names, which the source decodes.", "Look at the sender, or at a proxy that changes bodies."},
	{"store_unavailable", 503, "The event could not be stored. Nothing was accepted.", "Look at grapnel status and the log; the sender tries again after Retry-After."},
	{"keys_unavailable", 503, "The public keys of the source could not be fetched, so that nothing can be proven.", "Check jwks_url and the network; the sender tries again after Retry-After."},
	{"handshake_refused", 400, "The provider's verification of the endpoint could not be answered.", "Start it again at the provider, and compare parameters."},
	{"internal", 500, "Grapnel itself failed.", "The log has the line; please report it."},
	{"aws_missing_body", 400, "With answer: aws: the body is empty.", "Leave answer: aws out to take it."},
	{"aws_unsupported_content_type", 400, "With answer: aws: a content type that AWS's function does not take.", "Leave answer: aws out to take it."},
	{"aws_invalid_encoding", 400, "With answer: aws: the body is not UTF-8.", "Leave answer: aws out to take it."},
	{"aws_invalid_form", 400, "With answer: aws: a form without exactly one field payload.", "Leave answer: aws out to take it."},
	{"aws_invalid_json", 400, "With answer: aws: the body is not JSON.", "Leave answer: aws out to take it."},
	{"aws_invalid_payload", 500, "With answer: aws: Twilio's field Payload says that it is JSON and is not.", "Leave answer: aws out to take it."},
	{"aws_failed_entry", 500, "With answer: aws: the body is JSON, but not an object.", "Leave answer: aws out to take it."},
}

// TestEveryReasonIsExplained holds that the table has what the code has.
func TestEveryReasonIsExplained(t *testing.T) {
	t.Parallel()
	source(t)
	scope := checked()["internal/ingest"].scope
	inCode := map[string]bool{}
	for _, name := range scope.Names() {
		c, ok := scope.Lookup(name).(*types.Const)
		if ok && strings.HasPrefix(strings.ToLower(name), "reason") && c.Val().Kind() == constant.String {
			inCode[constant.StringVal(c.Val())] = true
		}
	}
	if len(inCode) < 10 {
		t.Fatalf("found %d reasons in internal/ingest: the search is wrong", len(inCode))
	}
	inTable := map[string]bool{}
	for _, r := range refusals {
		inTable[r.reason] = true
		if !inCode[r.reason] {
			t.Errorf("internal/ingest has no reason %q anymore: remove its row", r.reason)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(inCode)) {
		if !inTable[reason] {
			t.Errorf("the reason %q of internal/ingest has no row in docs/errors.md: explain it in refusals of internal/arch", reason)
		}
	}
	for _, r := range signature.Reasons() {
		if inTable[string(r.Reason)] {
			t.Errorf("the reason %q is one of signature and of ingest", r.Reason)
		}
	}
}

func TestGeneratedErrors(t *testing.T) {
	t.Parallel()
	p := &paper{}
	p.add(errorsIntro)
	p.head("reason", "status", "what was found", "next")
	for _, r := range signature.Reasons() {
		p.row(code(string(r.Reason)), strconv.Itoa(r.Reason.Status()), r.Meaning, r.Next)
	}
	for _, r := range refusals {
		p.row(code(r.reason), strconv.Itoa(r.status), r.meaning, r.next)
	}
	p.add(errorsCodes)
	p.line("\n### Requests to the admin port\n")
	p.head("code", "status", "what happened", "next")
	for _, c := range api.Codes() {
		p.row(code(c.Code), strconv.Itoa(c.Status), c.What, c.Next)
	}
	used := usedCodes(t)
	for _, g := range faultGroups {
		p.line("\n### %s\n", g.title)
		if g.intro != "" {
			p.line("%s\n", g.intro)
		}
		p.head("code", "status", "what happened", "next")
		for _, c := range g.codes {
			status := statuses(used[c.code])
			if g.title == "The command line" {
				status = ""
			}
			p.row(code(c.code), status, c.what, c.next)
		}
	}
	p.line("\n## Exit codes of the command line\n\nStable; more may come. `grapnel help exit-codes` prints them too.\n")
	p.head("exit code", "meaning")
	for _, e := range exits(t) {
		p.row(code(e.code), e.what)
	}
	page(t, "errors.md", p.String())
}

const errorsIntro = `# Errors

Generated from the code by ` + "`make generate`" + `. Why a *delivery* failed is another page:
[troubleshooting.md](troubleshooting.md).

## Why a request to a source was refused

The sender learns the status and one general sentence, never which check failed. The owner sees the rest:

` + "```" + `
grapnel refused list --source github      # newest first, and exact counts by reason
grapnel refused show ref_…                # the request, what was found, what to do
` + "```" + `

The last 1,000 (16 MiB) for each source are kept in memory, with credentials masked. When they are full, the most
frequent reason gives up its oldest, so that a flood does not push out the one request that you look for. Refused
requests never enter the journal. A request that was refused does not make its id known: sent again, it is a first
delivery.

With ` + "`answer: aws`" + ` some statuses and texts are those of AWS's inbound webhook functions instead.

`

const errorsCodes = `
## Codes of the API and the command line

An error has a ` + "`code`" + `, which is stable, a ` + "`kind`" + `, which says how to react, a message and mostly a hint. The API sends
problem documents ([api.md](api.md)), the command line prints message and hint, or with ` + "`--json`" + ` an object with all of
them. What has no code is shown as ` + "`internal error`" + ` with an id that finds the line in the log. The status is the one
with which the API sends the code.

| kind | status | worth another try |
|---|---|---|
| ` + "`invalid`" + ` | 400 | no: correct the request |
| ` + "`unauthorized`" + ` | 401 | with the token |
| ` + "`forbidden`" + ` | 403 | no |
| ` + "`not_found`" + ` | 404 | no |
| ` + "`conflict`" + ` | 409 | when the state has changed |
| ` + "`too_large`" + ` | 413 | no: send less |
| ` + "`permanent`" + ` | 422 | no |
| ` + "`throttled`" + ` | 429 | after ` + "`retry_after`" + ` |
| ` + "`canceled`" + ` | 499 | if you still want it |
| ` + "`internal`" + ` | 500 | no: report it |
| ` + "`transient`" + ` | 503 | after ` + "`retry_after`" + ` |
`
