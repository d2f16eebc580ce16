package spec

import (
	"encoding/json"
	"hash"
	"io"

	"github.com/grapnel/grapnel/internal/secret"
)

// Value is one effective value: what stands in the file, or the default. It prints without secrets.
type Value struct {
	Name    string // key, or "" in a list
	Path    string
	Pos     Pos
	Written bool // stands in the file, is no default

	hidden   bool
	literal  bool          // a credential that did not come from ${…}
	text     secret.String // canonical text of a scalar, secret or not
	raw      any           // string, bool, int64 or json.RawMessage of a scalar that may print
	kind     Type
	children []*Value
}

// Get returns the value at the keys below v, or nil.
func (v *Value) Get(keys ...string) *Value {
	for _, key := range keys {
		var next *Value
		if v != nil {
			for _, c := range v.children {
				if c.Name == key {
					next = c
				}
			}
		}
		v = next
	}
	return v
}

// Children returns the values of a map or list in order.
func (v *Value) Children() []*Value { return v.children }

// Secret reports whether the value must not print.
func (v *Value) Secret() bool { return v.hidden }

// Literals returns the credentials (fields made by Secret and Secrets) at and below v that stand in
// the file itself.
func (v *Value) Literals() []*Value {
	var all []*Value
	if v.literal && v.Written {
		all = append(all, v)
	}
	for _, c := range v.children {
		all = append(all, c.Literals()...)
	}
	return all
}

// MarshalJSON returns the effective value with "[secret]" in place of secrets. Keys are in the order
// of their description.
func (v *Value) MarshalJSON() ([]byte, error) {
	switch {
	case v.kind == Map:
		out := []byte{'{'}
		for i, c := range v.children {
			if i > 0 {
				out = append(out, ',')
			}
			key, err := json.Marshal(c.Name)
			if err != nil {
				return nil, err
			}
			text, err := c.MarshalJSON()
			if err != nil {
				return nil, err
			}
			out = append(append(append(out, key...), ':'), text...)
		}
		return append(out, '}'), nil
	case v.kind == List:
		out := []byte{'['}
		for i, c := range v.children {
			if i > 0 {
				out = append(out, ',')
			}
			text, err := c.MarshalJSON()
			if err != nil {
				return nil, err
			}
			out = append(out, text...)
		}
		return append(out, ']'), nil
	case v.hidden:
		return json.Marshal(secret.Redacted)
	default:
		return json.Marshal(v.raw)
	}
}

// Digest writes the value, secrets in clear, to a keyed hash: equal configurations give equal sums,
// whatever their order, comments or spelling in the file.
func (v *Value) Digest(h hash.Hash) {
	_, _ = io.WriteString(h, v.Name) // A hash never returns an error.
	_, _ = h.Write([]byte{0, byte(v.kind)})
	for _, c := range v.children {
		c.Digest(h)
	}
	_, _ = io.WriteString(h, v.text.Reveal())
	_, _ = h.Write([]byte{0xff})
}
