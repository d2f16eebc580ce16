package destinationtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The keys with which destinations of AWS kinds sign in tests.
const (
	AWSKeyID  = "AKIDEXAMPLE"
	AWSKey    = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	AWSToken  = "s3ssion-token/with+signs=="
	AWSRegion = "eu-central-1"
	// AWSKeys are the keys as a part of a configuration in JSON.
	AWSKeys = `"credentials": {"access_key_id": "` + AWSKeyID + `", "secret_access_key": "` + AWSKey +
		`", "session_token": "` + AWSToken + `"}`
)

// AWSCall is a request as a stub of an AWS API saw it.
type AWSCall struct {
	Method, URI string
	Header      http.Header
	Body        []byte
}

// AWS returns a stub of the API of a service, which refuses what is not signed
// well and gives everything else to answer; nil answers 200 with an empty body.
func AWS(tb testing.TB, service string, answer http.HandlerFunc) (url string, calls <-chan AWSCall) {
	tb.Helper()
	seen := make(chan AWSCall, 100)
	signer := Signer{KeyID: AWSKeyID, Key: AWSKey, Region: AWSRegion, Service: service}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			tb.Errorf("reading the request: %v", err)
		}
		if err := signer.Check(r, body); err != nil {
			tb.Errorf("signature: %v", err)
			w.Header().Set("X-Amzn-Errortype", "InvalidSignatureException")
			w.WriteHeader(http.StatusForbidden)
			return
		}
		seen <- AWSCall{r.Method, r.RequestURI, r.Header, body}
		if answer != nil {
			answer(w, r)
		}
	}))
	tb.Cleanup(s.Close)
	return s.URL, seen
}

// IsolateAWS takes the AWS settings of this machine out of the test's way: the
// environment, and the shared files, which are then in the directory that it
// returns.
func IsolateAWS(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	return dir
}
