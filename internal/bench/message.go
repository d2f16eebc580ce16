package bench

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

// The smallest and largest bodies that a run may have.
const (
	minBody = 512
	maxBody = 4 << 20
)

// numberWidth is the width of a message's number in its body, in hex digits.
const numberWidth = 16

// message makes and recognizes the bodies of one run: a pull request in small, as
// GitHub would send it, with the run's name and the number of the message in it.
// All bodies of a run are equal but for the number.
type message struct {
	text []byte
	hole int // where the number stands
}

// newRun returns a name for a run, so that nothing left over from another one can
// be taken for its messages.
func newRun() string {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(raw)
}

// newMessage returns the bodies of the run, each of size bytes.
func newMessage(run string, size int) (*message, error) {
	if size < minBody || size > maxBody {
		return nil, fmt.Errorf("a body of %d bytes is not between %d and %d", size, minBody, maxBody)
	}
	before := `{"action":"opened","number":42,"bench":{"run":"` + run + `","message":"`
	after := `"},"pull_request":{"id":1865412803,"title":"Keep what was acknowledged","state":"open",` +
		`"draft":false,"base":{"ref":"main"},"head":{"ref":"durable"},"changed_files":7},` +
		`"repository":{"id":35129377,"full_name":"acme/hooks","private":true},` +
		`"sender":{"login":"octocat","id":583231},"text":"`
	const end = `"}`
	pad := size - len(before) - numberWidth - len(after) - len(end)
	if pad < 0 {
		return nil, fmt.Errorf("a body of %d bytes has no room for the message", size)
	}
	const prose = "Text that stands for the rest of a webhook, which nobody looks at. "
	filler := strings.Repeat(prose, pad/len(prose)+1)[:pad]
	text := before + strings.Repeat("0", numberWidth) + after + filler + end
	return &message{text: []byte(text), hole: len(before)}, nil
}

// body returns the body of message n.
func (m *message) body(n int) []byte {
	b := bytes.Clone(m.text)
	putHex(b[m.hole:m.hole+numberWidth], uint64(n))
	return b
}

// number returns the number of the message that the bytes are, or false if they
// are not, byte for byte, a message of this run.
func (m *message) number(body []byte) (n int, ok bool) {
	if len(body) != len(m.text) {
		return 0, false
	}
	end := m.hole + numberWidth
	v, ok := parseHex(body[m.hole:end])
	if !ok || !bytes.Equal(body[:m.hole], m.text[:m.hole]) || !bytes.Equal(body[end:], m.text[end:]) {
		return 0, false
	}
	return int(v), true
}

// within finds the message in an envelope that holds it as its detail.
func (m *message) within(envelope []byte) []byte {
	at := bytes.Index(envelope, m.text[:m.hole])
	if at < 0 || len(envelope)-at < len(m.text) {
		return nil
	}
	return envelope[at : at+len(m.text)]
}

const hexDigits = "0123456789abcdef"

// putHex writes v in len(dst) lower-case hex digits.
func putHex(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = hexDigits[v&0xf]
		v >>= 4
	}
}

// parseHex reads what putHex wrote. Numbers that no message can have are refused.
func parseHex(src []byte) (v uint64, ok bool) {
	for _, c := range src {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, v < 1<<62
}
