package signature_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SignatureVersion 1
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/signature"
)

// issued is a certificate with its key.
type issued struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// issue makes a certificate, signed by parent or by itself.
func issue(tb testing.TB, tmpl x509.Certificate, key crypto.Signer, parent *issued) issued {
	tb.Helper()
	tmpl.SerialNumber = big.NewInt(7)
	if tmpl.NotAfter.IsZero() {
		tmpl.NotBefore, tmpl.NotAfter = sentAt.Add(-time.Hour), sentAt.Add(time.Hour)
	}
	tmpl.BasicConstraintsValid = true
	signer, by := &tmpl, key
	if parent != nil {
		signer, by = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, signer, key.Public(), by)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return issued{cert, key}
}

func (i issued) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.cert.Raw}))
}

func rsaKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func ecKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// certs is a CertSource that notes what it was asked for.
type certs struct {
	cert  *x509.Certificate
	err   error
	asked []string
}

func (c *certs) Certificate(address string, _ time.Time) (*x509.Certificate, error) {
	c.asked = append(c.asked, address)
	return c.cert, c.err
}

const topic = "arn:aws:sns:eu-west-1:123456789012:alerts"

// snsBody returns a signed message, in which over replaces fields before it is signed.
func snsBody(tb testing.TB, key *rsa.PrivateKey, over map[string]string) []byte {
	tb.Helper()
	m := map[string]string{
		"Type": "Notification", "MessageId": "m-1", "TopicArn": topic, "Message": "line one\nline two \u2713",
		"Timestamp": sentAt.UTC().Format(time.RFC3339), "SignatureVersion": "2",
		"SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-abc123.pem",
	}
	maps.Copy(m, over)
	names := []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	if m["Type"] != "Notification" {
		names = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
	}
	var text strings.Builder
	for _, name := range names {
		if value, ok := m[name]; ok {
			text.WriteString(name + "\n" + value + "\n")
		}
	}
	hash, sum := crypto.SHA256, sha256.Sum256([]byte(text.String()))
	digest := sum[:]
	if m["SignatureVersion"] == "1" {
		old := sha1.Sum([]byte(text.String())) //nolint:gosec // SignatureVersion 1
		hash, digest = crypto.SHA1, old[:]
	}
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
	if err != nil {
		tb.Fatal(err)
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(sig)
	body, err := json.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

func snsPost(body []byte) *signature.Request {
	return &signature.Request{
		Method: http.MethodPost, URL: "https://h.example/in/sns", Body: body,
		Header: http.Header{"Content-Type": {"text/plain; charset=UTF-8"}},
	}
}

// wantReason fails unless err is a refusal for the reason; "" wants none.
func wantReason(t *testing.T, err error, want signature.Reason) {
	t.Helper()
	var refusal *signature.Error
	switch {
	case want == "" && err != nil:
		t.Errorf("Verify = %v, want it accepted", err)
	case want != "" && (!errors.As(err, &refusal) || refusal.Reason != want):
		t.Errorf("Verify = %v, want %s", err, want)
	}
}

func TestSNSFetchesOnlyWhatIsAllowed(t *testing.T) {
	t.Parallel()
	key := rsaKey(t)
	signer := issue(t, x509.Certificate{DNSNames: []string{"sns.amazonaws.com"}}, key, nil)
	at := func(url string) map[string]string { return map[string]string{"SigningCertURL": url} }
	tests := map[string]struct {
		over   map[string]string
		raw    bool
		change func(string) string
		want   signature.Reason
		asked  int
	}{
		"good":          {asked: 1},
		"subject":       {over: map[string]string{"Subject": "Build"}, asked: 1},
		"empty subject": {over: map[string]string{"Subject": ""}, asked: 1},
		"version 1":     {over: map[string]string{"SignatureVersion": "1"}, want: signature.UnsupportedAlg},
		"other topic":   {over: map[string]string{"TopicArn": topic + "2"}, want: signature.UnknownTopic},
		"no type":       {over: map[string]string{"Type": "Other"}, want: signature.MissingField},
		"no time":       {over: map[string]string{"Timestamp": "now"}, want: signature.MalformedTimestamp},
		"raw delivery":  {raw: true, want: signature.MissingSignature},
		"tampered": {
			change: func(s string) string { return strings.Replace(s, "line one", "line 1", 1) },
			want:   signature.BadSignature, asked: 1,
		},
		"last member counts": {
			change: func(s string) string { return strings.Replace(s, "}", `,"Message":"other"}`, 1) },
			want:   signature.BadSignature, asked: 1,
		},
		"two addresses": {
			change: func(s string) string { return strings.Replace(s, "{", `{"SigningCertUrl":"https://x",`, 1) },
			want:   signature.MalformedBody,
		},
		"not JSON":  {change: func(s string) string { return s + "x" }, want: signature.MalformedBody},
		"http":      {over: at("http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem"), want: signature.UntrustedCertURL},
		"bucket":    {over: at("https://sns.s3.amazonaws.com/SimpleNotificationService-a.pem"), want: signature.UntrustedCertURL},
		"lookalike": {over: at("https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-a.pem"), want: signature.UntrustedCertURL},
		"user":      {over: at("https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-a.pem"), want: signature.UntrustedCertURL},
		"port":      {over: at("https://sns.eu-west-1.amazonaws.com:443/SimpleNotificationService-a.pem"), want: signature.UntrustedCertURL},
		"query":     {over: at("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem?x"), want: signature.UntrustedCertURL},
		"fragment":  {over: at("https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem#x"), want: signature.UntrustedCertURL},
		"backslash": {over: at(`https://evil.example\@sns.eu-west-1.amazonaws.com/SimpleNotificationService-a.pem`), want: signature.UntrustedCertURL},
		"folder":    {over: at("https://sns.eu-west-1.amazonaws.com/x/../SimpleNotificationService-a.pem"), want: signature.UntrustedCertURL},
		"none":      {over: at(""), want: signature.MissingCertURL},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := &certs{cert: signer.cert}
			v, err := signature.New("sns", signature.Config{
				Certs: source, Params: map[string][]string{"topic_arn": {topic}},
			})
			if err != nil {
				t.Fatal(err)
			}
			req := snsPost(snsBody(t, key, tt.over))
			if tt.change != nil {
				req.Body = []byte(tt.change(string(req.Body)))
			}
			if tt.raw {
				req.Header.Set("x-amz-sns-rawdelivery", "true")
			}
			proof, err := v.Verify(req, sentAt)
			wantReason(t, err, tt.want)
			if len(source.asked) != tt.asked {
				t.Errorf("certificates asked for: %q, want %d", source.asked, tt.asked)
			}
			if err == nil && (proof.KeyIndex != -1 || !proof.Timestamp.Equal(sentAt)) {
				t.Errorf("Proof = %+v, want no configured key and the signed time", proof)
			}
		})
	}
}

func TestSNSCertificates(t *testing.T) {
	t.Parallel()
	key := rsaKey(t)
	signer := issue(t, x509.Certificate{}, key, nil)
	old := issue(t, x509.Certificate{NotBefore: sentAt.Add(-2 * time.Hour), NotAfter: sentAt.Add(-time.Second)}, key, nil)
	young := issue(t, x509.Certificate{NotBefore: sentAt.Add(time.Second), NotAfter: sentAt.Add(time.Hour)}, key, nil)
	other := issue(t, x509.Certificate{}, ecKey(t), nil)
	offline := errors.New("offline")
	tests := map[string]struct {
		config signature.Config
		want   signature.Reason
		err    error
		index  int
	}{
		"pinned, though expired": {signature.Config{PublicKeys: []string{throwAwayKey, old.pem()}}, "", nil, 1},
		"pinned another":         {signature.Config{PublicKeys: []string{throwAwayKey}}, signature.BadSignature, nil, 0},
		"fetched beside a pin": {
			signature.Config{PublicKeys: []string{throwAwayKey}, Certs: &certs{cert: signer.cert}}, "", nil, -1,
		},
		"expired":       {signature.Config{Certs: &certs{cert: old.cert}}, signature.Expired, nil, 0},
		"not yet valid": {signature.Config{Certs: &certs{cert: young.cert}}, signature.NotYetValid, nil, 0},
		"no RSA key":    {signature.Config{Certs: &certs{cert: other.cert}}, signature.UnsupportedAlg, nil, 0},
		"none there":    {signature.Config{Certs: &certs{}}, signature.UnknownKey, nil, 0},
		"source fails":  {signature.Config{Certs: &certs{err: offline}}, "", offline, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.config.Params = map[string][]string{"topic_arn": {topic}, "signature_version": {"1"}}
			v, err := signature.New("sns", tt.config)
			if err != nil {
				t.Fatal(err)
			}
			proof, err := v.Verify(snsPost(snsBody(t, key, map[string]string{"SignatureVersion": "1"})), sentAt)
			if tt.err != nil {
				if !errors.Is(err, tt.err) {
					t.Errorf("Verify = %v, want %v", err, tt.err)
				}
				return
			}
			wantReason(t, err, tt.want)
			if err == nil && proof.KeyIndex != tt.index {
				t.Errorf("KeyIndex = %d, want %d", proof.KeyIndex, tt.index)
			}
		})
	}
}

// PayPal's real, expired certificate is refused from a source, and no request without a signature or
// of another host makes anybody fetch something.
func TestPayPalFetchesOnlyWhatIsAllowed(t *testing.T) {
	t.Parallel()
	file, _ := loadVectors(t)
	for _, v := range file.Vectors {
		if v.Profile != "paypal" {
			continue
		}
		keys, _ := pem.Decode([]byte(v.CertPEM))
		cert, err := x509.ParseCertificate(keys.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		source := &certs{cert: cert}
		c := v.config()
		c.PublicKeys, c.Certs = nil, source
		verifier, err := signature.New("paypal", c)
		if err != nil {
			t.Fatal(err)
		}
		req := v.request(t)
		proof, err := verifier.Verify(req, cert.NotAfter)
		wantReason(t, err, v.Reason)
		if (len(source.asked) == 0) != (v.Reason == signature.UntrustedCertURL) {
			t.Errorf("%s: asked for %q", v.ID, source.asked)
		}
		if !v.Valid {
			continue
		}
		if proof.KeyIndex != -1 {
			t.Errorf("%s: KeyIndex = %d, want -1", v.ID, proof.KeyIndex)
		}
		_, err = verifier.Verify(req, cert.NotAfter.Add(time.Second))
		wantReason(t, err, signature.Expired)
		asked := len(source.asked)
		req.Header.Del("Paypal-Transmission-Sig")
		_, err = verifier.Verify(req, cert.NotAfter)
		wantReason(t, err, signature.MissingSignature)
		if len(source.asked) != asked {
			t.Errorf("%s: a request without a signature had a certificate fetched", v.ID)
		}
	}
}

func TestCheckCertificate(t *testing.T) {
	t.Parallel()
	root := issue(t, x509.Certificate{IsCA: true, Subject: pkix.Name{CommonName: "root"}}, ecKey(t), nil)
	between := issue(t, x509.Certificate{IsCA: true, Subject: pkix.Name{CommonName: "between"}}, ecKey(t), &root)
	leaf := issue(t, x509.Certificate{DNSNames: []string{"certs.paypal.com"}}, rsaKey(t), &between)
	other := issue(t, x509.Certificate{DNSNames: []string{"notpaypal.com"}}, ecKey(t), &root)
	self := issue(t, x509.Certificate{DNSNames: []string{"certs.paypal.com"}}, ecKey(t), nil)
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	tests := map[string]struct {
		text string
		at   time.Time
		ok   bool
	}{
		"chain":        {leaf.pem() + between.pem(), sentAt, true},
		"with root":    {leaf.pem() + between.pem() + root.pem(), sentAt, true},
		"without link": {leaf.pem(), sentAt, false},
		"expired":      {leaf.pem() + between.pem(), sentAt.Add(2 * time.Hour), false},
		"other name":   {other.pem(), sentAt, false},
		"self-signed":  {self.pem(), sentAt, false},
		"key":          {throwAwayKey, sentAt, false},
		"nothing":      {"", sentAt, false},
	}
	for name, tt := range tests {
		got, err := signature.CheckCertificate([]byte(tt.text), "https://api.sandbox.paypal.com/cert", roots, tt.at)
		if (err == nil) != tt.ok {
			t.Errorf("%s: CheckCertificate = %v", name, err)
		}
		if tt.ok && !got.Equal(leaf.cert) {
			t.Errorf("%s: CheckCertificate = %v, want the signer's", name, got.Subject)
		}
	}
}

func TestSNSHandshakes(t *testing.T) {
	t.Parallel()
	file, _ := loadVectors(t)
	p := signature.Provider{Name: "aws-sns", Handshakes: []string{"sns"}}
	confirmed := 0
	for _, v := range file.Vectors {
		if v.Profile != "sns" || !v.Valid {
			continue
		}
		req := v.request(t)
		h, ok := p.Handshake(req)
		kind := v.Headers["X-Amz-Sns-Message-Type"].first()
		if ok != strings.HasSuffix(kind, "Confirmation") {
			t.Errorf("%s: handshake %t", v.ID, ok)
		}
		if !ok {
			continue
		}
		if !h.VerifyFirst {
			t.Fatal("a confirmation is answered before it is verified")
		}
		answer, err := h.Answer(req, v.config(), -1)
		if err != nil || answer.Status != http.StatusOK || len(answer.Body) > 0 {
			t.Errorf("%s: Answer = %d %q, %v", v.ID, answer.Status, answer.Body, err)
		}
		address := h.Confirm(req)
		if (address != "") != (kind == "SubscriptionConfirmation") {
			t.Errorf("%s: Confirm = %q", v.ID, address)
		}
		if strings.HasPrefix(address, "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&") {
			confirmed++
		}
	}
	for _, h := range file.Handshakes {
		if h.Request.Vector != "" && (h.Response.Status != http.StatusOK || confirmed == 0) {
			t.Errorf("%s: no subscription was confirmed", h.ID)
		}
	}
}

func TestSNSConfirmsOnlyTheSubscription(t *testing.T) {
	t.Parallel()
	key := rsaKey(t)
	p := signature.Provider{Name: "aws-sns", Handshakes: []string{"sns"}}
	const good = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=t0"
	for name, tt := range map[string]struct {
		url string
		ok  bool
	}{
		"good":           {good, true},
		"other host":     {strings.Replace(good, "amazonaws.com", "amazonaws.com.evil.example", 1), false},
		"other region":   {strings.Replace(good, "sns.eu-west-1", "sns.us-east-1", 1), false},
		"http":           {strings.Replace(good, "https", "http", 1), false},
		"port":           {strings.Replace(good, ".com/", ".com:22/", 1), false},
		"user":           {strings.Replace(good, "sns.eu", "a@sns.eu", 1), false},
		"path":           {strings.Replace(good, ".com/", ".com/x", 1), false},
		"other action":   {strings.Replace(good, "ConfirmSubscription", "DeleteTopic", 1), false},
		"other topic":    {strings.Replace(good, ":alerts", ":other", 1), false},
		"other token":    {strings.Replace(good, "t0", "t1", 1), false},
		"more":           {good + "&x=1", false},
		"twice":          {good + "&Token=t0", false},
		"nothing":        {"", false},
		"metadata":       {"http://169.254.169.254/latest/meta-data/", false},
		"not an address": {"sns", false},
	} {
		req := snsPost(snsBody(t, key, map[string]string{"Type": "SubscriptionConfirmation", "Token": "t0", "SubscribeURL": tt.url}))
		h, ok := p.Handshake(req)
		if !ok {
			t.Fatalf("%s: not recognized", name)
		}
		want := ""
		if tt.ok {
			want = tt.url
		}
		if got := h.Confirm(req); got != want {
			t.Errorf("%s: Confirm = %q, want %q", name, got, want)
		}
		if answer, err := h.Answer(req, signature.Config{}, -1); (err == nil) != tt.ok || (answer.Status == http.StatusOK) != tt.ok {
			t.Errorf("%s: Answer = %d, %v", name, answer.Status, err)
		}
	}
}

func TestMTLS(t *testing.T) {
	t.Parallel()
	ca := issue(t, x509.Certificate{IsCA: true, Subject: pkix.Name{CommonName: "ca"}}, ecKey(t), nil)
	tmpl := x509.Certificate{
		Subject: pkix.Name{CommonName: "sender", Organization: []string{"Acme"}}, DNSNames: []string{"a.hooks.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	client := issue(t, tmpl, ecKey(t), &ca)
	self := issue(t, tmpl, ecKey(t), nil)
	sum := sha256.Sum256(self.cert.RawSubjectPublicKeyInfo)
	cas := x509.NewCertPool()
	cas.AddCert(ca.cert)
	params := func(kind string, values ...string) map[string][]string { return map[string][]string{kind: values} }
	tests := map[string]struct {
		params  map[string][]string
		cas     *x509.CertPool
		peer    *issued
		chained bool
		at      time.Time
		ok      bool
	}{
		"name":              {params("san", "a.hooks.example"), cas, &client, false, sentAt, true},
		"wildcard":          {params("san", "x", "*.hooks.example"), cas, &client, false, sentAt, true},
		"other name":        {params("san", "hooks.example", "b.hooks.example"), cas, &client, false, sentAt, false},
		"common name":       {params("subject", "sender"), cas, &client, false, sentAt, true},
		"subject":           {params("subject", "CN=sender,O=Acme"), cas, &client, false, sentAt, true},
		"other subject":     {params("subject", "Acme"), cas, &client, false, sentAt, false},
		"name claimed":      {params("san", "a.hooks.example"), cas, &self, false, sentAt, false},
		"nobody vouches":    {params("san", "a.hooks.example"), nil, &client, false, sentAt, false},
		"server vouches":    {params("san", "a.hooks.example"), nil, &client, true, sentAt, true},
		"expired":           {params("san", "a.hooks.example"), cas, &client, false, sentAt.Add(2 * time.Hour), false},
		"no certificate":    {params("san", "a.hooks.example"), cas, nil, false, sentAt, false},
		"pin":               {params("spki", base64.StdEncoding.EncodeToString(sum[:])), nil, &self, false, sentAt, true},
		"pin, hexadecimal":  {params("spki", hex.EncodeToString(sum[:])), nil, &self, false, sentAt, true},
		"another's pin":     {params("spki", hex.EncodeToString(sum[:])), nil, &client, false, sentAt, false},
		"pin under a CA":    {params("spki", hex.EncodeToString(sum[:])), cas, &self, false, sentAt, false},
		"pin and no name":   {map[string][]string{"spki": {hex.EncodeToString(sum[:])}, "san": {"a.hooks.example"}}, nil, &self, false, sentAt, false},
		"pin, but too late": {params("spki", hex.EncodeToString(sum[:])), nil, &self, false, sentAt.Add(2 * time.Hour), false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, err := signature.New("mtls", signature.Config{Params: tt.params, ClientCAs: tt.cas})
			if err != nil {
				t.Fatal(err)
			}
			req := snsPost(nil)
			if tt.peer != nil {
				req.PeerCertificates = []*x509.Certificate{tt.peer.cert}
			}
			if tt.chained {
				req.VerifiedChains = [][]*x509.Certificate{{tt.peer.cert, ca.cert}}
			}
			_, err = v.Verify(req, tt.at)
			if tt.ok {
				wantReason(t, err, "")
				return
			}
			wantReason(t, err, signature.CertDenied)
			if signature.CertDenied.Status() != http.StatusForbidden {
				t.Error("a certificate that is not allowed is not answered 403")
			}
		})
	}
}

func TestMTLSNeedsSomethingToCompare(t *testing.T) {
	t.Parallel()
	for _, params := range []map[string][]string{nil, {"spki": {"abc"}}, {"san": {""}}} {
		if _, err := signature.New("mtls", signature.Config{Params: params}); !errors.Is(err, signature.ErrProfile) {
			t.Errorf("New(%v) = %v, want ErrProfile", params, err)
		}
	}
}

// A real handshake fills the fields of the request.
func TestNewRequestTakesTheClientCertificate(t *testing.T) {
	t.Parallel()
	client := issue(t, x509.Certificate{}, ecKey(t), nil)
	got := make(chan *signature.Request, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- signature.NewRequest(r, nil)
	}))
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	srv.StartTLS()
	defer srv.Close()
	transport, _ := srv.Client().Transport.(*http.Transport)
	transport.TLSClientConfig.Certificates = []tls.Certificate{
		{Certificate: [][]byte{client.cert.Raw}, PrivateKey: client.key},
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	r := <-got
	if len(r.PeerCertificates) != 1 || !r.PeerCertificates[0].Equal(client.cert) || len(r.VerifiedChains) != 0 {
		t.Errorf("NewRequest: certificates %d, chains %d, want the client's, which nobody vouches for",
			len(r.PeerCertificates), len(r.VerifiedChains))
	}
}
