package bench

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// errResponse is what readResponse returns, wrapped, for bytes that it cannot read.
var errResponse = errors.New("unusable response")

// readResponse reads one response to a POST and discards its body. It knows what
// servers send that answer with a few bytes (RFC 9112, 4 and 6): a status line,
// header fields, a body of Content-Length bytes. Any other framing is an error.
func readResponse(r *bufio.Reader) (status int, keep bool, err error) {
	for {
		status, err = readStatus(r)
		if err != nil {
			return 0, false, err
		}
		length, keep, err := readFields(r)
		if err != nil {
			return 0, false, err
		}
		switch {
		case status/100 == 1:
			continue // an interim response: the final one follows
		case status == 204 || status == 304:
			return status, keep, nil
		case length < 0:
			return 0, false, fmt.Errorf("%w: no Content-Length", errResponse)
		}
		if _, err := r.Discard(length); err != nil {
			return 0, false, fmt.Errorf("reading a response's body: %w", err)
		}
		return status, keep, nil
	}
}

func readStatus(r *bufio.Reader) (int, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("reading a status line: %w", err)
	}
	// HTTP/1.1 200 OK
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, fmt.Errorf("%w: status line %q", errResponse, line)
	}
	status := 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("%w: status line %q", errResponse, line)
		}
		status = status*10 + int(c-'0')
	}
	return status, nil
}

// readFields reads the header fields; length is -1 if none tells it.
func readFields(r *bufio.Reader) (length int, keep bool, err error) {
	length, keep = -1, true
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, false, fmt.Errorf("reading header fields: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return length, keep, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil || length < 0 {
				return 0, false, fmt.Errorf("%w: Content-Length %q", errResponse, value)
			}
		case len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return 0, false, fmt.Errorf("%w: Transfer-Encoding %q", errResponse, value)
		case len(name) == len("Connection") && bytes.EqualFold(name, []byte("Connection")):
			keep = !bytes.EqualFold(bytes.TrimSpace(value), []byte("close"))
		}
	}
}
