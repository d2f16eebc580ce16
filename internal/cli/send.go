package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/signature"
)

// sendTimeout bounds the request that send makes.
const sendTimeout = 60 * time.Second

type sending struct {
	event, body, deliveryID, to string
	headers                     headers
}

func (a *app) newSend() *cobra.Command {
	var s sending
	cmd := &cobra.Command{
		Use: "send <source>", Short: "Send a webhook to a source, signed as its provider would", Args: one("the name of a source"),
		Long: `Send a webhook to a source of this Grapnel, signed as its provider would: the scheme and the
secrets are read from the configuration file. Without --body a small sample goes out.

Exit codes: 0 accepted (2xx), 1 refused or failed, 2 wrong command line, 3 no server,
5 no such source.`,
		Example: `  grapnel send github --event pull_request --body @pull_request.json
  echo '{"id": "evt_1", "type": "invoice.paid"}' | grapnel send stripe --body -`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.send(cmd.Context(), args[0], &s) },
	}
	flags := cmd.Flags()
	flags.StringVar(&s.event, "event", "", "type of the event, as push (default a sample)")
	flags.StringVar(&s.body, "body", "", "body: text, @file, or - for stdin (default a sample)")
	flags.StringVar(&s.deliveryID, "delivery-id", "", "delivery id of the provider (default a random one)")
	flags.StringArrayVarP((*[]string)(&s.headers), "header", "H", nil, "more headers, 'Name: value'; may be repeated")
	flags.StringVar(&s.to, "to", "", "URL of the public port (default what the configuration says)")
	a.serverFlags(cmd)
	a.jsonFlag(cmd)
	return cmd
}

// sent is what send prints with --json.
type sent struct {
	URL      string `json:"url"`
	Status   int    `json:"status"`
	Duration string `json:"duration"`
	Body     string `json:"body"`
}

func (a *app) send(ctx context.Context, name string, s *sending) error {
	cfg, src, err := a.sourceOf(name)
	if err != nil {
		return err
	}
	base, err := a.publicPort(ctx, cfg, s.to)
	if err != nil {
		return err
	}
	req, err := a.webhook(src, s)
	if err != nil {
		return err
	}
	signBase := cmp.Or(strings.TrimSuffix(src.PublicURL, "/"), base)
	if src.Host != "" && src.PublicURL == "" {
		signBase = scheme(cfg.TLS) + src.Host
	}
	req.URL = signBase + src.Path
	if err := signLike(src, req, a.env.Now()); err != nil {
		return err
	}
	target := base + strings.TrimPrefix(req.URL, signBase)
	sender := http.DefaultClient
	if s.to == "" && cfg.TLS != nil {
		if sender, err = pinnedTo(cfg.TLS); err != nil {
			return err
		}
	}
	start := a.env.Now()
	status, answer, err := post(ctx, sender, target, src.Host, req)
	if err != nil {
		return err
	}
	took := a.env.Now().Sub(start)
	shown, _, _ := strings.Cut(target, "?") // a token may stand in the query
	if src.TokenInPath() {
		shown = base + src.Path
	}
	if a.json {
		err = a.out.json(sent{shown, status, took.String(), string(answer)})
	} else {
		a.printSent(shown, status, took, answer)
	}
	if err == nil && status/100 != 2 {
		err = answerError{exitFailed}
	}
	return err
}

func (a *app) printSent(target string, status int, took time.Duration, answer []byte) {
	text := fmt.Sprint(status, " ", http.StatusText(status))
	if status/100 == 2 {
		text = a.out.green(text)
	} else {
		text = a.out.red(text)
	}
	a.out.line("POST %s", target)
	a.out.line("%s  in %s", text, spanText(took))
	if len(answer) > 0 {
		a.out.block("", string(answer))
	}
	if status/100 != 2 {
		a.note.line("%s", a.note.dim("why: grapnel refused list"))
	}
}

// publicPort returns scheme and host of the public port.
func (a *app) publicPort(ctx context.Context, cfg *config.Config, to string) (string, error) {
	if to != "" {
		u, err := url.Parse(to)
		if err != nil || u.Host == "" {
			return "", usage("write --to http://host:port", "--to %q is not a URL", to)
		}
		return strings.TrimSuffix(to, "/"), nil
	}
	if !strings.HasSuffix(cfg.Listen, ":0") {
		return publicURL(cfg, nil), nil
	}
	c, err := a.client()
	if err != nil {
		return "", err
	}
	defer c.Close()
	status, err := c.Status(ctx)
	if err != nil {
		return "", asked(err)
	}
	return publicURL(cfg, &status), nil
}

// signLike signs a request as the sender of the source does. Of several ways to
// verify, any of which holds, it follows the first; if all must hold, all.
func signLike(src *config.Source, req *signature.Request, now time.Time) error {
	ways := src.Ways()
	if src.Verify != nil && len(src.Verify.Any) > 0 {
		ways = ways[:1]
	}
	for _, way := range ways {
		profile, keys := way.Scheme(), way.Keys()
		if t := profile.Token; profile.Mech == "token" && t != nil && t.In == "path" {
			req.URL += "/" + url.PathEscape(keys.Secrets[0])
			continue
		}
		signer, err := signature.NewProfileSigner(profile, keys)
		if err != nil {
			return usage("send it with the provider's own tool", "requests of source %s cannot be signed here: %v", src.Name, err)
		}
		if err := signer.Sign(req, now); err != nil {
			return usage("give what is signed with -H or in the body", "%v", err)
		}
	}
	return nil
}

// post sends the request and returns the answer. The host is asked for by name;
// "" stands for that of the target.
func post(ctx context.Context, sender *http.Client, target, host string, req *signature.Request) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, req.Method, target, bytes.NewReader(req.Body))
	if err != nil {
		return 0, nil, fmt.Errorf("making the request: %w", err)
	}
	r.Header, r.Host = req.Header, cmp.Or(host, r.Host)
	response, err := sender.Do(r)
	if err != nil {
		if u, ok := err.(*url.Error); ok { //nolint:errorlint // net/http documents this type, unwrapped.
			err = u.Err // the URL may hold a token
		}
		return 0, nil, fault.New(fault.Transient, codeUnreachable, "the public port %s cannot be reached: %v", r.URL.Host, err).
			WithHint("is grapnel serve running? or give --to")
	}
	defer func() { _ = response.Body.Close() }() // the answer has been read
	answer, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return response.StatusCode, answer, nil
}

// webhook builds the request to send, not signed yet.
func (a *app) webhook(src *config.Source, s *sending) (*signature.Request, error) {
	req := &signature.Request{Method: http.MethodPost, Header: http.Header{}}
	provider := src.ProviderInfo()
	own := s.body != ""
	if own {
		body, err := a.input("--body", s.body)
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	if err := s.headers.set(req.Header); err != nil {
		return nil, err
	}
	if err := dress(req, src, &provider, s, own); err != nil {
		return nil, err
	}
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", typeOf(req.Body))
	}
	req.Header.Set("User-Agent", "grapnel-send/"+buildVersion())
	return req, nil
}

// typeOf guesses the content type of a body.
func typeOf(body []byte) string {
	if json.Valid(body) {
		return "application/json"
	}
	if values, err := url.ParseQuery(string(body)); err == nil && len(values) > 0 && bytes.ContainsRune(body, '=') {
		return "application/x-www-form-urlencoded"
	}
	return "application/octet-stream"
}
