package cli

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/fault"
)

// secretFile is where init puts the secret that it makes, below the directory.
const secretFile = "secrets/github"

// exampleSecret are the places of the example that speak of its secret, and
// what init writes there: the secret comes from a file, so that nothing has to
// be exported before the first start.
var exampleSecret = []struct{ old, init string }{
	{
		"  # POST /in/github. Make a secret:    export GITHUB_SECRET=$(grapnel secret new)\n" +
			"  # and paste it at GitHub:",
		"  # POST /in/github. grapnel init made the secret in the file secrets/github (relative to where grapnel runs).\n" +
			"  # Paste it at GitHub:",
	},
	{`"${GITHUB_SECRET}"`, `"${file:` + secretFile + `}"`},
}

func (a *app) newInit() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use: "init [dir]", Short: "Write a configuration that works at once", Args: atMost(1),
		Long: `Write grapnel.yaml and a secret for its first source, then say how to go on.
What exists is left alone; --force writes grapnel.yaml anew, and never the secret.

After it, in the same directory, "grapnel check" and "grapnel serve" work without any
change.

Exit codes: 0 done, 1 failed or the file exists, 2 wrong command line.`,
		Example: "  grapnel init\n  grapnel init hooks && cd hooks && grapnel serve",
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.init(dir, force)
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "overwrite "+defaultConfig)
	return cmd
}

func (a *app) init(dir string, force bool) error {
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(secretFile)), 0o700); err != nil {
		return fmt.Errorf("making the directory: %w", err)
	}
	path := filepath.Join(dir, defaultConfig)
	if err := writeConfig(path, force); err != nil {
		return err
	}
	key := filepath.Join(dir, secretFile)
	made, err := writeSecret(key)
	if err != nil {
		return err
	}
	a.out.line("wrote %s", path)
	if made {
		a.out.line("wrote %s, a new secret (mode 0600)", key)
	} else {
		a.out.line("kept  %s, the secret that was there", key)
	}
	// Neither the secret nor the events belong into a repository.
	switch made, err := writeOnce(filepath.Join(dir, ".gitignore"), "/data/\n/secrets/\n", 0o644); {
	case err != nil:
		return err
	case made:
		a.out.line("wrote %s", filepath.Join(dir, ".gitignore"))
	}
	a.initNext(dir)
	return nil
}

func writeConfig(path string, force bool) error {
	text := config.Example
	for _, place := range exampleSecret {
		text = strings.Replace(text, place.old, place.init, 1)
	}
	if force {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("writing the configuration: %w", err)
		}
		return nil
	}
	made, err := writeOnce(path, text, 0o600)
	if err == nil && !made {
		return fault.New(fault.Conflict, "file_exists", "%s exists already", path).
			WithHint("check it with: grapnel check; or overwrite it with: grapnel init --force")
	}
	return err
}

// writeSecret makes a random secret, unless the file has one.
func writeSecret(path string) (made bool, err error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand aborts the program instead
	return writeOnce(path, hex.EncodeToString(raw)+"\n", 0o600)
}

// writeOnce writes a file that does not exist and reports whether it did.
func writeOnce(path, text string, mode fs.FileMode) (made bool, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("writing a file: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return false, fmt.Errorf("writing %s: %w", path, err)
	}
	return true, nil
}

// initNext says how to go on. The commands work as they are printed.
func (a *app) initNext(dir string) {
	a.out.line("")
	a.out.line("%s", a.out.bold("Next"))
	if filepath.Clean(dir) != "." {
		a.out.line("  cd %s", dir)
	}
	a.out.line("  grapnel check")
	a.out.line("  grapnel serve")
	a.out.line("")
	a.out.line("%s", a.out.bold("Then, in another terminal, play GitHub"))
	a.out.line("  grapnel send github --event push")
	a.out.line("  grapnel events list")
	a.out.line("")
	a.out.line("%s", a.out.bold("or sign by hand"))
	a.out.line("%s", curlGitHub("http://localhost:8080/in/github", secretFile))
	a.out.line("")
	a.out.line("At GitHub: Settings, Webhooks, Add webhook. Content type application/json, secret: what is in")
	a.out.line("%s. The URL is that of this machine as GitHub reaches it: set public_url.", secretFile)
}

// curlGitHub is a command that sends a signed GitHub webhook with curl and
// openssl; the secret is read from a file.
func curlGitHub(url, secretPath string) string {
	return `  body='{"ref":"refs/heads/main","repository":{"full_name":"octo/hello"}}'
  curl -i ` + url + ` -H 'Content-Type: application/json' -H 'X-GitHub-Event: push' \
    -H "X-Hub-Signature-256: sha256=$(printf %s "$body" |
        openssl dgst -sha256 -hmac "$(cat ` + secretPath + `)" -r | cut -d' ' -f1)" -d "$body"`
}
