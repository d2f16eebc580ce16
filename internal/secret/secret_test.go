package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/secret"
)

func TestNoPrinterShowsTheText(t *testing.T) {
	t.Parallel()
	const text = "s3cr3t-t3xt"
	s := secret.New(text)
	holder := struct {
		S secret.String
		P *secret.String
	}{s, &s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", holder)
	}
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "s", s, "holder", holder)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "s", s, "holder", holder)
	b, err := json.Marshal(map[string]any{"s": s, "h": holder})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if got := out.String(); strings.Contains(got, text) || strings.Contains(got, fmt.Sprintf("%x", text)) {
		t.Errorf("a printer shows the secret:\n%s", got)
	}
	if s.Reveal() != text {
		t.Errorf("Reveal() = %q, want %q", s.Reveal(), text)
	}
}
