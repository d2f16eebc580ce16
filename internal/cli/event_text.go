package cli

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/grapnel/grapnel/internal/api"
)

// shownBody is how many bytes of a body are printed for people.
const shownBody = 2 << 10

// printEvent prints everything about an event.
func (a *app) printEvent(e *api.EventDetail) {
	p := a.out
	p.line("%s", p.bold(word(e.DetailType))+" from "+word(e.Source))
	p.facts(
		"  ",
		"id", e.ID, "position", e.Position, "bus", e.Bus, "endpoint", e.Endpoint, "time", clock(e.Time.Time),
		"received", clock(e.Received.Time), "size", byteText(int64(e.Size)), "provider id", e.ProviderID,
		"verified by", verifiedText(e.VerifiedBy), "duplicate of", e.DuplicateOf, "caused by", e.Parent,
		"replay", e.ReplayName, "generation", e.Generation,
	)
	p.line("")
	if e.Request != nil {
		a.printRequest(e.Request)
	} else {
		p.line("%s", p.bold("Envelope"))
		p.block("  ", string(e.Envelope))
	}
	p.line("")
	p.line("%s  %s", p.bold("Deliveries"), deliveriesOf(&e.EventSummary))
	for i := range e.Deliveries {
		a.printDelivery("  ", &e.Deliveries[i])
	}
	if e.MoreDeliveries {
		p.line("  more: grapnel deliveries list --event %s", e.Position)
	}
	for _, c := range e.Copies {
		p.line("also on bus %s at %s, received %s", word(c.Bus), c.Position, clock(c.Received.Time))
	}
}

func verifiedText(v *api.Verified) string {
	if v == nil {
		return ""
	}
	text := v.Profile
	if v.KeyIndex >= 0 {
		text += fmt.Sprintf(", secret %d", v.KeyIndex+1)
	}
	if v.SignedAt != nil {
		text += ", signed " + clock(v.SignedAt.Time)
	}
	return text
}

// printRequest prints a request as it came.
func (a *app) printRequest(r *api.Request) {
	p := a.out
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	p.line("%s  %s %s %s from %s", p.bold("Request"), word(r.Method), word(target), word(r.Proto), word(r.RemoteAddr))
	p.line("  Host: %s", word(r.Host))
	for _, h := range r.Headers {
		p.line("  %s: %s", word(h.Name), word(h.Value))
	}
	if len(r.Masked) > 0 {
		p.line("  %s", p.dim("masked: "+word(strings.Join(r.Masked, ", "))))
	}
	a.printContent("  ", r.Body)
}

// printContent prints bytes of a message, as far as a person reads them.
func (a *app) printContent(indent string, c *api.Content) {
	if c == nil || c.Size == 0 {
		return
	}
	p := a.out
	if c.Encoding != api.EncodingText {
		p.line("%s%s", indent, p.dim(fmt.Sprintf("(%s that are not text)", byteText(c.Size))))
		return
	}
	p.line("")
	text := c.Data
	if len(text) > shownBody {
		text = strings.ToValidUTF8(text[:shownBody], "")
	}
	p.block(indent, text)
	if int64(len(text)) < c.Size {
		p.line("%s%s", indent, p.dim(fmt.Sprintf("(%s in all)", byteText(c.Size))))
	}
}

// printDelivery prints a delivery with its attempts.
func (a *app) printDelivery(indent string, d *api.DeliveryDetail) {
	p := a.out
	p.line("%s%s  to %s  %s  %s", indent, p.state(d.State, d.State), p.bold(word(d.Destination)),
		p.dim("rule "+orDash(word(d.Rule))), p.dim(d.ID))
	var before *api.Outcome
	for i := range d.Outcomes {
		a.printOutcome(indent+"  ", &d.Outcomes[i], before)
		before = &d.Outcomes[i]
	}
	if d.NextAt != nil && d.State == "pending" {
		p.line("%s  next attempt %s", indent, clock(d.NextAt.Time))
	}
	if d.State == "held" && d.Hold != "" {
		p.line("%s  held: %s", indent, word(d.Hold))
	}
	if d.NextStep != "" && d.State != "delivered" {
		p.line("%s  %s %s", indent, p.yellow("next:"), word(d.NextStep))
	}
}

// printOutcome prints an attempt or a decision; before is what came before it.
func (a *app) printOutcome(indent string, o, before *api.Outcome) {
	p := a.out
	if o.Attempt == 0 {
		by := ""
		if o.By != "" {
			by = " by " + word(o.By)
		}
		p.line("%s", strings.TrimRight(fmt.Sprintf("%s·  %s  %s%s  %s", indent, p.dim(clock(o.Time.Time)),
			p.state(o.State, o.State), by, word(o.Reason)), " "))
		return
	}
	result := p.green(cmp.Or(statusText(o.Status), "ok"))
	if o.Class != "" {
		result = p.red(strings.TrimSpace(statusText(o.Status) + " " + o.Class))
	}
	waited := ""
	if before != nil {
		began := o.Time.Add(-time.Duration(o.Duration))
		waited = ", " + spanText(max(0, began.Sub(before.Time.Time).Round(time.Millisecond))) + " later"
	}
	p.line("%s%d  %s  %s  in %s%s", indent, o.Attempt, p.dim(clock(o.Time.Time)), result, span(o.Duration), waited)
	if o.Class != "" && o.Reason != "" {
		p.line("%s   %s", indent, short(o.Reason, 100))
	}
	if o.Excerpt != nil && o.Excerpt.Encoding == api.EncodingText && strings.TrimSpace(o.Excerpt.Data) != "" {
		p.line("%s   %s", indent, p.dim("answered: "+short(strings.TrimSpace(o.Excerpt.Data), 100)))
	}
}
