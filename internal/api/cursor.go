package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/store"
)

// Cursors are opaque outside: base64url of a kind, a payload and four bytes of a
// digest of both. The digest is no secret: it tells a cursor of another list, a
// cut or a guess from a cursor that was handed out, so that nobody continues a
// list at a place that was never meant.
type cursorKind byte

const (
	cursorEvents     cursorKind = 'e' // the events after this position
	cursorDeliveries cursorKind = 'd' // the deliveries after this id
	cursorTailFrom   cursorKind = 'f' // records from this position on
	cursorTailAfter  cursorKind = 'a' // records after this position
)

func sealCursor(kind cursorKind, payload ...uint64) string {
	raw := []byte{byte(kind)}
	for _, p := range payload {
		raw = binary.BigEndian.AppendUint64(raw, p)
	}
	sum := cursorSum(raw)
	return base64.RawURLEncoding.EncodeToString(append(raw, sum[:]...))
}

func cursorSum(raw []byte) (sum [4]byte) {
	full := sha256.Sum256(append([]byte("grapnel cursor "), raw...))
	copy(sum[:], full[:])
	return sum
}

// openCursor returns the payload of a cursor of one of the kinds.
func openCursor(text string, words int, kinds ...cursorKind) (cursorKind, []uint64, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != 1+8*words+4 {
		return 0, nil, errBadCursor()
	}
	body := raw[:len(raw)-4]
	if cursorSum(body) != [4]byte(raw[len(body):]) {
		return 0, nil, errBadCursor()
	}
	for _, kind := range kinds {
		if body[0] != byte(kind) {
			continue
		}
		payload := make([]uint64, words)
		for i := range payload {
			payload[i] = binary.BigEndian.Uint64(body[1+8*i:])
		}
		return kind, payload, nil
	}
	return 0, nil, errBadCursor()
}

func errBadCursor() error {
	return fault.New(fault.Invalid, codeBadCursor, "the cursor is not one that this list gave").
		WithHint("leave cursor out to begin at the start, or send the value of next unchanged")
}

func eventCursor(at store.Position) string {
	if at == 0 {
		return ""
	}
	return sealCursor(cursorEvents, uint64(at))
}

func parseEventCursor(text string) (store.Position, error) {
	if text == "" {
		return 0, nil
	}
	_, payload, err := openCursor(text, 1, cursorEvents)
	if err != nil {
		return 0, err
	}
	return store.Position(payload[0]), nil
}

func deliveryCursor(id store.DeliveryID) string {
	if id.IsZero() {
		return ""
	}
	return sealCursor(cursorDeliveries, uint64(id.Event), id.Key)
}

func parseDeliveryCursor(text string) (store.DeliveryID, error) {
	if text == "" {
		return store.DeliveryID{}, nil
	}
	_, payload, err := openCursor(text, 2, cursorDeliveries)
	if err != nil {
		return store.DeliveryID{}, err
	}
	return store.DeliveryID{Event: store.Position(payload[0]), Key: payload[1]}, nil
}

// place is where a tail stands: records from a position on, but only those
// after another one.
type place struct {
	from  store.Position
	after store.Position // 0: everything from on
}

func (p place) cursor() string {
	if p.after != 0 && p.after >= p.from {
		return sealCursor(cursorTailAfter, uint64(p.after))
	}
	return sealCursor(cursorTailFrom, uint64(p.from))
}

func parsePlace(text string) (place, error) {
	kind, payload, err := openCursor(text, 1, cursorTailFrom, cursorTailAfter)
	if err != nil {
		return place{}, err
	}
	at := store.Position(payload[0])
	if kind == cursorTailAfter {
		return place{from: at, after: at}, nil
	}
	return place{from: at}, nil
}

func base64Text(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func base64Bytes(text string) ([]byte, error) { return base64.StdEncoding.DecodeString(text) }
