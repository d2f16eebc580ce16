package cli

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/client"
	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/daemon"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
)

const (
	defaultConfig = "grapnel.yaml"
	envConfig     = "GRAPNEL_CONFIG"
	envAdmin      = "GRAPNEL_ADMIN"
	envToken      = "GRAPNEL_TOKEN" //nolint:gosec // The name of a variable, not a credential.
	// addressFile is the name of the file in the data directory in which serve
	// leaves the admin address when the configuration leaves the port to the
	// system (":0").
	addressFile = "admin.addr"
)

// connection is how commands find a running Grapnel.
type connection struct {
	config, admin, token, tokenFile string
}

// configFlag adds -c to a command.
func (a *app) configFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&a.conn.config, "config", "c", "",
		"configuration file (default $"+envConfig+" or ./"+defaultConfig+")")
}

// serverFlags adds the flags of commands that ask a server.
func (a *app) serverFlags(cmd *cobra.Command) {
	a.configFlag(cmd)
	cmd.Flags().StringVar(&a.conn.admin, "admin", "",
		"URL of the admin port (default $"+envAdmin+" or what the configuration says)")
	cmd.Flags().StringVar(&a.conn.token, "token", "",
		"admin token; other users see it in the list of processes, rather use $"+envToken)
	cmd.Flags().StringVar(&a.conn.tokenFile, "token-file", "",
		"file with the admin token (default "+daemon.TokenFile+" in the data directory)")
}

func (a *app) env1(name string) string {
	value, _ := a.env.LookupEnv(name)
	return value
}

func (a *app) configPath() string {
	return cmp.Or(a.conn.config, a.env1(envConfig), defaultConfig)
}

// client returns a client for the Grapnel that flags, environment or
// configuration name, in this order.
func (a *app) client() (*client.Client, error) {
	c := a.conn
	address := cmp.Or(c.admin, a.env1(envAdmin))
	token, err := a.givenToken()
	if err != nil {
		return nil, err
	}
	if address != "" && token.Empty() && !local(address) {
		return nil, usage("give --token-file or $"+envToken+" with --admin",
			"the token of the configuration here is not sent to another machine, %s", address)
	}
	var pinned *http.Client
	if address == "" || token.Empty() {
		where, err := a.located()
		if err != nil {
			return nil, err
		}
		if address == "" {
			if address, err = adminURL(&where); err != nil {
				return nil, err
			}
			if pinned, err = pinnedTo(where.Admin.TLS); err != nil {
				return nil, err
			}
		}
		if token.Empty() && where.Admin.Auth != config.AuthNone {
			if token, err = tokenIn(filepath.Join(where.Data, daemon.TokenFile), false); err != nil {
				return nil, err
			}
		}
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	return client.New(client.Config{URL: address, Token: token, Agent: api.AgentCLI + buildVersion(), HTTP: pinned})
}

// pinnedTo returns a client for a port that shows the certificate, or nil for one
// without TLS.
func pinnedTo(t *config.TLS) (*http.Client, error) {
	if t == nil {
		return nil, nil //nolint:nilnil // nil stands for the usual client.
	}
	text, err := os.ReadFile(t.Cert)
	if err != nil {
		return nil, usage("run this where the configuration is, or give --admin", "the certificate %s cannot be read: %v",
			t.Cert, cause(err))
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if first, err := x509.ParseCertificate(block.Bytes); err == nil {
			return client.Pinned(first), nil
		}
	}
	return nil, usage("give --admin to ask by a name that its certificate has", "%s holds no certificate", t.Cert)
}

// scheme is how a port is asked.
func scheme(t *config.TLS) string {
	if t != nil {
		return "https://"
	}
	return "http://"
}

// local reports whether an admin URL is on this machine.
func local(address string) bool {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// givenToken returns the token of the flags or the environment, if there is one.
func (a *app) givenToken() (secret.String, error) {
	switch {
	case a.conn.token != "":
		return secret.New(a.conn.token), nil
	case a.conn.tokenFile != "":
		return tokenIn(a.conn.tokenFile, true)
	}
	return secret.New(a.env1(envToken)), nil
}

// tokenIn reads a token file.
func tokenIn(path string, named bool) (secret.String, error) {
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		return secret.New(strings.TrimSpace(string(text))), nil
	case named:
		return secret.String{}, usage("--token-file names a file with the token in it", "the token file %s cannot be read: %v",
			path, cause(err))
	case errors.Is(err, fs.ErrNotExist):
		return secret.String{}, fault.New(fault.Transient, codeUnreachable, "there is no admin token at %s", path).
			WithHint("grapnel serve makes it at its first start; or give --token-file or $%s", envToken)
	}
	return secret.String{}, fault.New(fault.Unauthorized, "token_unreadable", "the admin token %s cannot be read: %v",
		path, cause(err)).WithHint("ask as the user that runs grapnel serve, or give --token-file or $%s", envToken)
}

// cause returns what went wrong with a file, without its path.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// located reads where the server of the configuration file is. The file may be
// broken otherwise, and its secrets may be unknown here.
func (a *app) located() (config.Location, error) {
	path := a.configPath()
	text, err := os.ReadFile(path)
	if err != nil {
		return config.Location{}, usage("run this where the configuration is, or give -c, or --admin and --token-file",
			"the configuration %s cannot be read: %v", path, cause(err))
	}
	where, problems := config.Locate(path, text, config.Options{Env: a.env.LookupEnv, ReadFile: os.ReadFile})
	if len(problems) > 0 {
		return where, fault.New(fault.Invalid, "config_invalid", "%s", problems[0].String()).
			WithHint("correct it, or give --admin and --token-file")
	}
	return where, nil
}

// adminURL returns where the admin port is asked.
func adminURL(where *config.Location) (string, error) {
	address := where.Admin.Listen
	if strings.HasSuffix(address, ":0") {
		text, err := os.ReadFile(filepath.Join(where.Data, addressFile))
		if err != nil {
			return "", fault.New(fault.Transient, codeUnreachable, "no server has left its address in %s", where.Data).
				WithHint("is grapnel serve running? or give --admin")
		}
		address = strings.TrimSpace(string(text))
	}
	return scheme(where.Admin.TLS) + dialable(address), nil
}

// dialable turns an address to listen on into one to connect to: what listens
// on all addresses is reached on loopback.
func dialable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// asked turns a failure to reach the server into one exit code, and tells what
// to do about a wrong token.
func asked(err error) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	switch f.Code {
	case "not_running", "unknown_host", "no_connection", "no_answer", "not_grapnel":
		c := *f
		c.Code, c.Err = codeUnreachable, nil
		return &c
	case "token_missing", "token_wrong":
		return f.WithHint("the token is in %s in the data directory of the server; give --token-file or $%s",
			daemon.TokenFile, envToken)
	}
	if f.Kind == fault.Invalid {
		return argumentError{err}
	}
	return err
}

// argumentError is what the server found wrong with an argument.
type argumentError struct{ error }

// Unwrap returns the server's error.
func (e argumentError) Unwrap() error { return e.error }
