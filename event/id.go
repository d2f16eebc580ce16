package event

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"
)

// ID identifies an event: a UUID in its text form. Ids made here are of version
// 7 (RFC 9562 5.7), so that they sort by the time at which they were made; ids
// that came with an event from elsewhere may be of any version.
type ID string

// NewID returns a new id for an event made at now.
func NewID(now time.Time) ID {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(now.UnixMilli(), 0)))
	copy(b[:6], ms[2:])
	b[6] = 0x70 | b[6]&0x0f
	b[8] = 0x80 | b[8]&0x3f
	var text [36]byte
	hex.Encode(text[:8], b[:4])
	hex.Encode(text[9:13], b[4:6])
	hex.Encode(text[14:18], b[6:8])
	hex.Encode(text[19:23], b[8:10])
	hex.Encode(text[24:], b[10:])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return ID(text[:])
}

// ParseID returns the id written as text, lower-cased. It returns an error
// unless text is a UUID of 36 characters.
func ParseID(text string) (ID, error) {
	if len(text) != 36 {
		return "", fmt.Errorf("event id %q has %d characters, want the 36 of a UUID", text, len(text))
	}
	out := []byte(text)
	for i, c := range out {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return "", fmt.Errorf("event id %q has %q at position %d, want a hyphen", text, c, i)
			}
		case c >= 'A' && c <= 'F':
			out[i] = c + ('a' - 'A')
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return "", fmt.Errorf("event id %q has %q at position %d, want a hex digit", text, c, i)
		}
	}
	return ID(out), nil
}

// Time returns the time inside an id of version 7, in milliseconds; ok is false
// for ids of other versions. It is a hint for people: nothing derives order or
// retention from it.
func (id ID) Time() (t time.Time, ok bool) {
	if len(id) != 36 || id[14] != '7' {
		return time.Time{}, false
	}
	b, err := hex.DecodeString(string(id[:8] + id[9:13]))
	if err != nil {
		return time.Time{}, false
	}
	var ms [8]byte
	copy(ms[2:], b)
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC(), true
}
