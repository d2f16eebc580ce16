package signature_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/grapnel/grapnel/signature"
)

// The five lines of the package comment, on a real connection.
func TestVerifyOverHTTP(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"github", "square", "stripe", "token"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			verifier := mustNew(t, provider, signature.Secrets("s3cret"))
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
				if err != nil {
					http.Error(w, "too large", http.StatusRequestEntityTooLarge)
					return
				}
				_, err = verifier.Verify(signature.NewRequest(r, body), time.Now())
				if refusal, ok := errors.AsType[*signature.Error](err); ok {
					http.Error(w, "refused", refusal.Reason.Status())
				}
			}))
			t.Cleanup(server.Close)
			for secret, want := range map[string]int{"s3cret": http.StatusOK, "other": http.StatusUnauthorized} {
				if got := post(t, server, provider, secret); got != want {
					t.Errorf("signed with %s: status %d, want %d", secret, got, want)
				}
			}
		})
	}
}

// post sends a signed request and returns the status.
func post(t *testing.T, server *httptest.Server, provider, secret string) int {
	t.Helper()
	signer, err := signature.NewSigner(provider, signature.Secrets(secret))
	if err != nil {
		t.Fatal(err)
	}
	signed := &signature.Request{
		Method: http.MethodPost, URL: server.URL + "/in/a%2Fb//x?q=1&r=%27", Body: []byte(" {\"a\" : 1}\r\n"),
	}
	if err := signer.Sign(signed, time.Now()); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), signed.Method, signed.URL, bytes.NewReader(signed.Body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = signed.Header
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // nothing in it is wanted
	return resp.StatusCode
}
