package daemon_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestTheLimitsOfTheFileHoldOnTheWire sends through a proxy that the
// configuration trusts, and does not trust after a reload.
func TestTheLimitsOfTheFileHoldOnTheWire(t *testing.T) {
	t.Parallel()
	const limits = `
sources:
  limited: {provider: none, rate: {address: [10/m, 100/h]}}
  closed: {provider: none, allow_ips: ["::ffff:192.0.2.0/120"]}
  hosted: {provider: none, host: hooks.example.com}
`
	d := start(t, "trusted_proxies: [127.0.0.0/8]\n"+limits)
	post := func(path, host, xff string) (int, http.Header) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.PublicAddr()+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		request.Host, request.Close = host, true
		request.Header.Set("X-Forwarded-For", xff)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, response.Header
	}
	for i := range 11 {
		want := http.StatusOK
		if i == 10 {
			want = http.StatusTooManyRequests
		}
		// What stands in front is the sender's own claim, another one each time.
		status, header := post("/in/limited", "", fmt.Sprintf("198.51.100.%d, 192.0.2.1", i))
		if status != want || want == http.StatusTooManyRequests && header.Get("Retry-After") == "" {
			t.Errorf("request %d was answered %d, want %d", i+1, status, want)
		}
	}
	for _, c := range []struct {
		path, host, xff string
		want            int
	}{
		{"/in/limited", "", "192.0.2.2", http.StatusOK},
		{"/in/closed", "", "192.0.2.2", http.StatusOK},
		{"/in/closed", "", "192.0.2.2, 198.51.100.1", http.StatusForbidden},
		{"/in/hosted", "hooks.example.com", "192.0.2.2", http.StatusOK},
		{"/in/hosted", "other.example.com", "192.0.2.2", http.StatusNotFound},
	} {
		if status, _ := post(c.path, c.host, c.xff); status != c.want {
			t.Errorf("%s at %q from %s was answered %d, want %d", c.path, c.host, c.xff, status, c.want)
		}
	}
	if err := d.reload(t, limits); err != nil {
		t.Fatal(err)
	}
	if status, _ := post("/in/closed", "", "192.0.2.2"); status != http.StatusForbidden {
		t.Errorf("a peer that is trusted no longer was believed: %d", status)
	}
}
