package journal

import (
	"encoding/binary"
	"time"

	"github.com/grapnel/grapnel/internal/fault"
)

// A record is a head and a tail. The head holds every field as varints and
// length-prefixed strings; the tail of an event is its body and its detail. A
// head begins with the version of its layout and the record's time. Fields are
// only ever added at the end of a head, or of a delivery in it, whose length is
// given: what follows the known fields is skipped. A layout that old readers
// would misread takes a new version.
const recordVersion = 1

func errNewer(version uint64) error {
	return fault.New(fault.Invalid, "record_newer", "a stored record has layout %d, this program knows %d",
		version, recordVersion).WithHint("start the newer grapnel that wrote it")
}

func errMalformed(what string) error {
	return fault.New(fault.Internal, "record_damaged", "a stored %s does not follow its layout", what)
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
	}
	return dst
}

// appendTime writes 0 for the zero time, else 1, seconds and nanoseconds.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, 0)
	}
	dst = binary.AppendVarint(append(dst, 1), t.Unix())
	return binary.AppendUvarint(dst, uint64(t.Nanosecond()))
}

// flags is a set of booleans, in the order of the arguments.
func flags(set ...bool) byte {
	var b byte
	for i, on := range set {
		if on {
			b |= 1 << i
		}
	}
	return b
}

// decoder reads a head. It works on a string so that the strings it returns
// share the one copy that was made. After the first error it returns zeros.
type decoder struct {
	s   string
	bad bool
}

func (d *decoder) fail() {
	d.bad = true
	d.s = ""
}

func (d *decoder) byte() byte {
	if len(d.s) == 0 {
		d.fail()
		return 0
	}
	b := d.s[0]
	d.s = d.s[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	var x uint64
	for i := 0; i < len(d.s) && i < binary.MaxVarintLen64; i++ {
		b := d.s[i]
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break // over 64 bits
			}
			d.s = d.s[i+1:]
			return x | uint64(b)<<(7*i)
		}
		x |= uint64(b&0x7f) << (7 * i)
	}
	d.fail()
	return 0
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) fixed64() uint64 {
	if len(d.s) < 8 {
		d.fail()
		return 0
	}
	var x uint64
	for i := range 8 {
		x |= uint64(d.s[i]) << (8 * i)
	}
	d.s = d.s[8:]
	return x
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.s)) {
		d.fail()
		return ""
	}
	s := d.s[:n]
	d.s = d.s[n:]
	return s
}

// count reads the length of a list whose elements take at least size bytes
// each, so that a hostile number reserves no more memory than the input has.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.s)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) strings() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = d.string()
	}
	return list
}

func (d *decoder) time() time.Time {
	if d.byte() == 0 {
		return time.Time{}
	}
	sec := d.varint()
	nsec := d.uvarint()
	if nsec >= uint64(time.Second) {
		d.fail()
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}

// begin reads the version.
func (d *decoder) begin(what string) error {
	version := d.uvarint()
	if d.bad || version == 0 {
		return errMalformed(what)
	}
	if version > recordVersion {
		return errNewer(version)
	}
	return nil
}

// headTime returns the time of a record, zero for dispatches and for heads that
// cannot be read.
func headTime(kind recordKind, head []byte) time.Time {
	if kind != kindEvent && kind != kindOutcome {
		return time.Time{}
	}
	const longest = 1 + 1 + binary.MaxVarintLen64 + binary.MaxVarintLen64
	d := decoder{s: string(head[:min(len(head), longest)])}
	if d.begin("record") != nil {
		return time.Time{}
	}
	return d.time()
}
