package config_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/spec"
)

var update = flag.Bool("update", false, "rewrite golden files and generated pages")

// hidden is the text of every secret that the tests put in: nothing that is shown may hold it.
const hidden = "hunter2hunter2"

// environment is what ${NAME} finds in the tests.
func environment(name string) (string, bool) {
	switch name {
	case "SECRET":
		return hidden, true
	case "TOKEN_URL":
		return "ftp://user:" + hidden + "@[broken/" + hidden, true
	case "EMPTY":
		return "", true
	case "PORT":
		return "9000", true
	case "HOST":
		return "crm.example.com", true
	}
	return "", false
}

func readFile(path string) ([]byte, error) {
	switch path {
	case "/run/secret":
		return []byte(hidden + "\n"), nil
	case "/run/forbidden":
		return nil, fs.ErrPermission
	}
	return nil, fs.ErrNotExist
}

func load(file string, text []byte) (*config.Config, []spec.Problem) {
	return config.Load(file, text, config.Options{Env: environment, ReadFile: readFile, Kinds: kinds()})
}

func lines(problems []spec.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

// TestGoldenProblems loads each testdata/*.yaml and compares all problems with the .want beside it.
func TestGoldenProblems(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(testdata, "*.yaml")
	if err != nil || len(files) < 40 {
		t.Fatalf("found %d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			t.Parallel()
			text := read(t, testdata, file)
			c, problems := load(file, text)
			got := lines(problems)
			if strings.Contains(got, hidden) {
				t.Errorf("a problem shows a secret:\n%s", got)
			}
			if (c == nil) != (len(spec.Errors(problems)) > 0) {
				t.Errorf("configuration is nil: %v, errors: %d", c == nil, len(spec.Errors(problems)))
			}
			golden(t, testdata, strings.TrimSuffix(file, ".yaml")+".want", got)
		})
	}
}

// testdata and repository are the folders that tests read and, with -update, write.
var (
	testdata   = folder{"testdata"}
	repository = folder{"../.."}
)

type folder struct{ path string }

// Open makes a folder an fs.FS.
func (f folder) Open(name string) (fs.File, error) { return os.DirFS(f.path).Open(name) }

func read(t *testing.T, from folder, name string) []byte {
	t.Helper()
	text, err := fs.ReadFile(from, name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, in folder, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(filepath.Join(in.path, name), []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(read(t, in, name)), got); diff != "" {
		t.Errorf("%s (-want +got), -update rewrites it:\n%s", name, diff)
	}
}
