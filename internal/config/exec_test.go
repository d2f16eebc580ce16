package config_test

import (
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/destination/all"
)

// TestCommandsRunOnlyIfTheFileAllowsIt loads a destination that runs a command, of the real kind.
func TestCommandsRunOnlyIfTheFileAllowsIt(t *testing.T) {
	t.Parallel()
	const destination = "destinations: {run: {kind: exec, command: [/bin/true]}}\n"
	for text, want := range map[string]string{
		destination:                              "f:1:28: destinations.run.kind: runs a command, which this file does not allow",
		destination + "exec: {enabled: false}\n": "does not allow",
		destination + "exec: {enabled: true}\n":  "",
		"exec: {enabled: yes, shell: true}\n":    "exec.shell: is not a known key",
	} {
		c, problems := config.Load("f", []byte(text), config.Options{Env: environment, ReadFile: readFile, Kinds: all.Specs()})
		if (c != nil) != (want == "") || !strings.Contains(lines(problems), want) {
			t.Errorf("%s:\n%s\nwant a problem that says %q", text, lines(problems), want)
		}
	}
}
