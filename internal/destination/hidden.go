package destination

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/internal/secret"
)

// minHidden is the length from which a secret is looked for in texts. Shorter
// ones stand in ordinary words, and would be found everywhere.
const minHidden = 6

// Hidden are the secrets of one destination, which nothing that is shown may
// hold: receivers like to quote the credentials that they refuse, and some echo
// all that they get.
type Hidden []string

// Hide returns the texts, and the spellings in which they occur in URLs, as
// Hidden. Short and empty texts are left out.
func Hide(texts ...string) Hidden {
	var h Hidden
	for _, text := range texts {
		for _, form := range []string{text, url.QueryEscape(text), url.PathEscape(text)} {
			if len(text) >= minHidden && !slices.Contains(h, form) {
				h = append(h, form)
			}
		}
	}
	// The longest first: one may be part of another.
	slices.SortStableFunc(h, func(a, b string) int { return len(b) - len(a) })
	return h
}

// Text returns the text without the secrets.
func (h Hidden) Text(text string) string {
	for _, s := range h {
		if strings.Contains(text, s) {
			text = strings.ReplaceAll(text, s, secret.Redacted)
		}
	}
	return text
}

// Bytes is Text for the beginning of an answer, which may end in the middle of
// a secret. It returns the same slice if there is nothing to take out.
func (h Hidden) Bytes(text []byte) []byte {
	if len(text) == 0 || len(h) == 0 {
		return text
	}
	clean := h.tail(h.Text(string(text)))
	if clean == string(text) {
		return text
	}
	return []byte(clean)
}

// tail replaces the beginning of a secret at the end of the text.
func (h Hidden) tail(text string) string {
	for _, s := range h {
		for n := min(len(s)-1, len(text)); n >= minHidden; n-- {
			if rest, ok := strings.CutSuffix(text, s[:n]); ok {
				return rest + secret.Redacted
			}
		}
	}
	return text
}

// Err returns the error, or one with a clean text and no cause if its text
// holds a secret.
func (h Hidden) Err(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := h.Text(text); clean != text {
		return errors.New(clean)
	}
	return err
}
