package signature

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// kind is what a piece of a template stands for.
type kind = uint8

const (
	kindText kind = iota + 1
	kindBody
	kindTS
	kindURL
	kindMethod
	kindFormSorted
	kindSecret
	kindCRC32
	kindHeader
	kindJSON
	kindForm
	kindParam
	kindFirstName
)

// piece is a part of a template.
type piece struct {
	kind kind
	// name is the text, header, form field, parameter or skipped member.
	name string
	// index is the place of the JSON pointer in the list that the template shares.
	index int
	// end is the character that ends a header value in the signed text, 0 if none does.
	end byte
}

// plainKinds are the placeholders without an argument, namedKinds those with one.
var (
	plainKinds = map[string]kind{
		"body": kindBody, "ts": kindTS, "url": kindURL, "method": kindMethod,
		"form-sorted": kindFormSorted, "secret": kindSecret, "crc32": kindCRC32,
	}
	namedKinds = map[string]kind{
		"header": kindHeader, "json": kindJSON, "form": kindForm, "param": kindParam,
		"first-name": kindFirstName,
	}
)

// template is a parsed template. Its JSON pointers are in a list that it may share with others.
type template []piece

// parseTemplate parses text; pointers that are not in ptrs yet are appended.
func parseTemplate(text string, ptrs *[]pointer) (template, error) {
	var t template
	for text != "" {
		before, rest, open := strings.Cut(text, "{")
		if strings.Contains(before, "}") {
			return nil, fmt.Errorf("stray } in template %q", text)
		}
		if before != "" {
			t = append(t, piece{kind: kindText, name: before})
		}
		if !open {
			break
		}
		inner, after, closed := strings.Cut(rest, "}")
		if !closed {
			return nil, fmt.Errorf("unclosed { in template %q", text)
		}
		p, err := parsePiece(inner, ptrs)
		if err != nil {
			return nil, err
		}
		// A header whose end is marked by a character must not hold it: two headers could
		// otherwise share one signed text (webhook-id "a" time "1", or webhook-id "a.1").
		if p.kind == kindHeader && after != "" && after[0] != '{' {
			p.end = after[0]
		}
		t, text = append(t, p), after
	}
	return t, nil
}

// parsePiece parses what stands between braces.
func parsePiece(inner string, ptrs *[]pointer) (piece, error) {
	word, name, named := strings.Cut(inner, ":")
	if k, ok := plainKinds[word]; ok && !named {
		return piece{kind: k}, nil
	}
	k, ok := namedKinds[word]
	if !ok || !named || name == "" {
		return piece{}, fmt.Errorf("unknown placeholder {%s}", inner)
	}
	p := piece{kind: k, name: name}
	switch k {
	case kindHeader:
		p.name = textproto.CanonicalMIMEHeaderKey(name)
	case kindJSON:
		index, err := addPointer(name, ptrs)
		if err != nil {
			return piece{}, err
		}
		p.index = index
	}
	return p, nil
}

// addPointer returns the place of the pointer in the list, to which it is appended if missing.
func addPointer(text string, ptrs *[]pointer) (int, error) {
	p, ok := parsePointer(text)
	if !ok {
		return 0, fmt.Errorf("%q is not a JSON pointer", text)
	}
	at := slices.IndexFunc(*ptrs, func(q pointer) bool { return slices.Equal(p, q) })
	if at >= 0 {
		return at, nil
	}
	if len(*ptrs) == maxPointers {
		return 0, fmt.Errorf("more than %d JSON pointers", maxPointers)
	}
	*ptrs = append(*ptrs, p)
	return len(*ptrs) - 1, nil
}

// has reports whether the template has a piece of one of the kinds.
func (t template) has(kinds ...kind) bool {
	return slices.ContainsFunc(t, func(p piece) bool { return slices.Contains(kinds, p.kind) })
}

// canonical returns the canonical header names.
func canonical(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = textproto.CanonicalMIMEHeaderKey(name)
	}
	return out
}
