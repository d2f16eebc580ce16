package exec

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/internal/destination"
	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/spec"
)

// Kind describes the kind.
func Kind() destination.Kind {
	return destination.Kind{
		Name: "exec", Summary: "Runs a command for each message, which it gets on its standard input. Needs `exec: {enabled: true}`.",
		New: func() destination.Config { return &Config{} },
	}
}

// What an exit code means that is neither 0 nor 75.
const (
	permanent = "permanent"
	transient = "transient"
)

// Config is the configuration of an exec destination.
type Config struct {
	Command   []string
	Dir       string
	Env       map[string]secret.String
	OnFailure string

	// hidden are the arguments that came from the environment or a file.
	hidden []string
}

var (
	_ destination.Config = (*Config)(nil)
	_ spec.Checker       = (*Config)(nil)
)

// Fields lists the fields.
func (c *Config) Fields() []spec.Field {
	return []spec.Field{
		spec.Strings("command", &c.Command).Required().MinItems(1).Check(c.checkCommand).
			Example("[/usr/local/bin/on-event, --verbose]").
			Doc("The program, by its whole path, and its arguments. There is no shell: nothing is expanded, and nothing of " +
				"a message becomes an argument. Other users see arguments: secrets belong into `env`."),
		spec.String("dir", &c.Dir).Default("/").Check(func() error { return checkAbsolute(c.Dir) }).
			Doc("The directory in which it runs."),
		spec.SecretMap("env", &c.Env).Keys(checkVariable).Example(`{API_KEY: "${API_KEY}"}`).
			Doc("Its environment. It has nothing of Grapnel's own, but `GRAPNEL_DELIVERY_ID`, the same for every attempt, " +
				"`GRAPNEL_ATTEMPT`, counted from 1, and for a test `GRAPNEL_TEST`."),
		spec.Enum("on_failure", &c.OnFailure, permanent, transient).Default(permanent).
			Doc("What an exit code other than 0 means: to give up (`permanent`) or to try again (`transient`). Exit code 75 " +
				"(EX_TEMPFAIL) and an end by a signal always mean to try again. At the end of `timeout` the command and " +
				"whatever it started in its process group are killed."),
	}
}

// RunsCommand says that the kind has to be enabled.
func (c *Config) RunsCommand() bool { return true }

func (c *Config) checkCommand() error {
	for _, word := range c.Command {
		if strings.Contains(word, "\x00") {
			return fault.New(fault.Invalid, "invalid_config", "must not hold NUL")
		}
	}
	if len(c.Command) == 0 {
		return nil // reported already
	}
	return checkAbsolute(c.Command[0])
}

func checkAbsolute(path string) error {
	if !filepath.IsAbs(path) || strings.Contains(path, "\x00") {
		return fault.New(fault.Invalid, "invalid_config", "needs a whole path").
			WithHint("write it from the root, such as /usr/local/bin/on-event; no PATH is searched")
	}
	return nil
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func checkVariable(name string) error {
	if !variable.MatchString(name) {
		return fault.New(fault.Invalid, "invalid_config", "is not the name of a variable")
	}
	if strings.HasPrefix(name, "GRAPNEL_") {
		return fault.New(fault.Invalid, "invalid_config", "is a variable that Grapnel sets itself")
	}
	return nil
}

// Check checks values and remembers which arguments must not be shown.
func (c *Config) Check(at *spec.Place) {
	for name, value := range c.Env {
		if strings.Contains(value.Reveal(), "\x00") {
			at.Hint("must not hold NUL", "", "env", name)
		}
	}
	c.hidden = nil
	if node := at.Node(); node != nil {
		if e := node.Get("command"); e != nil {
			for _, word := range e.Value.Items {
				c.hidden = append(c.hidden, word.Hidden...)
			}
		}
	}
}

// Address returns the program.
func (c *Config) Address() string {
	if len(c.Command) == 0 {
		return "no command"
	}
	return destination.Hide(c.hidden...).Text(c.Command[0])
}

// Format prints the address, whatever the verb: the fields hold secrets.
func (c *Config) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "exec "+c.Address()) }

// LogValue returns the address.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.Address()) }

// Build makes the destination.
func (c *Config) Build(destination.Deps) (destination.Destination, error) {
	d := &command{words: c.Command, dir: c.Dir, giveUp: c.OnFailure != transient, shown: c.Address()}
	hidden := c.hidden
	for name, value := range c.Env {
		d.env = append(d.env, name+"="+value.Reveal())
		hidden = append(slices.Clip(hidden), value.Reveal())
	}
	d.hide = destination.Hide(hidden...)
	return d, nil
}
