package ingest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

// eager is how much room is made for a body before any of it has arrived: a
// Content-Length is a claim, not a fact.
const eager = 1 << 20

// read takes the body, bounded. It reports false when it has refused the request.
func (x *exchange) read() bool {
	limit := x.src.MaxBody
	if x.r.ContentLength > limit {
		x.w.Header().Set("Connection", "close")
		x.refuse(http.StatusRequestEntityTooLarge, ReasonTooLarge,
			fmt.Sprintf("the body has %d bytes, the source takes %d", x.r.ContentLength, limit), "raise max_body on the source")
		return false
	}
	body, err := readAll(http.MaxBytesReader(x.w, x.r.Body, limit), x.r.ContentLength)
	if err == nil {
		x.body = body
		return true
	}
	tooLarge, isTooLarge := errors.AsType[*http.MaxBytesError](err)
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case isTooLarge:
		x.refuse(http.StatusRequestEntityTooLarge, ReasonTooLarge,
			fmt.Sprintf("the body has more than the %d bytes that the source takes", tooLarge.Limit), "raise max_body on the source")
	case errors.Is(err, os.ErrDeadlineExceeded) || isNetwork && network.Timeout():
		x.refuse(http.StatusRequestTimeout, ReasonSlow, fmt.Sprintf("%d bytes arrived in time", len(body)),
			"check the network between the sender and here")
	default:
		x.w.Header().Set("Connection", "close")
		x.refuse(http.StatusBadRequest, ReasonIncomplete, fmt.Sprintf("the body ended after %d bytes", len(body)),
			"the sender or a proxy closed the connection too early")
	}
	return false
}

// readAll reads to the end into memory that belongs to the event from now on.
func readAll(r io.Reader, length int64) ([]byte, error) {
	if length == 0 {
		return []byte{}, nil
	}
	if length > 0 && length <= eager {
		body := make([]byte, length)
		n, err := io.ReadFull(r, body)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return body[:n], err
	}
	room := 4096
	if length > eager {
		room = eager
	}
	body := make([]byte, 0, room)
	for {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, nil
		}
		if err != nil {
			return body, err
		}
	}
}
