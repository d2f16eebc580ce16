package signature_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"

	"github.com/grapnel/grapnel/signature"
)

// What AWS's own signer for Go signs is verified as it arrives at a server, whatever the address, and
// nothing else is.
func TestSigV4OfTheSDK(t *testing.T) {
	t.Parallel()
	v, err := signature.New("sigv4", signature.Config{
		Secrets: []string{"AKIDEXAMPLE:secret/key+1"}, Params: map[string][]string{"region": {"eu-central-1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan *signature.Request, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		received <- signature.NewRequest(r, body)
	}))
	defer srv.Close()
	signer := v4.NewSigner()
	rapid.Check(t, func(rt *rapid.T) {
		part := rapid.StringMatching(`([a-zA-Z0-9./~_!*'()=:@-]|ü|%2F|%20|%3A|%2B){0,12}`)
		url := srv.URL + "/" + part.Draw(rt, "path") + "?" + part.Draw(rt, "name") + "=" + part.Draw(rt, "value") +
			"&a=" + rapid.StringMatching(`[+a-z%]{0}|[+a-z]{1,5}`).Draw(rt, "plus")
		body := rapid.SliceOf(rapid.Byte()).Draw(rt, "body")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			rt.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Custom", rapid.StringMatching(`[a-z]( {0,3}[a-z,"]){0,4}`).Draw(rt, "header"))
		sum := sha256.Sum256(body)
		hash := hex.EncodeToString(sum[:])
		if rapid.Bool().Draw(rt, "hash") {
			req.Header.Set("X-Amz-Content-Sha256", hash)
		}
		credentials := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret/key+1"}
		service := rapid.SampledFrom([]string{"execute-api", "lambda"}).Draw(rt, "service")
		if err := signer.SignHTTP(t.Context(), credentials, req, hash, service, "eu-central-1", time.Now()); err != nil {
			rt.Fatal(err)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			rt.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			rt.Fatal(err)
		}
		got := <-received
		if _, err := v.Verify(got, time.Now()); err != nil {
			rt.Fatalf("Verify(%s) = %v\n%q", got.URL, err, got.Header)
		}
		got.URL += "&z=1"
		if _, err := v.Verify(got, time.Now()); err == nil {
			rt.Fatal("another query is accepted")
		}
	})
}
