package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"
)

// The layout of a segment file. All numbers are little-endian.
//
//	0     header, and again at 4096
//	8192  frames, one after the other
//
// frame   magic u32 | segment u32 | salt u64 | sequence u64 | synced u32 |
// length u32 | records u32 | crc u32, then length bytes of records
//
// record  check u32 | tail crc u32 | tail length u32 | head length u24, kind u8,
// then the head and the tail
//
// A frame's crc is over its header, with the frame's offset in the place of the
// crc. A record's check is over its header, with the record's offset in the place
// of the check, and its head, beginning with the segment's seed. A frame is valid
// if its crc is right and right records fill it. The salt is random for each
// segment: who chooses the bytes of a body cannot make them look like a frame or
// a record, wherever a search or a made-up position looks.
const (
	frameMagic  = 0x46524721 // "!GRF"
	frameSize   = 40
	recordSize  = 16
	markSize    = 16 // magic, segment, salt: what a search looks for
	headerCopy  = 4096
	dataStart   = 2 * headerCopy
	maxHeadSize = 1<<24 - 1
	// maxOffset is the largest offset that a Position can name.
	maxOffset = 1<<32 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what the first bytes of a segment say.
type header struct {
	Number  uint32
	Salt    uint64
	Created time.Time
	// Sequence is that of the first frame.
	Sequence uint64
	// Before describes the segment in front: its number (0: none), where its
	// synced bytes end and the times of its records. What lies behind End is
	// not part of the journal.
	Before predecessor
}

type predecessor struct {
	Number      uint32
	End         int64
	First, Last time.Time
	// Gaps are runs of bytes below End that a crash in the middle of the last
	// write has left without a valid frame: nothing of them was acknowledged.
	// Reported once, they are no damage later.
	Gaps []gap
}

// maxGaps is how many gaps a header names; the others are reported again.
const maxGaps = 128

const headerMagic = "GRAPNEL\x01"

// appendHeader appends the header block: two copies, each on a page of its own.
func appendHeader(dst []byte, h *header) []byte {
	b := []byte(headerMagic)
	b = binary.LittleEndian.AppendUint32(b, h.Number)
	b = binary.LittleEndian.AppendUint64(b, h.Salt)
	b = binary.LittleEndian.AppendUint64(b, h.Sequence)
	b = binary.LittleEndian.AppendUint32(b, h.Before.Number)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Before.End))
	b = appendTime(b, h.Created)
	b = appendTime(b, h.Before.First)
	b = appendTime(b, h.Before.Last)
	gaps := h.Before.Gaps[:min(len(h.Before.Gaps), maxGaps)]
	b = binary.AppendUvarint(b, uint64(len(gaps)))
	for _, g := range gaps {
		b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(g.start)), uint64(g.length()))
	}
	page := make([]byte, headerCopy)
	copy(page, b)
	binary.LittleEndian.PutUint32(page[headerCopy-4:], crc32.Checksum(page[:headerCopy-4], castagnoli))
	return append(append(dst, page...), page...)
}

// parseHeader reads one copy.
func parseHeader(page []byte) (header, bool) {
	if len(page) < headerCopy ||
		crc32.Checksum(page[:headerCopy-4], castagnoli) != binary.LittleEndian.Uint32(page[headerCopy-4:]) ||
		string(page[:len(headerMagic)]) != headerMagic {
		return header{}, false
	}
	var h header
	b := page[len(headerMagic):]
	h.Number = binary.LittleEndian.Uint32(b)
	h.Salt = binary.LittleEndian.Uint64(b[4:])
	h.Sequence = binary.LittleEndian.Uint64(b[12:])
	h.Before.Number = binary.LittleEndian.Uint32(b[20:])
	h.Before.End = int64(binary.LittleEndian.Uint64(b[24:]))
	d := decoder{s: string(b[32 : headerCopy-4-len(headerMagic)])}
	h.Created, h.Before.First, h.Before.Last = d.time(), d.time(), d.time()
	for range d.count(2) {
		start := int64(d.uvarint())
		h.Before.Gaps = append(h.Before.Gaps, gap{start, start + int64(d.uvarint())})
	}
	return h, !d.bad
}

// identity is what the checksums of a segment's frames depend on.
type identity struct {
	number uint32
	salt   uint64
	seed   uint32
	mark   [markSize]byte
}

func newIdentity(number uint32, salt uint64) identity {
	id := identity{number: number, salt: salt}
	binary.LittleEndian.PutUint32(id.mark[:], frameMagic)
	binary.LittleEndian.PutUint32(id.mark[4:], number)
	binary.LittleEndian.PutUint64(id.mark[8:], salt)
	id.seed = crc32.Checksum(id.mark[:], castagnoli)
	return id
}

// piece is one record of a batch before it has a place.
type piece struct {
	kind    recordKind
	head    []byte
	tail    [2][]byte
	tailCRC uint32
}

func (p *piece) size() int64 {
	return int64(recordSize + len(p.head) + len(p.tail[0]) + len(p.tail[1]))
}

// appendFrame appends a frame that will stand at offset and calls placed with
// the offset of each record.
func (id *identity) appendFrame(dst []byte, offset int64, sequence uint64, synced int64, pieces []piece) []byte {
	start := len(dst)
	dst = append(dst, id.mark[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, sequence)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(synced))
	dst = binary.LittleEndian.AppendUint32(dst, 0) // length
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(pieces)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(offset))
	for i := range pieces {
		p := &pieces[i]
		at := len(dst)
		tail := len(p.tail[0]) + len(p.tail[1])
		dst = binary.LittleEndian.AppendUint32(dst, uint32(offset+int64(at-start)))
		dst = binary.LittleEndian.AppendUint32(dst, p.tailCRC)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(tail))
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p.head))|uint32(p.kind)<<24)
		dst = append(dst, p.head...)
		binary.LittleEndian.PutUint32(dst[at:], crc32.Update(id.seed, castagnoli, dst[at:]))
		dst = append(append(dst, p.tail[0]...), p.tail[1]...)
	}
	f := dst[start:]
	binary.LittleEndian.PutUint32(f[28:], uint32(len(f)-frameSize))
	binary.LittleEndian.PutUint32(f[36:], crc32.Checksum(f[:frameSize], castagnoli))
	return dst
}

// frame is a frame that was read and found valid.
type frame struct {
	offset   int64
	sequence uint64
	synced   int64
	records  int
	payload  []byte
}

func (f *frame) end() int64 { return f.offset + frameSize + int64(len(f.payload)) }

// parseFrameHeader reads the first frameSize bytes of b; length is that of the
// payload. b is changed and put back.
func (id *identity) parseFrameHeader(b []byte, offset int64) (f frame, length int64, ok bool) {
	if !bytes.Equal(b[:markSize], id.mark[:]) {
		return frame{}, 0, false
	}
	crc := binary.LittleEndian.Uint32(b[36:])
	binary.LittleEndian.PutUint32(b[36:], uint32(offset))
	ok = crc32.Checksum(b[:frameSize], castagnoli) == crc
	binary.LittleEndian.PutUint32(b[36:], crc)
	f = frame{
		offset:   offset,
		sequence: binary.LittleEndian.Uint64(b[16:]),
		synced:   int64(binary.LittleEndian.Uint32(b[24:])),
		records:  int(binary.LittleEndian.Uint32(b[32:])),
	}
	return f, int64(binary.LittleEndian.Uint32(b[28:])), ok
}

// record is a record that was read and found right.
type record struct {
	offset     int64
	kind       recordKind
	head, tail []byte
}

func (r *record) end() int64 { return r.offset + r.size() }
func (r *record) size() int64 {
	return int64(recordSize + len(r.head) + len(r.tail))
}

// recordLengths reads the lengths from the first recordSize bytes of b.
func recordLengths(b []byte) (kind recordKind, head, tail int64) {
	last := binary.LittleEndian.Uint32(b[12:])
	return recordKind(last >> 24), int64(last & maxHeadSize), int64(binary.LittleEndian.Uint32(b[8:]))
}

// parseHead reads a record without its tail from b, which may end after the head.
// b is changed and put back.
func (id *identity) parseHead(b []byte, offset int64) (r record, ok bool) {
	if len(b) < recordSize {
		return record{}, false
	}
	kind, head, _ := recordLengths(b)
	if recordSize+head > int64(len(b)) {
		return record{}, false
	}
	check := binary.LittleEndian.Uint32(b)
	binary.LittleEndian.PutUint32(b, uint32(offset))
	ok = crc32.Update(id.seed, castagnoli, b[:recordSize+head]) == check
	binary.LittleEndian.PutUint32(b, check)
	return record{offset: offset, kind: kind, head: b[recordSize : recordSize+head]}, ok
}

// parseRecord reads the record at the beginning of b.
func (id *identity) parseRecord(b []byte, offset int64) (record, bool) {
	r, ok := id.parseHead(b, offset)
	if !ok {
		return record{}, false
	}
	_, head, tail := recordLengths(b)
	if recordSize+head+tail > int64(len(b)) {
		return record{}, false
	}
	r.tail = b[recordSize+head : recordSize+head+tail]
	return r, crc32.Checksum(r.tail, castagnoli) == binary.LittleEndian.Uint32(b[4:])
}

// each calls fn with the records of a frame; it reports whether they are right
// and fill it.
func (id *identity) each(f *frame, fn func(record)) bool {
	rest, offset := f.payload, f.offset+frameSize
	for range f.records {
		r, ok := id.parseRecord(rest, offset)
		if !ok {
			return false
		}
		if fn != nil {
			fn(r)
		}
		rest, offset = rest[r.size():], r.end()
	}
	return len(rest) == 0
}
