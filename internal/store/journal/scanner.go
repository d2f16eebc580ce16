package journal

import (
	"bytes"
	"errors"
	"io"
)

// scanner reads the frames of a segment in order and finds the next valid one
// behind bytes that are not.
type scanner struct {
	id  *identity
	r   io.ReaderAt
	end int64 // nothing is read from here on
	pos int64 // where the next frame should be

	// records are those of the frame that next returned.
	records []record
	// unreadable is the last error of the disk; what it did not give counts as
	// zeros.
	unreadable error

	buf  []byte
	base int64 // offset of buf
}

// gap is a run of bytes without a valid frame.
type gap struct{ start, end int64 }

func (g gap) length() int64 { return g.end - g.start }

const (
	scanChunk = 256 << 10
	pageSize  = 4 << 10
)

// next returns the next valid frame and the bytes that were skipped in front of
// it. At the end ok is false, and the gap is what was skipped up to there. The
// frame and its records are valid until the next call.
func (s *scanner) next() (f frame, skipped gap, ok bool) {
	if s.pos >= s.end {
		return frame{}, gap{s.pos, s.pos}, false
	}
	start := s.pos
	if f, ok = s.frameAt(start); ok {
		s.pos = f.end()
		return f, gap{start, start}, true
	}
	for at := s.find(start + 1); at >= 0; at = s.find(at + 1) {
		if f, ok = s.frameAt(at); ok {
			s.pos = f.end()
			return f, gap{start, at}, true
		}
	}
	s.pos = s.end
	return frame{}, gap{start, s.end}, false
}

// frameAt reads and checks the frame at the offset, with all its records.
func (s *scanner) frameAt(offset int64) (frame, bool) {
	if offset+frameSize > s.end {
		return frame{}, false
	}
	f, length, ok := s.id.parseFrameHeader(s.window(offset, frameSize), offset)
	if !ok || offset+frameSize+length > s.end {
		return frame{}, false
	}
	f.payload = s.window(offset, frameSize+length)[frameSize:]
	s.records = s.records[:0]
	ok = s.id.each(&f, func(r record) { s.records = append(s.records, r) })
	return f, ok
}

// starts reports whether a frame seems to begin at the offset.
func (s *scanner) starts(offset int64) bool {
	if offset+frameSize > s.end {
		return false
	}
	_, _, ok := s.id.parseFrameHeader(s.window(offset, frameSize), offset)
	return ok
}

// find returns the next offset from which a frame may begin, -1 if there is none.
func (s *scanner) find(from int64) int64 {
	for from+frameSize <= s.end {
		b := s.window(from, min(scanChunk, s.end-from))
		if i := bytes.Index(b, s.id.mark[:]); i >= 0 {
			return from + int64(i)
		}
		from += int64(len(b)) - markSize + 1
	}
	return -1
}

// window returns n bytes from the offset; the range must end before s.end.
// Earlier windows are invalid afterwards.
func (s *scanner) window(offset, n int64) []byte {
	if offset < s.base || offset+n > s.base+int64(len(s.buf)) {
		size := min(max(n, scanChunk), s.end-offset)
		if int64(cap(s.buf)) < size {
			s.buf = make([]byte, size)
		}
		s.buf, s.base = s.buf[:size], offset
		s.fill()
	}
	return s.buf[offset-s.base:][:n]
}

// fill reads the window. Where the disk gives nothing it reads page by page, so
// that a bad sector costs no more than the frames that lie on it.
func (s *scanner) fill() {
	if n, _ := s.r.ReadAt(s.buf, s.base); n == len(s.buf) {
		return
	}
	for at := 0; at < len(s.buf); {
		page := s.buf[at:][:min(len(s.buf)-at, int(pageSize-(s.base+int64(at))%pageSize))]
		n, err := s.r.ReadAt(page, s.base+int64(at))
		if n < len(page) {
			clear(page[n:])
			if !errors.Is(err, io.EOF) {
				s.unreadable = err
			}
		}
		at += len(page)
	}
}
