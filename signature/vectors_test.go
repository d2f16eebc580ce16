package signature_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/signature"
)

// vectorFile is testdata/signature-vectors.json, or more-vectors.json, which is our own.
type vectorFile struct {
	Profiles   json.RawMessage `json:"profiles"`
	Vectors    []vector        `json:"vectors"`
	Handshakes []handshake     `json:"handshakes"`
}

// vector is a request with the verdict that is expected.
type vector struct {
	ID           string            `json:"id"`
	Profile      string            `json:"profile"`
	Method       string            `json:"method"`
	URL          string            `json:"url"`
	Headers      map[string]values `json:"headers"`
	Body         string            `json:"body"`
	BodyB64      string            `json:"body_b64"`
	Secret       *string           `json:"secret"`
	SecretsExtra []string          `json:"secrets_extra"`
	PublicKey    string            `json:"public_key"`
	CertPEM      string            `json:"cert_pem"`
	JWKS         json.RawMessage   `json:"jwks"`
	Params       vectorParams      `json:"params"`
	Now          *float64          `json:"now"`
	Valid        bool              `json:"valid"`
	Reason       signature.Reason  `json:"reason"`
}

// vectorParams are the parameters that the profiles need beside secrets.
type vectorParams struct {
	AppKey         string            `json:"app_key"`
	AccessKey      string            `json:"access_key"`
	Region         string            `json:"region"`
	Service        string            `json:"service"`
	WebhookID      string            `json:"webhook_id"`
	Expect         map[string]string `json:"expect"`
	RemoteAddr     string            `json:"remote_addr"`
	Allow          []netip.Prefix    `json:"allow"`
	TrustedProxies []netip.Prefix    `json:"trusted_proxies"`
}

// values is one header value or several.
type values []string

func (v *values) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*v = values{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(v))
}

// loadVectors returns the vectors of both files, and their profiles.
func loadVectors(tb testing.TB) (vectorFile, map[string]signature.Profile) {
	tb.Helper()
	var all vectorFile
	profiles := map[string]signature.Profile{}
	for _, name := range []string{"signature-vectors.json", "more-vectors.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			tb.Fatal(err)
		}
		var file vectorFile
		if err := json.Unmarshal(data, &file); err != nil {
			tb.Fatal(err)
		}
		some, err := signature.ParseProfiles(file.Profiles)
		if err != nil {
			tb.Fatal(err)
		}
		maps.Copy(profiles, some)
		all.Vectors = append(all.Vectors, file.Vectors...)
		all.Handshakes = append(all.Handshakes, file.Handshakes...)
	}
	return all, profiles
}

// request builds the request of the vector.
func (v *vector) request(tb testing.TB) *signature.Request {
	tb.Helper()
	body := []byte(v.Body)
	if v.BodyB64 != "" {
		var err error
		if body, err = base64.StdEncoding.DecodeString(v.BodyB64); err != nil {
			tb.Fatal(err)
		}
	}
	return &signature.Request{
		Method: v.Method, URL: v.URL, Header: headerOf(v.Headers), Body: body,
		RemoteAddr: v.Params.RemoteAddr,
	}
}

func headerOf(headers map[string]values) http.Header {
	header := http.Header{}
	for name, list := range headers {
		for _, value := range list {
			header.Add(name, value)
		}
	}
	return header
}

// config builds the configuration of the vector.
func (v *vector) config() signature.Config {
	c := signature.Config{Allow: v.Params.Allow, TrustedProxies: v.Params.TrustedProxies}
	if v.Secret != nil {
		c.Secrets = append([]string{*v.Secret}, v.SecretsExtra...)
	}
	if v.PublicKey != "" {
		c.PublicKeys = []string{v.PublicKey}
	}
	if v.JWKS != nil {
		c.PublicKeys = []string{string(v.JWKS)}
	}
	c.Params = map[string][]string{}
	if v.CertPEM != "" {
		c.PublicKeys = []string{v.CertPEM}
	}
	if v.Profile == "sns" {
		// The file names no topics: all of its messages come from allowed ones, in both versions.
		c.Params["topic_arn"] = []string(v.Headers["X-Amz-Sns-Topic-Arn"])
		c.Params["signature_version"] = []string{"1", "2"}
	}
	if v.Params.AccessKey != "" {
		c.Secrets = []string{v.Params.AccessKey + ":" + *v.Secret}
		c.Params["region"], c.Params["service"] = []string{v.Params.Region}, []string{v.Params.Service}
	}
	if v.Params.AppKey != "" {
		c.Params["app_key"] = []string{v.Params.AppKey}
	}
	if v.Params.WebhookID != "" {
		c.Params["webhook_id"] = []string{v.Params.WebhookID}
	}
	return c
}

// time is the verifier's clock; where none is given the time must not matter.
func (v *vector) time() time.Time {
	if v.Now == nil {
		return time.Unix(2_000_000_000, 0)
	}
	return time.UnixMilli(int64(*v.Now * 1000))
}

func TestVectors(t *testing.T) {
	t.Parallel()
	file, profiles := loadVectors(t)
	ran := map[string]int{}
	for _, v := range file.Vectors {
		p, ok := profiles[v.Profile]
		if !ok {
			t.Errorf("%s: profile %q is not in the file", v.ID, v.Profile)
		}
		ran[p.Mech]++
		if v.Params.Expect != nil {
			p.Expect = v.Params.Expect
		}
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			proof, err := verifyVector(t, p, &v)
			checkVerdict(t, &v, proof, err)
		})
	}
	for _, mech := range []string{"mac", "token", "jwt", "pubkey", "ip", "sns", "sigv4"} {
		if ran[mech] == 0 {
			t.Errorf("no vector of mechanism %q ran", mech)
		}
	}
}

func verifyVector(tb testing.TB, p signature.Profile, v *vector) (signature.Proof, error) {
	tb.Helper()
	verifier, err := signature.NewProfile(p, v.config())
	if err != nil {
		return signature.Proof{}, err
	}
	return verifier.Verify(v.request(tb), v.time())
}

func checkVerdict(t *testing.T, v *vector, proof signature.Proof, err error) {
	t.Helper()
	if v.Valid {
		if err != nil {
			t.Fatalf("Verify(%s) = %v, want it accepted", v.ID, err)
		}
		if proof.Profile != v.Profile {
			t.Errorf("Proof.Profile = %q, want %q", proof.Profile, v.Profile)
		}
		return
	}
	var refusal *signature.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("Verify(%s) = %v, want a refusal", v.ID, err)
	}
	if refusal.Reason != v.Reason {
		t.Errorf("Verify(%s) = %s, want %s", v.ID, refusal.Reason, v.Reason)
	}
}

// The built-in table and the vectors must say the same of the senders that both know.
func TestBuiltInProfilesAgreeWithVectors(t *testing.T) {
	t.Parallel()
	_, profiles := loadVectors(t)
	for name, want := range profiles {
		got, ok := signature.LookupProfile(name)
		if !ok {
			t.Errorf("LookupProfile(%s): not there", name)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("LookupProfile(%s) differs from the vectors (-want +got):\n%s", name, diff)
		}
	}
}

// What a profile says of itself as JSON is read back as the same profile.
func TestProfilesRoundTripAsJSON(t *testing.T) {
	t.Parallel()
	want := map[string]signature.Profile{}
	for _, p := range signature.Profiles() {
		want[p.Name] = p
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := signature.ParseProfiles(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("profiles differ after a round trip (-want +got):\n%s", diff)
	}
}
