package egress_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/egress"
)

func TestRedactedURLsShowNoSecret(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ //nolint:gosec // G101: made up, to see that they do not show
		"https://crm.example.com/hooks":            "https://crm.example.com/hooks",
		"https://user:pass@crm.example.com:8443/h": "https://crm.example.com:8443/h",
		"https://h/p?token=abc&x=1":                "https://h/p?token=[secret]&x=[secret]",
		"https://h/p?abc":                          "https://h/p?[secret]",
		"https://h/p?a=1;b=2&&c=":                  "https://h/p?a=[secret]&b=[secret]&c=[secret]",
		"https://h/p?#frag":                        "https://h/p",
		"https://h/a%2Fb":                          "https://h/a%2Fb",
		"http://[::1]:80/":                         "http://[::1]:80/",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := egress.RedactURL(u); got != want {
			t.Errorf("RedactURL(%s) = %s, want %s", text, got, want)
		}
	}
}

func FuzzRedactURL(f *testing.F) {
	for _, seed := range []string{"x", "a=s3cr3t", "a=b;s3cr3t", "%zz=s3cr3t&s3cr3t", "=s3cr3t", "a==s3cr3t", "?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		u := &url.URL{
			Scheme: "https", Host: "h", Path: "/p", RawQuery: query,
			User: url.UserPassword("us3r", "p4ss"), Fragment: "fr4g",
		}
		got := egress.RedactURL(u)
		rest, ok := strings.CutPrefix(got, "https://h/p")
		if !ok {
			t.Fatalf("RedactURL = %q", got)
		}
		if rest == "" {
			return
		}
		for pair := range strings.SplitSeq(rest[1:], "&") {
			if name, value, _ := strings.Cut(pair, "="); name != "[secret]" && value != "[secret]" {
				t.Errorf("RedactURL with query %q shows %q", query, pair)
			}
		}
	})
}
