package ingest_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/egress"
	"github.com/grapnel/grapnel/internal/ingest"
)

func TestKeySetsAreFetchedSeldomAndNeverHoldSecrets(t *testing.T) {
	t.Parallel()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	var broken atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		if broken.Load() {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":%q},{"kty":"oct","kid":"s","k":"AAAA"}]}`,
			base64.RawURLEncoding.EncodeToString(public))
	}))
	defer server.Close()
	sets := ingest.NewKeySets(egress.New(egress.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}))
	defer sets.Close()
	source := sets.Fetch(server.URL)
	if sets.Fetch(server.URL) != source {
		t.Error("the same address is fetched twice")
	}
	now := testNow
	check := func(id string, wantKeys int, wantAsked int32) {
		t.Helper()
		keys, err := source.Keys(id, now)
		if err != nil || len(keys) != wantKeys || asked.Load() != wantAsked {
			t.Errorf("Keys(%q) = %d keys, %v after %d requests; want %d after %d", id, len(keys), err, asked.Load(), wantKeys, wantAsked)
		}
	}
	broken.Store(true)
	if _, err := source.Keys("a", now); err == nil {
		t.Error("no keys and no error")
	}
	broken.Store(false)
	if _, err := source.Keys("a", now.Add(4*time.Second)); err == nil || asked.Load() != 1 {
		t.Errorf("asked again within the pause: %d requests, %v", asked.Load(), err)
	}
	now = now.Add(5 * time.Second) // what Retry-After tells senders while there are no keys
	check("a", 1, 2)
	now = now.Add(59 * time.Second)
	check("forged", 0, 2) // with keys the pause is a minute
	check("a", 1, 2)
	check("", 1, 2)
	check("s", 0, 2) // a shared secret in a published set is no key
	check("forged", 0, 2)
	now = now.Add(time.Second)
	check("forged", 0, 3) // an unknown id asks again, at most once a minute
	broken.Store(true)
	now = now.Add(2 * time.Hour)
	check("a", 1, 4) // old keys go on when the address fails
	if keys, err := source.Keys("rotated", now); err == nil {
		t.Errorf("an unknown key while the address fails is %v, want an error: it may be a new one", keys)
	}
}
