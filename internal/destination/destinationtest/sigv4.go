package destinationtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signer is who signs with AWS Signature Version 4, as the other side knows it.
type Signer struct{ KeyID, Key, Region, Service string }

// Check verifies a signed request as AWS does: it knows nothing of the code that
// signed it. Header is that of the request as it came, body all of its bytes.
func (s Signer) Check(r *http.Request, body []byte) error {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return errors.New("no SigV4 credentials")
	}
	parts := map[string]string{}
	for field := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		parts[name] = value
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute {
		return fmt.Errorf("time %q is not now", r.Header.Get("X-Amz-Date"))
	}
	scope := at.Format("20060102") + "/" + s.Region + "/" + s.Service + "/aws4_request"
	if parts["Credential"] != s.KeyID+"/"+scope {
		return fmt.Errorf("credential %q, want %s/%s", parts["Credential"], s.KeyID, scope)
	}
	canonical, err := s.canonicalRequest(r, body, parts["SignedHeaders"])
	if err != nil {
		return err
	}
	text := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + hash([]byte(canonical))
	signing := []byte("AWS4" + s.Key)
	for word := range strings.SplitSeq(scope, "/") {
		signing = digest(signing, word)
	}
	if want := hex.EncodeToString(digest(signing, text)); parts["Signature"] != want {
		return fmt.Errorf("signature %s, want %s of\n%s", parts["Signature"], want, canonical)
	}
	return nil
}

func (s Signer) canonicalRequest(r *http.Request, body []byte, signed string) (string, error) {
	names := strings.Split(signed, ";")
	if !slices.IsSorted(names) || !slices.Contains(names, "host") || !slices.Contains(names, "x-amz-date") {
		return "", fmt.Errorf("signed headers %q", signed)
	}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(names, name) {
			return "", fmt.Errorf("header %s is not signed", name)
		}
	}
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if s.Service != "s3" { // S3 alone takes the path as it is
		path = escapeAgain(path)
	}
	if sum := r.Header.Get("X-Amz-Content-Sha256"); sum != "" && sum != hash(body) {
		return "", fmt.Errorf("X-Amz-Content-Sha256 %s is not that of the body", sum)
	}
	var b strings.Builder
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(query) + "\n")
	for _, name := range names {
		value := r.Host
		switch name {
		case "host":
		case "content-length": // net/http keeps it elsewhere
			value = strconv.FormatInt(r.ContentLength, 10)
		default:
			value = strings.Join(r.Header.Values(name), ",")
		}
		b.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	b.WriteString("\n" + signed + "\n" + hash(body))
	return b.String(), nil
}

// escapeAgain percent-encodes the path as it is on the wire once more.
func escapeAgain(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c == '/' || strings.IndexByte("-._~", c) >= 0 || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// canonicalQuery sorts the pairs, which must be escaped strictly already.
func canonicalQuery(query string) string {
	if query == "" {
		return ""
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		if !strings.Contains(pair, "=") {
			pairs[i] += "="
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func digest(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
