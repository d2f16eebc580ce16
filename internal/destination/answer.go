package destination

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// How much of an answer is read beyond what is wanted, and for how long, so
// that the connection can be used again. A new connection costs less than more.
const (
	drainBytes = 64 << 10
	drainTime  = 250 * time.Millisecond
)

// firstRead is the most that is allocated before anything was read: a length
// that the receiver only claims allocates nothing.
const firstRead = 16 << 10

// ReadAnswer returns the first want bytes of the answer's body and closes it.
// It reports whether there is more. An answer that breaks off is cut where it
// does: its status was received, and that is what counts.
func ReadAnswer(resp *http.Response, want int) (body []byte, truncated bool) {
	defer func() { _ = resp.Body.Close() }() // what is unread is not wanted
	if resp.Body == http.NoBody || resp.ContentLength == 0 {
		return nil, false
	}
	size := max(want, 0)
	if resp.ContentLength > 0 {
		size = int(min(int64(size), resp.ContentLength))
	}
	body = make([]byte, 0, min(size, firstRead))
	for len(body) < size {
		if len(body) == cap(body) {
			grown := make([]byte, len(body), min(size, 2*cap(body)))
			copy(grown, body)
			body = grown
		}
		n, err := resp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err != nil {
			return body, !errors.Is(err, io.EOF)
		}
	}
	if int64(len(body)) == resp.ContentLength {
		return body, false
	}
	return body, drain(resp, int64(len(body)))
}

// drain reads the rest of the body if that is soon done, and reports whether
// there was any.
func drain(resp *http.Response, read int64) bool {
	if resp.ContentLength-read > drainBytes {
		return true
	}
	// Closing a body ends a read of it.
	timer := time.AfterFunc(drainTime, func() { _ = resp.Body.Close() })
	defer timer.Stop()
	n, err := io.CopyN(io.Discard, resp.Body, drainBytes)
	return n > 0 || !errors.Is(err, io.EOF)
}
