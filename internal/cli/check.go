package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/daemon"
	"github.com/grapnel/grapnel/internal/spec"
)

// checked is what check says with --json.
type checked struct {
	File         string         `json:"file"`
	OK           bool           `json:"ok"`
	Problems     []spec.Problem `json:"problems"`
	Sources      []string       `json:"sources,omitempty"`
	Destinations []string       `json:"destinations,omitempty"`
	Rules        []string       `json:"rules,omitempty"`
}

func (a *app) newCheck() *cobra.Command {
	var strict bool
	cmd := &cobra.Command{
		Use: "check", Short: "Check the configuration file", Args: none,
		Long: `Check the configuration file as serve would, and print every problem with its place,
then what the file sets up. Nothing is started and nothing is connected to. Beside problems it
warns about what is too open: secrets and AWS keys in the file itself, destinations without TLS,
a public port without TLS or trusted proxies, tokens that may be guessed at without a rate.

Exit codes: 0 no problem, 1 problems (with --strict also warnings), 2 wrong command line.`,
		Example: "  grapnel check\n  grapnel check -c /etc/grapnel.yaml --strict",
		RunE:    func(*cobra.Command, []string) error { return a.check(strict) },
	}
	cmd.Flags().BoolVar(&strict, "strict", false, "count warnings as problems")
	a.configFlag(cmd)
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) check(strict bool) error {
	path := a.configPath()
	cfg, problems, err := daemon.LoadConfig(path, a.env.LookupEnv)
	if _, ok := errors.AsType[*daemon.ConfigError](err); err != nil && !ok {
		return err
	}
	if cfg != nil {
		problems = append(problems, cfg.Exposure()...)
		spec.Sort(problems)
	}
	errs := spec.Errors(problems)
	ok := len(errs) == 0 && (!strict || len(problems) == 0)
	if a.json {
		if err := a.out.json(checkedOf(path, ok, problems, cfg)); err != nil {
			return err
		}
	} else {
		a.printChecked(path, cfg, problems, len(errs))
	}
	if !ok {
		return answerError{exitFailed}
	}
	return nil
}

func checkedOf(path string, ok bool, problems []spec.Problem, cfg *config.Config) checked {
	out := checked{File: path, OK: ok, Problems: problems}
	if problems == nil {
		out.Problems = []spec.Problem{}
	}
	if cfg == nil {
		return out
	}
	for i := range cfg.Sources {
		out.Sources = append(out.Sources, cfg.Sources[i].Name)
	}
	for i := range cfg.Destinations {
		out.Destinations = append(out.Destinations, cfg.Destinations[i].Name)
	}
	for i := range cfg.Rules {
		out.Rules = append(out.Rules, cfg.Rules[i].Name)
	}
	return out
}

func (a *app) printChecked(path string, cfg *config.Config, problems []spec.Problem, errs int) {
	for _, p := range problems {
		text := clean(p.String())
		if p.Warning {
			a.out.line("%s", a.out.yellow(text))
		} else {
			a.out.line("%s", a.out.red(text))
		}
	}
	warnings := len(problems) - errs
	if cfg == nil {
		a.out.line("%s", plural(errs, "problem")+and(warnings, "warning"))
		return
	}
	a.printSummary(cfg)
	a.out.line("%s", a.out.green(path+" is good"+and(warnings, "warning")))
}

// and is ", 2 things" when there are any.
func and(n int, thing string) string {
	if n == 0 {
		return ""
	}
	return ", " + plural(n, thing)
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// printSummary prints what a configuration sets up.
func (a *app) printSummary(cfg *config.Config) {
	if len(cfg.Sources) > 0 {
		t := table{head: []string{"SOURCE", "PROVIDER", "URL"}}
		for i := range cfg.Sources {
			s := &cfg.Sources[i]
			url := sourceURL(cfg, s)
			if s.Disabled {
				url = "disabled"
			}
			t.add(s.Name, s.Provider, url)
		}
		t.print(a.out)
		a.out.line("")
	}
	if len(cfg.Destinations) > 0 {
		t := table{head: []string{"DESTINATION", "KIND", "ADDRESS"}}
		for i := range cfg.Destinations {
			d := &cfg.Destinations[i]
			address := ""
			if x, ok := d.Config.(interface{ Address() string }); ok {
				address = x.Address()
			}
			t.add(d.Name, d.Kind, address)
		}
		t.print(a.out)
		a.out.line("")
	}
	if len(cfg.Rules) > 0 {
		t := table{head: []string{"RULE", "BUS", "TO"}}
		for i := range cfg.Rules {
			r := &cfg.Rules[i]
			var to []string
			for j := range r.Targets {
				to = append(to, r.Targets[j].To)
			}
			if !r.Enabled {
				to = append(to, "(not enabled)")
			}
			t.add(r.Name, r.Bus, strings.Join(to, ", "))
		}
		t.print(a.out)
		a.out.line("")
	}
}

// sourceURL is what the provider of a source is given, as far as the
// configuration knows it.
func sourceURL(cfg *config.Config, s *config.Source) string {
	return publicBase(cfg, s) + s.Path
}

// publicBase is the source's URL without its path: what senders see, or the
// address that is listened on.
func publicBase(cfg *config.Config, s *config.Source) string {
	if s.PublicURL != "" {
		return s.PublicURL
	}
	host, port, err := net.SplitHostPort(dialable(cfg.Listen))
	if err != nil {
		return scheme(cfg.TLS) + cfg.Listen
	}
	if host == "127.0.0.1" {
		host = "localhost"
	}
	if s.Host != "" && (host == "localhost" || net.ParseIP(host) != nil) {
		host = s.Host
	}
	return scheme(cfg.TLS) + net.JoinHostPort(host, port)
}
