package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/spec"
	"github.com/grapnel/grapnel/signature"
	"github.com/grapnel/grapnel/transform"
)

// The checks of single values, for Field.Check. Their messages do not quote the value.

func invalid(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "invalid_config", format, args...)
}

// addressCheck wants "host:port", ":port" or "[address]:port".
func addressCheck(address *string) func() error {
	return func() error {
		host, port, err := net.SplitHostPort(*address)
		if err != nil {
			return invalid("expected an address to listen on").WithHint("write :8080, 127.0.0.1:8080 or [::1]:8080")
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return invalid("a port is a number from 0 to 65535")
		}
		if strings.ContainsAny(host, "/ @") {
			return invalid("expected a host name or an address in front of the port")
		}
		return nil
	}
}

// loopback reports whether a listen address can be reached from this machine only.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	return loopbackHost(host)
}

func loopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

var accountText = regexp.MustCompile(`^[0-9]{12}$`)

func accountCheck(account *string) func() error {
	return matches(account, accountText, "an account is twelve digits, in quotes")
}

var regionText = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`)

func regionCheck(region *string) func() error {
	return matches(region, regionText, "expected a region such as us-east-1")
}

var headerText = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// headerCheck wants the name of a header (RFC 9110 5.1).
func headerCheck(name *string) func() error {
	return matches(name, headerText, "expected the name of a header")
}

func matches(text *string, want *regexp.Regexp, message string) func() error {
	return func() error {
		if !want.MatchString(*text) {
			return invalid("%s", message)
		}
		return nil
	}
}

// pointerCheck wants a JSON pointer (RFC 6901).
func pointerCheck(pointer *string) func() error {
	return func() error {
		if !strings.HasPrefix(*pointer, "/") {
			return invalid("expected a JSON pointer, which begins with /")
		}
		return nil
	}
}

func lengthCheck(text *string, limit int) func() error {
	return func() error {
		if n := utf8.RuneCountInString(*text); n > limit {
			return invalid("has %d characters, at most %d are allowed", n, limit)
		}
		return nil
	}
}

// pathCheck wants a path as requests carry it on the wire.
func pathCheck(text *string) func() error {
	return func() error {
		switch {
		case !strings.HasPrefix(*text, "/"):
			return invalid("a path begins with /")
		case strings.ContainsAny(*text, "?# \\") || strings.ContainsFunc(*text, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
			return invalid("a path holds no ?, # or blanks, and other characters as %%XX")
		case *text == "/" || path.Clean(*text) != *text:
			return invalid("a path has a name between any two slashes and none at the end")
		}
		if _, err := url.PathUnescape(*text); err != nil {
			return invalid("a %% is followed by two hexadecimal digits")
		}
		return nil
	}
}

// baseCheck wants an address that a path can be added to.
func baseCheck(text *string) func() error {
	return func() error {
		u, err := url.Parse(*text)
		if err != nil || u.RawQuery != "" || u.ForceQuery || u.User != nil {
			return invalid("expected scheme, host and perhaps a path, nothing behind it")
		}
		*text = strings.TrimRight(*text, "/")
		return nil
	}
}

var hostText = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

// hostCheck wants a host name without scheme and port, and makes it lower case.
func hostCheck(host *string) func() error {
	return func() error {
		*host = strings.ToLower(*host)
		if !hostText.MatchString(*host) || len(*host) > 253 {
			return invalid("expected a host name such as hooks.example.com, without scheme and port")
		}
		return nil
	}
}

func encodingsCheck(list *[]string) func() error {
	return func() error {
		for _, e := range *list {
			if e != "gzip" {
				return invalid("gzip is the one encoding that can be decoded").WithHint("%s", spec.Suggest(e, []string{"gzip"}))
			}
		}
		return nil
	}
}

func httpsCheck(text *string) func() error {
	return func() error {
		if !strings.HasPrefix(*text, "https://") {
			return invalid("keys are fetched over https only")
		}
		return nil
	}
}

func userCheck(user *string) func() error {
	return func() error {
		if strings.Contains(*user, ":") {
			return invalid("a user name holds no colon")
		}
		return nil
	}
}

func algorithmsCheck(list *[]string) func() error {
	known := []string{"HS256", "RS256", "ES256", "EdDSA"}
	return func() error {
		for _, a := range *list {
			if !slices.Contains(known, a) {
				return invalid("each is one of %s", strings.Join(known, ", ")).WithHint("%s", spec.Suggest(a, known))
			}
		}
		return nil
	}
}

// paramCheck wants the name of a parameter that some scheme or handshake looks at.
func paramCheck(name string) error {
	var known []string
	for _, p := range signature.Profiles() {
		known = append(known, schemeParams(&p)...)
	}
	for _, h := range signature.Handshakes() {
		known = append(known, h.Params...)
	}
	if slices.Contains(known, name) {
		return nil
	}
	slices.Sort(known)
	hint := spec.Suggest(name, known)
	if hint == "" {
		hint = "there is " + strings.Join(slices.Compact(known), ", ")
	}
	return invalid("no provider has such a parameter").WithHint("%s", hint)
}

// schemeParams returns the names of the parameters that a scheme needs.
func schemeParams(p *signature.Profile) []string {
	var names []string
	for _, r := range p.Require {
		names = append(names, r.Param)
	}
	if _, rest, ok := strings.Cut(p.Content, "{param:"); ok {
		name, _, _ := strings.Cut(rest, "}")
		names = append(names, name)
	}
	return names
}

// jsonPathCheck wants a path that can select something.
func jsonPathCheck(text *string) func() error {
	return func() error {
		if e, ok := transformError(transform.ValidatePath(*text)); ok {
			return invalid("%s", e.Problem).WithHint("%s", e.Hint)
		}
		return nil
	}
}
