package journal

import (
	"encoding/binary"
	"time"

	"github.com/grapnel/grapnel/event"
	"github.com/grapnel/grapnel/internal/store"
)

type recordKind byte

const (
	kindEvent recordKind = iota + 1
	kindDispatch
	kindOutcome
)

// AppendEvent appends the head of the event: everything but the bytes of
// Raw.Body and Envelope.Detail, which EventTail returns. Positions and delivery
// ids that are given at commit are not part of it; the keys of the deliveries'
// ids are.
func AppendEvent(dst []byte, e *store.Event) []byte {
	return appendEvent(dst, e, appendKeys(nil, e))
}

// appendKeys appends the keys of the ids that the event's deliveries will have.
func appendKeys(dst []uint64, e *store.Event) []uint64 {
	for _, d := range e.Deliveries {
		dst = append(dst, store.NewDeliveryID(0, e.Envelope.ID, d.Rule, d.Target, d.Run).Key)
	}
	return dst
}

func appendEvent(dst []byte, e *store.Event, keys []uint64) []byte {
	body, detail := EventTail(e)
	dst = binary.AppendUvarint(dst, recordVersion)
	dst = appendTime(dst, e.Received)
	dst = append(dst, flags(e.Raw != nil, e.VerifiedBy != nil, e.DetailIsBody))
	dst = binary.AppendUvarint(dst, uint64(len(body)))
	dst = binary.AppendUvarint(dst, uint64(len(detail)))
	dst = appendEnvelope(dst, &e.Envelope)
	dst = appendString(dst, e.Bus)
	dst = appendString(dst, e.Endpoint)
	dst = appendString(dst, e.DedupeKey)
	dst = appendString(dst, e.ProviderID)
	dst = binary.AppendUvarint(dst, uint64(e.DuplicateOf))
	dst = appendString(dst, e.Generation)
	dst = binary.AppendVarint(dst, int64(e.Hops))
	dst = binary.AppendUvarint(dst, uint64(e.Parent))
	if e.Raw != nil {
		dst = appendRaw(dst, e.Raw)
	}
	if v := e.VerifiedBy; v != nil {
		dst = appendString(dst, v.Profile)
		dst = binary.AppendVarint(dst, int64(v.KeyIndex))
		dst = appendTime(dst, v.Timestamp)
	}
	dst = binary.AppendUvarint(dst, uint64(len(e.Deliveries)))
	for i, d := range e.Deliveries {
		dst = appendDelivery(dst, d, keys[i])
	}
	return dst
}

// EventTail returns what is stored behind the head: the body, and the detail
// unless it is the body itself. The slices are the event's own.
func EventTail(e *store.Event) (body, detail []byte) {
	if e.Raw == nil {
		return nil, e.Envelope.Detail
	}
	if e.DetailIsBody {
		return e.Raw.Body, nil
	}
	return e.Raw.Body, e.Envelope.Detail
}

func appendEnvelope(dst []byte, e *event.Envelope) []byte {
	dst = appendString(dst, string(e.ID))
	dst = appendString(dst, e.DetailType)
	dst = appendString(dst, e.Source)
	dst = appendString(dst, e.Account)
	dst = appendTime(dst, e.Time)
	dst = appendString(dst, e.Region)
	dst = appendString(dst, e.ReplayName)
	return appendStrings(dst, e.Resources)
}

func appendRaw(dst []byte, r *store.Raw) []byte {
	for _, s := range [...]string{r.Method, r.Path, r.Query, r.Proto, r.Host, r.RemoteAddr} {
		dst = appendString(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Header)))
	for _, f := range r.Header {
		dst = appendString(appendString(dst, f.Name), f.Value)
	}
	return appendStrings(dst, r.Masked)
}

// appendDelivery writes the delivery behind its length, so that readers can skip
// what they do not know.
func appendDelivery(dst []byte, d *store.Delivery, key uint64) []byte {
	var scratch [512]byte
	b := binary.LittleEndian.AppendUint64(scratch[:0], key)
	b = append(b, byte(d.Origin), byte(d.Mode))
	b = appendString(b, d.Rule)
	b = appendString(b, d.Target)
	b = appendString(b, d.Destination)
	b = appendString(b, d.Run)
	b = appendTime(b, d.Deadline)
	b = appendTime(b, d.NotBefore)
	b = appendString(b, d.Hold)
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// AppendDispatch appends the head of the dispatch; it has no tail. The keys of
// the deliveries' ids must be set.
func AppendDispatch(dst []byte, d *store.Dispatch) []byte {
	dst = binary.AppendUvarint(dst, recordVersion)
	dst = binary.AppendUvarint(dst, uint64(d.Event))
	dst = binary.AppendUvarint(dst, uint64(len(d.Deliveries)))
	for _, v := range d.Deliveries {
		dst = appendDelivery(dst, v, v.ID.Key)
	}
	return dst
}

// AppendOutcome appends the head of the outcome; it has no tail.
func AppendOutcome(dst []byte, o *store.Outcome) []byte {
	dst = binary.AppendUvarint(dst, recordVersion)
	dst = appendTime(dst, o.Time)
	dst = binary.AppendUvarint(dst, uint64(o.Delivery.Event))
	dst = binary.LittleEndian.AppendUint64(dst, o.Delivery.Key)
	dst = append(dst, byte(o.State), flags(o.Counted, o.Reset))
	dst = binary.AppendVarint(dst, int64(o.Attempt))
	dst = appendTime(dst, o.Deadline)
	dst = appendTime(dst, o.NextAt)
	dst = binary.AppendVarint(dst, int64(o.Duration))
	dst = binary.AppendVarint(dst, int64(o.Status))
	dst = appendString(dst, o.Class)
	dst = appendString(dst, o.Reason)
	dst = appendString(dst, o.Generation)
	dst = appendString(dst, o.By)
	dst = binary.AppendUvarint(dst, uint64(len(o.Excerpt)))
	return append(dst, o.Excerpt...)
}

// DecodeEvent reads the event at the position from its head and its tail; size
// is the length of its body, or of its detail if it has no request. A nil tail
// leaves out body and detail. The body and the detail share tail's memory, the
// strings share one copy of head. Returns Internal with code record_damaged
// for bytes that AppendEvent did not write, and Invalid with code record_newer
// for those of a newer version.
func DecodeEvent(at store.Position, head, tail []byte) (e *store.Event, size int64, err error) {
	d := decoder{s: string(head)}
	if err := d.begin("event"); err != nil {
		return nil, 0, err
	}
	e = &store.Event{At: at, Received: d.time()}
	has := d.byte()
	hasRaw, hasVerified := has&1 != 0, has&2 != 0
	e.DetailIsBody = has&4 != 0
	bodyLen, detailLen := d.uvarint(), d.uvarint()
	d.envelope(&e.Envelope)
	e.Bus, e.Endpoint, e.DedupeKey, e.ProviderID = d.string(), d.string(), d.string(), d.string()
	e.DuplicateOf = store.Position(d.uvarint())
	e.Generation = d.string()
	e.Hops = int(d.varint())
	e.Parent = store.Position(d.uvarint())
	if hasRaw {
		e.Raw = d.raw()
	}
	if hasVerified {
		e.VerifiedBy = &store.Verified{Profile: d.string(), KeyIndex: int(d.varint()), Timestamp: d.time()}
	}
	e.Deliveries = d.deliveries(at)
	if d.bad {
		return nil, 0, errMalformed("event")
	}
	size = int64(bodyLen)
	if !hasRaw {
		size = int64(detailLen)
	}
	if tail != nil && !splitTail(e, tail, bodyLen, detailLen) {
		return nil, 0, errMalformed("event")
	}
	return e, size, nil
}

func splitTail(e *store.Event, tail []byte, bodyLen, detailLen uint64) bool {
	n := uint64(len(tail))
	if bodyLen > n || detailLen != n-bodyLen || e.Raw == nil && bodyLen > 0 {
		return false
	}
	if detailLen > 0 {
		e.Envelope.Detail = tail[bodyLen:n:n]
	}
	if bodyLen > 0 {
		e.Raw.Body = tail[:bodyLen:bodyLen]
		if e.DetailIsBody {
			e.Envelope.Detail = e.Raw.Body
		}
	}
	return true
}

func (d *decoder) envelope(e *event.Envelope) {
	e.ID = event.ID(d.string())
	e.DetailType, e.Source, e.Account = d.string(), d.string(), d.string()
	e.Time = d.time()
	e.Region, e.ReplayName = d.string(), d.string()
	e.Resources = d.strings()
}

func (d *decoder) raw() *store.Raw {
	r := &store.Raw{
		Method: d.string(), Path: d.string(), Query: d.string(),
		Proto: d.string(), Host: d.string(), RemoteAddr: d.string(),
	}
	if n := d.count(2); n > 0 {
		r.Header = make([]store.Field, n)
		for i := range r.Header {
			r.Header[i] = store.Field{Name: d.string(), Value: d.string()}
		}
	}
	r.Masked = d.strings()
	return r
}

func (d *decoder) deliveries(of store.Position) []*store.Delivery {
	const smallest = 1 + 8 + 2 + 4 + 2 + 1
	n := d.count(smallest)
	if n == 0 {
		return nil
	}
	all := make([]store.Delivery, n)
	list := make([]*store.Delivery, n)
	for i := range all {
		one := decoder{s: d.string()}
		v := &all[i]
		v.Event = of
		v.ID = store.DeliveryID{Event: of, Key: one.fixed64()}
		v.Origin, v.Mode = store.Origin(one.byte()), store.Mode(one.byte())
		v.Rule, v.Target, v.Destination, v.Run = one.string(), one.string(), one.string(), one.string()
		v.Deadline, v.NotBefore = one.time(), one.time()
		v.Hold = one.string()
		if one.bad {
			d.fail()
			return nil
		}
		list[i] = v
	}
	return list
}

// DecodeDispatch reads the dispatch at the position; errors are those of
// DecodeEvent.
func DecodeDispatch(at store.Position, head []byte) (*store.Dispatch, error) {
	d := decoder{s: string(head)}
	if err := d.begin("dispatch"); err != nil {
		return nil, err
	}
	v := &store.Dispatch{At: at, Event: store.Position(d.uvarint())}
	v.Deliveries = d.deliveries(v.Event)
	if d.bad {
		return nil, errMalformed("dispatch")
	}
	return v, nil
}

// DecodeOutcome reads the outcome at the position; errors are those of
// DecodeEvent.
func DecodeOutcome(at store.Position, head []byte) (*store.Outcome, error) {
	d := decoder{s: string(head)}
	if err := d.begin("outcome"); err != nil {
		return nil, err
	}
	o := &store.Outcome{At: at, Time: d.time()}
	o.Delivery = store.DeliveryID{Event: store.Position(d.uvarint()), Key: d.fixed64()}
	o.State = store.DeliveryState(d.byte())
	set := d.byte()
	o.Counted, o.Reset = set&1 != 0, set&2 != 0
	o.Attempt = int(d.varint())
	o.Deadline, o.NextAt = d.time(), d.time()
	o.Duration = time.Duration(d.varint())
	o.Status = int(d.varint())
	o.Class, o.Reason, o.Generation, o.By = d.string(), d.string(), d.string(), d.string()
	if s := d.string(); s != "" {
		o.Excerpt = []byte(s)
	}
	if d.bad {
		return nil, errMalformed("outcome")
	}
	return o, nil
}
