package deliver

import (
	"strconv"
	"strings"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
)

// What ends badly is an event too, on the default bus, so that a rule can tell
// someone. Its detail names delivery, event, rule, target, destination, class,
// reason, attempts and last_status.
const (
	NoticeSource   = "grapnel"
	NoticeBus      = "default"
	NoticeDead     = "grapnel.delivery.dead"
	NoticeHeld     = "grapnel.delivery.held"
	NoticeExpired  = "grapnel.delivery.expired"
	NoticeDisabled = "grapnel.destination.disabled"
)

// IsNotice reports whether the event was made here. Deliveries of such events
// cause no further ones when they fail: nothing would stop that.
func IsNotice(ev *store.Event) bool {
	return ev.Envelope.Source == NoticeSource && strings.HasPrefix(ev.Envelope.DetailType, "grapnel.")
}

// addNotice puts the notice of an outcome into its batch.
func (e *Engine) addNotice(s *Snapshot, r *record, j *job, kind string) {
	if j.event != nil && IsNotice(j.event) {
		return
	}
	d, o := j.delivery, &r.outcome
	attempts := o.Attempt
	if attempts == 0 {
		attempts = j.made
	}
	detail := make([]byte, 0, 512)
	detail = appendMember(detail, "delivery", d.ID.String())
	if j.event != nil {
		detail = appendMember(detail, "event", string(j.event.Envelope.ID))
	}
	detail = appendMember(detail, "rule", d.Rule)
	detail = appendMember(detail, "target", d.Target)
	detail = appendMember(detail, "destination", d.Destination)
	detail = appendMember(detail, "class", o.Class)
	detail = appendMember(detail, "reason", o.Reason)
	detail = append(detail, `,"attempts":`...)
	detail = strconv.AppendInt(detail, int64(attempts), 10)
	detail = append(detail, `,"last_status":`...)
	detail = strconv.AppendInt(detail, int64(o.Status), 10)
	// The time makes a second end, after a retry by hand, a notice of its own.
	key := kind + "/" + d.ID.String() + "/" + strconv.FormatInt(o.Time.UnixMilli(), 36)
	ev := notice(s, kind, key, append(detail, '}'), o.Time)
	ev.Parent = d.Event
	r.batch.Events = append(r.batch.Events, ev)
}

// Expired returns the event that tells of deliveries whose retention ended while
// they were waiting: its detail has their count, and names each of them. The
// caller has it matched and commits it with their outcomes.
func Expired(s *Snapshot, deliveries []store.ExpiredDelivery, now time.Time) *store.Event {
	detail := make([]byte, 0, 64+200*len(deliveries))
	detail = append(detail, `{"count":`...)
	detail = strconv.AppendInt(detail, int64(len(deliveries)), 10)
	detail = append(detail, `,"deliveries":[`...)
	for i := range deliveries {
		d := &deliveries[i]
		if i > 0 {
			detail = append(detail, ',')
		}
		var one []byte
		one = appendMember(one, "delivery", d.ID.String())
		one = appendMember(one, "event", string(d.EventID))
		one = appendMember(one, "rule", d.Rule)
		one = appendMember(one, "target", d.Target)
		one = appendMember(one, "destination", d.Destination)
		detail = append(append(detail, one...), '}')
	}
	return notice(s, NoticeExpired, "", append(detail, ']', '}'), now)
}

// notice returns an event made here.
func notice(s *Snapshot, kind, key string, detail []byte, now time.Time) *store.Event {
	return &store.Event{
		Envelope: event.Envelope{
			ID: event.NewID(now), DetailType: kind, Source: NoticeSource,
			Account: s.Account, Region: s.Region, Time: now, Detail: detail,
		},
		Received: now, Bus: NoticeBus, DedupeKey: key,
	}
}

// appendMember appends a member to an object that it opens if need be.
func appendMember(dst []byte, name, value string) []byte {
	if len(dst) == 0 {
		dst = append(dst, '{')
	} else {
		dst = append(dst, ',')
	}
	dst = event.AppendString(dst, name)
	dst = append(dst, ':')
	return event.AppendString(dst, value)
}
