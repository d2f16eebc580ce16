package signature_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/signature"
)

func sigV4Config() signature.Config {
	return signature.Config{
		Secrets: []string{"AKIDNEW:new/secret+key", "AKIDOLD:old:secret"},
		Params:  map[string][]string{"region": {"eu-west-1", "us-east-1"}, "service": {"execute-api"}},
	}
}

func sigV4Request(tb testing.TB, c signature.Config) *signature.Request {
	tb.Helper()
	req := &signature.Request{
		Method: http.MethodPost, URL: "https://gw.example/prod/in/a%20b?b=2&a=%2F&a=1",
		Header: http.Header{"Content-Type": {"application/json"}, "X-Amz-Meta": {"x"}}, Body: []byte(`{"a":1}`),
	}
	s, err := signature.NewSigner("sigv4", c)
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Sign(req, sentAt); err != nil {
		tb.Fatal(err)
	}
	return req
}

// What one of the rules forbids is refused, each change to the request for its own reason.
func TestSigV4Refuses(t *testing.T) {
	t.Parallel()
	replace := func(old, by string) func(*signature.Request) {
		return func(r *signature.Request) {
			text := r.Header.Get("Authorization")
			if !strings.Contains(text, old) {
				t.Errorf("%q is not in %q", old, text)
			}
			r.Header.Set("Authorization", strings.Replace(text, old, by, 1))
		}
	}
	set := func(name, value string) func(*signature.Request) {
		return func(r *signature.Request) { r.Header.Set(name, value) }
	}
	tests := map[string]struct {
		change func(*signature.Request)
		want   signature.Reason
	}{
		"nothing":        {func(*signature.Request) {}, ""},
		"default port":   {func(r *signature.Request) { r.URL = strings.Replace(r.URL, ".example/", ".example:443/", 1) }, ""},
		"query order":    {func(r *signature.Request) { r.URL = "https://gw.example/prod/in/a%20b?a=1&a=/&b=2" }, ""},
		"dot segments":   {func(r *signature.Request) { r.URL = "https://gw.example//prod/./in/x/../a%20b?b=2&a=%2F&a=1" }, ""},
		"part order":     {replace("SignedHeaders=content-type;host;x-amz-date;x-amz-meta, ", ""), signature.MalformedSignature},
		"body":           {func(r *signature.Request) { r.Body = []byte(`{"a":2}`) }, signature.BadSignature},
		"method":         {func(r *signature.Request) { r.Method = http.MethodPut }, signature.BadSignature},
		"host":           {func(r *signature.Request) { r.URL = strings.Replace(r.URL, "gw.", "gx.", 1) }, signature.BadSignature},
		"path":           {func(r *signature.Request) { r.URL = strings.Replace(r.URL, "/in/", "/on/", 1) }, signature.BadSignature},
		"query":          {func(r *signature.Request) { r.URL += "&c" }, signature.BadSignature},
		"signed header":  {set("Content-Type", "text/plain"), signature.BadSignature},
		"other header":   {set("User-Agent", "x"), ""},
		"unsigned x-amz": {set("X-Amz-Invocation-Type", "Event"), signature.MalformedSignature},
		"missing header": {func(r *signature.Request) { r.Header.Del("Content-Type") }, signature.MissingHeader},
		"unsigned body":  {replace("content-type;host;", "content-type;host;x-amz-content-sha256;"), signature.MissingHeader},
		"two signatures": {func(r *signature.Request) { r.Header.Add("Authorization", "x") }, signature.DuplicateHeader},
		"presigned":      {func(r *signature.Request) { r.URL += "&X-Amz-Signature=00" }, signature.MalformedSignature},
		"bearer":         {set("Authorization", "Bearer x"), signature.MalformedSignature},
		"asymmetric":     {replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), signature.MalformedSignature},
		"unsorted":       {replace("host;x-amz-date", "x-amz-date;host"), signature.MalformedSignature},
		"without host":   {replace("host;", ""), signature.MalformedSignature},
		"without date":   {replace("x-amz-date;", ""), signature.MalformedSignature},
		"short":          {func(r *signature.Request) { a := r.Header["Authorization"]; a[0] = a[0][:len(a[0])-2] }, signature.MalformedSignature},
		"terminator":     {replace("aws4_request", "aws5_request"), signature.MalformedSignature},
		"twice":          {replace("Signature=", "Signature=00, Signature="), signature.MalformedSignature},
		"other key":      {replace("AKIDNEW", "AKIDX"), signature.UnknownKey},
		"other secret":   {replace("AKIDNEW", "AKIDOLD"), signature.BadSignature},
		"other region":   {replace("eu-west-1", "eu-west-2"), signature.BadScope},
		"second region":  {replace("eu-west-1", "us-east-1"), signature.BadSignature},
		"other service":  {replace("execute-api", "lambda"), signature.BadScope},
		"other day":      {replace("20231114", "20231113"), signature.BadScope},
		"no date":        {set("X-Amz-Date", ""), signature.MissingTimestamp},
		"bad date":       {set("X-Amz-Date", "20231114T221320"), signature.MalformedTimestamp},
	}
	v, err := signature.New("sigv4", sigV4Config())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := sigV4Request(t, sigV4Config())
			tt.change(req)
			_, err := v.Verify(req, sentAt)
			wantReason(t, err, tt.want)
		})
	}
}

func TestSigV4BodyHash(t *testing.T) {
	t.Parallel()
	v, err := signature.New("sigv4", sigV4Config())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.NewSigner("sigv4", sigV4Config())
	if err != nil {
		t.Fatal(err)
	}
	for declared, want := range map[string]signature.Reason{
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad": "",
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ae": signature.BadBodyHash,
		"abc":                                signature.BadBodyHash,
		"UNSIGNED-PAYLOAD":                   signature.UnsupportedAlg,
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": signature.UnsupportedAlg,
	} {
		req := &signature.Request{
			Method: http.MethodPost, URL: "https://h.example/", Body: []byte("abc"),
			Header: http.Header{"X-Amz-Content-Sha256": {declared}},
		}
		if err := signer.Sign(req, sentAt); err != nil {
			t.Fatal(err)
		}
		_, err := v.Verify(req, sentAt)
		wantReason(t, err, want)
	}
}

func TestSigV4Window(t *testing.T) {
	t.Parallel()
	v, err := signature.New("sigv4", sigV4Config())
	if err != nil {
		t.Fatal(err)
	}
	req := sigV4Request(t, sigV4Config())
	for offset, want := range map[time.Duration]signature.Reason{
		5 * time.Minute: "", -5 * time.Minute: "",
		5*time.Minute + time.Second:  signature.StaleTimestamp,
		-5*time.Minute - time.Second: signature.FutureTimestamp,
	} {
		_, err := v.Verify(req, sentAt.Add(offset))
		wantReason(t, err, want)
	}
}

// A key's owner may write the secret with colons; the key id is what stands before the first.
func TestSigV4Keys(t *testing.T) {
	t.Parallel()
	c := sigV4Config()
	c.Secrets = []string{c.Secrets[1]}
	v, err := signature.New("sigv4", sigV4Config())
	if err != nil {
		t.Fatal(err)
	}
	proof, err := v.Verify(sigV4Request(t, c), sentAt)
	if err != nil || proof.KeyIndex != 1 || !proof.Timestamp.Equal(sentAt) {
		t.Errorf("Verify = %+v, %v, want key 1", proof, err)
	}
	for _, secrets := range [][]string{nil, {""}, {"AKID:"}, {"AKID"}, {":s"}, {"A/B:s"}} {
		_, err := signature.New("sigv4", signature.Secrets(secrets...))
		var refusal *signature.Error
		if !errors.Is(err, signature.ErrProfile) && !errors.As(err, &refusal) {
			t.Errorf("New(%q) = %v, want it refused", secrets, err)
		}
	}
}

// Whatever is signed is verified, however odd its path, query and headers are.
func TestSigV4RoundTrip(t *testing.T) {
	t.Parallel()
	v, err := signature.New("sigv4", signature.Secrets("AKID:secret"))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.NewSigner("sigv4", signature.Secrets("AKID:secret"))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringMatching(`([a-zA-Z0-9./~_+ü!*'()=:@-]|%2F|%20|%zz|%){0,20}`)
		req := &signature.Request{
			Method: rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method"),
			URL:    "https://h.example/" + part.Draw(t, "path") + "?" + part.Draw(t, "name") + "=" + part.Draw(t, "value") + "&" + part.Draw(t, "more"),
			Header: http.Header{"X-Amz-Odd": rapid.SliceOfN(rapid.StringMatching(`[ a-z,]{0,8}`), 1, 3).Draw(t, "header")},
			Body:   rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		if err := signer.Sign(req, sentAt); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(req, sentAt); err != nil {
			t.Fatalf("Verify(%s) = %v", req.URL, err)
		}
		req.Body = append(req.Body, 'x')
		if _, err := v.Verify(req, sentAt); err == nil {
			t.Fatal("another body is accepted")
		}
	})
}
