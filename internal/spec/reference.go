package spec

import (
	"fmt"
	"strings"
)

// Documented is an entry of the reference. Path has <name> for the name of a component and [] for an element.
type Documented struct {
	Path, Type, Default, Example, Doc string
	Min, Max                          string
	Required, Secret                  bool
	Later                             string // set for a reserved key: what is said about it
	Depth                             int    // of nesting, from zero
}

// Document lists the fields and everything below them in the order of their description. Variants
// are not in it: see [Variants].
func Document(fields []Field) []Documented { return document(nil, fields, "", 0) }

// Below returns the fields of the value of f, or of each of its elements, and how paths name such an
// element: "", "[]" or ".<name>". It returns nil for a scalar and for a reserved field.
func (f Field) Below() (fields []Field, each string) {
	if f.fields == nil {
		return nil, ""
	}
	switch f.shape {
	case namesShape:
		each = ".<name>"
	case listShape:
		each = "[]"
	case plainShape:
	}
	return f.fields(), each
}

// Text returns what Doc was given.
func (f Field) Text() string { return f.doc }

func document(to []Documented, fields []Field, path string, depth int) []Documented {
	for i := range fields {
		f := &fields[i]
		d := Documented{
			Path: joinPlain(path, f.name), Type: f.typ, Default: f.defaultText(), Example: f.example, Doc: f.doc,
			Min: f.min, Max: f.max, Required: f.required, Secret: f.unprinted, Later: f.later, Depth: depth,
		}
		to = append(to, d)
		if below, each := f.Below(); below != nil {
			to = document(to, below, d.Path+each, depth+1)
		}
	}
	return to
}

func joinPlain(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// defaultText is the default as the reference shows it.
func (f *Field) defaultText() string {
	if f.hasDefault {
		return "`" + f.def + "`"
	}
	return f.defDoc
}

// Variants returns the kinds that the fields, or fields below them, choose among.
func Variants(fields []Field) []Kind {
	var kinds []Kind
	for i := range fields {
		kinds = append(kinds, fields[i].kinds...)
		if fields[i].fields != nil {
			kinds = append(kinds, Variants(fields[i].fields())...)
		}
	}
	return kinds
}

// Markdown returns the fields as a table, with the reserved keys in a sentence behind it. Fields down
// to the depth are in it, with their path; 0 is the fields themselves only.
func Markdown(fields []Field, depth int) string {
	var b strings.Builder
	b.WriteString("| key | type | default | |\n|---|---|---|---|\n")
	var later []string
	for _, d := range Document(fields) {
		if d.Depth > depth {
			continue
		}
		if d.Later != "" {
			later = append(later, "`"+d.Path+"`")
			continue
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Path, cell(d.typeText()), cell(d.defaultCell()), cell(d.text()))
	}
	if len(later) > 0 {
		fmt.Fprintf(&b, "\nReserved for later versions: %s.\n", strings.Join(later, ", "))
	}
	return b.String()
}

func (d *Documented) typeText() string {
	switch {
	case d.Min != "" && d.Max != "":
		return fmt.Sprintf("%s, %s to %s", d.Type, d.Min, d.Max)
	case d.Min != "":
		return fmt.Sprintf("%s, at least %s", d.Type, d.Min)
	case d.Max != "":
		return fmt.Sprintf("%s, at most %s", d.Type, d.Max)
	}
	return d.Type
}

func (d *Documented) defaultCell() string {
	if d.Required {
		return "**required**"
	}
	return d.Default
}

func (d *Documented) text() string {
	text := d.Doc
	if d.Secret {
		text += " Never printed."
	}
	if d.Example != "" {
		text += " Example: `" + d.Example + "`"
	}
	return text
}

// cell makes text fit into a cell of a Markdown table.
func cell(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), "|", `\|`)
}
