package config_test

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/signature"
)

// FuzzLoad holds that no text makes Load panic or hang, that a configuration comes exactly without
// errors and prints, and that nothing shows what came from the environment.
func FuzzLoad(f *testing.F) {
	files, err := fs.Glob(testdata, "*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := fs.ReadFile(testdata, file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(config.Example))
	f.Fuzz(func(t *testing.T, text []byte) {
		if strings.Contains(string(text), hidden) {
			return // the secret stands in the file, which may be shown
		}
		start := time.Now()
		c, problems := load("fuzz.yaml", text)
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		errs := 0
		for _, p := range problems {
			if !p.Warning {
				errs++
			}
			if p.Message == "" || p.File == "" || strings.Contains(p.String(), hidden) {
				t.Errorf("problem %+v", p)
			}
		}
		if (c == nil) != (errs > 0) {
			t.Fatalf("configuration: %v, errors: %d", c != nil, errs)
		}
		if c == nil {
			return
		}
		shown, err := json.Marshal(c)
		if err != nil || strings.Contains(string(shown), hidden) {
			t.Errorf("JSON %s, %v", shown, err)
		}
		for i := range c.Sources {
			if _, err := c.Sources[i].Verifier(func(string) signature.KeySource { return noKeys{} }); err != nil {
				t.Errorf("source %s was accepted and has no verifier: %v", c.Sources[i].Name, err)
			}
		}
	})
}
