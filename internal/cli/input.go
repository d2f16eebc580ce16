package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// maxInput is how much is read of a file or stdin.
const maxInput = 256 << 20

// input returns what a flag names: text, @file, or - for stdin.
func (a *app) input(flag, value string) ([]byte, error) {
	path, isFile := strings.CutPrefix(value, "@")
	switch {
	case value == "-":
		text, err := io.ReadAll(io.LimitReader(a.env.Stdin, maxInput))
		if err != nil {
			return nil, fmt.Errorf("reading stdin: %w", err)
		}
		return text, nil
	case isFile:
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, usage("write text, @file, or - for stdin", "%s: %s cannot be read: %v", flag, path, cause(err))
		}
		return text, nil
	}
	return []byte(value), nil
}

// headers are the values of --header: "Name: value" or name=value.
type headers []string

// set puts the headers into h.
func (list headers) set(h http.Header) error {
	for _, text := range list {
		i := strings.IndexAny(text, ":=")
		if i <= 0 {
			return usage("write --header 'X-Name: value'", "%q is not a header", text)
		}
		h.Add(strings.TrimSpace(text[:i]), strings.TrimSpace(text[i+1:]))
	}
	return nil
}
