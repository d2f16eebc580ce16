package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/internal/fault"
)

// maxRequest bounds every request body, whatever the route allows.
const maxRequest = 8 << 20

// open are the paths that need no token; everything else does, whether a route
// exists there or not.
func open(path string) bool { return path == "/healthz" || path == "/readyz" }

type requestIDKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(b[:])
}

// gate is the way to the routes: it names the request, recovers panics, and
// refuses what has no business here before any route sees it.
func (s *server) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &tracked{ResponseWriter: rw}
		id := newRequestID()
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		defer s.recoverPanic(w, r)
		if p := s.refuse(w, r); p != nil {
			p.write(w)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		next.ServeHTTP(w, r)
	})
}

// refuse returns why the request does not get to a route, or nil. The token
// comes first: who has none learns nothing else.
func (s *server) refuse(w http.ResponseWriter, r *http.Request) *Problem {
	ctx := r.Context()
	if open(r.URL.Path) {
		return nil
	}
	if f := s.authenticate(r); f != nil {
		challenge := `Bearer realm="grapnel"`
		if f.Code == codeTokenWrong {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
		return newProblem(ctx, f)
	}
	if !s.hostAllowed(r.Host) {
		return newProblem(ctx, fault.New(fault.Forbidden, codeHostRefused, "this server is not known as %q", r.Host).
			WithHint("use its address, or set admin.public_url to the name by which it is reached"))
	}
	if r.Method == http.MethodPost {
		media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if err != nil || media != "application/json" {
			p := newProblem(ctx, fault.New(fault.Invalid, codeMediaType, "%s wants Content-Type: application/json", r.Method))
			p.Status, p.Title = http.StatusUnsupportedMediaType, title(http.StatusUnsupportedMediaType)
			return p
		}
	}
	return repeatedParameter(ctx, r.URL.RawQuery)
}

// authenticate checks the bearer token. Digests are compared, so that neither
// content nor length of the token shows in the time that it takes.
func (s *server) authenticate(r *http.Request) *fault.Error {
	const hint = "send Authorization: Bearer with the token of this server's data directory"
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return fault.New(fault.Unauthorized, codeTokenMissing, "this needs the admin token").WithHint(hint)
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.config.Token.Reveal()))
	same := subtle.ConstantTimeCompare(got[:], want[:]) == 1
	if len(values) != 1 || !strings.EqualFold(scheme, "Bearer") || !same {
		return fault.New(fault.Unauthorized, codeTokenWrong, "the admin token is wrong").WithHint(hint)
	}
	return nil
}

// hostAllowed keeps DNS rebinding out: a page of another site can only get here
// by a name of its own. Addresses cannot be rebound; names must be known.
func (s *server) hostAllowed(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	if _, err := netip.ParseAddr(name); err == nil || name == "localhost" {
		return true
	}
	return s.config.Hosts != nil && slices.ContainsFunc(s.config.Hosts(), func(allowed string) bool {
		return strings.EqualFold(allowed, name)
	})
}

// repeatedParameter refuses ?a=1&a=2: only one of them could be heard.
func repeatedParameter(ctx context.Context, query string) *Problem {
	values, err := url.ParseQuery(query)
	p := newProblem(ctx, fault.New(fault.Invalid, codeInvalid, "the query cannot be read"))
	if err != nil {
		return p
	}
	for name, all := range values {
		if len(all) > 1 {
			p.Detail = "a parameter occurs more than once"
			p.Errors = append(p.Errors, FieldError{Location: "query." + name, Message: "occurs more than once"})
		}
	}
	if p.Errors == nil {
		return nil
	}
	slices.SortFunc(p.Errors, func(a, b FieldError) int { return strings.Compare(a.Location, b.Location) })
	return p
}

// recoverPanic answers 500 for a bug in a handler and counts it. An answer that
// has begun is cut off instead, so that nobody takes it for whole.
func (s *server) recoverPanic(w *tracked, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	//nolint:errorlint // A panic's value is compared as net/http does it: it is never wrapped.
	if v == http.ErrAbortHandler {
		panic(v)
	}
	s.config.Metrics.Panicked("api")
	s.config.Log.LogAttrs(r.Context(), slog.LevelError, "request panicked",
		slog.String("request_id", requestID(r.Context())), slog.String("path", r.URL.Path),
		slog.String("panic", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	if w.began {
		panic(http.ErrAbortHandler)
	}
	newProblem(r.Context(), fault.New(fault.Internal, codeInternal, "internal error").
		WithHint("the log has a line with request_id %s", requestID(r.Context()))).write(w)
}

// tracked knows whether an answer has begun.
type tracked struct {
	http.ResponseWriter

	began bool
}

// WriteHeader notes that the answer has begun.
func (t *tracked) WriteHeader(status int) {
	t.began = true
	t.ResponseWriter.WriteHeader(status)
}

// Write notes that the answer has begun.
func (t *tracked) Write(p []byte) (int, error) {
	t.began = true
	return t.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach flush and deadlines.
func (t *tracked) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// unrouted answers with a problem where the mux would answer with plain text.
func unrouted(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &statusOnly{header: w.Header()}
		h.ServeHTTP(probe, r)
		switch {
		case probe.status == http.StatusMethodNotAllowed:
			p := newProblem(r.Context(), fault.New(fault.Invalid, codeMethod, "%s does not take %s", r.URL.Path, r.Method))
			p.Status, p.Title = probe.status, title(probe.status)
			p.write(w)
		case probe.status >= 300 && probe.status < 400: // the mux cleans the path
			w.WriteHeader(probe.status)
		default:
			newProblem(r.Context(), fault.New(fault.NotFound, codeNoRoute, "nothing is served at %s", r.URL.Path).
				WithHint("see docs/api.md")).write(w)
		}
	})
}

// statusOnly keeps the status and headers of an answer and drops its body.
type statusOnly struct {
	header http.Header
	status int
}

// Header returns the headers of the real answer.
func (s *statusOnly) Header() http.Header { return s.header }

// WriteHeader notes the first status.
func (s *statusOnly) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
}

// Write drops the body.
func (s *statusOnly) Write(p []byte) (int, error) { return len(p), nil }
