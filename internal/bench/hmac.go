package bench

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// macs computes HMAC-SHA256 with one key, without making the key's state anew.
type macs struct{ pool sync.Pool }

func newMACs(key []byte) *macs {
	return &macs{pool: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

func (m *macs) sum(parts ...[]byte) (sum [sha256.Size]byte) {
	h := m.pool.Get().(hash.Hash) //nolint:forcetypeassert // the pool holds nothing else
	h.Reset()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	m.pool.Put(h)
	return sum
}

// githubSigned reports whether the request has GitHub's signature of the body.
func (m *macs) githubSigned(header http.Header, body []byte) bool {
	text, ok := strings.CutPrefix(header.Get("X-Hub-Signature-256"), "sha256=")
	if !ok {
		return false
	}
	var claimed [sha256.Size]byte
	if len(text) != hex.EncodedLen(len(claimed)) {
		return false
	}
	if _, err := hex.Decode(claimed[:], []byte(text)); err != nil {
		return false
	}
	want := m.sum(body)
	return hmac.Equal(claimed[:], want[:])
}

// The headers of Standard Webhooks, in canonical form.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// standardSign signs the body as Standard Webhooks says.
func (m *macs) standardSign(header http.Header, id string, now time.Time, body []byte) {
	timestamp := strconv.FormatInt(now.Unix(), 10)
	header[headerID] = []string{id}
	header[headerTimestamp] = []string{timestamp}
	header[headerSignature] = []string{"v1," + m.standard(id, timestamp, body)}
}

// standardSigned reports whether the request is signed as Standard Webhooks says.
func (m *macs) standardSigned(header http.Header, body []byte) bool {
	claimed, ok := strings.CutPrefix(header.Get(headerSignature), "v1,")
	want := m.standard(header.Get(headerID), header.Get(headerTimestamp), body)
	return ok && hmac.Equal([]byte(claimed), []byte(want))
}

func (m *macs) standard(id, timestamp string, body []byte) string {
	sum := m.sum([]byte(id+"."+timestamp+"."), body)
	return base64.StdEncoding.EncodeToString(sum[:])
}
