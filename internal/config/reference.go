package config

import (
	_ "embed" // for Example
	"encoding/json"
	"fmt"
	"strings"

	"github.com/grapnel/grapnel/internal/spec"
)

// Example is the file that "grapnel init" writes: small, with comments, and working as soon as the
// environment has GITHUB_SECRET.
//
//go:embed example.yaml
var Example string

// intro is what stands above the tables of the reference.
//
//go:embed reference.md
var intro string

// deep is a depth that takes every field.
const deep = 100

// Reference returns docs/configuration.md: every key with type, default and example, from the same
// descriptions that read the file.
func Reference(kinds []spec.Kind) string {
	var b strings.Builder
	b.WriteString(intro)
	b.WriteString("\n## The file\n\n")
	top := (&Config{kinds: allKinds(kinds)}).Fields()
	b.WriteString(spec.Markdown(top, 0))
	for _, f := range top {
		fields, each := f.Below()
		if fields == nil {
			continue
		}
		fmt.Fprintf(&b, "\n## `%s%s`\n\n%s\n\n%s", f.Name(), each, f.Text(), spec.Markdown(fields, deep))
		for _, k := range spec.Variants(fields) {
			if k.Reserved == "" {
				writeKind(&b, f.Name()+each, k)
			}
		}
	}
	return b.String()
}

// writeKind writes what a kind adds to the table of its section.
func writeKind(b *strings.Builder, path string, k spec.Kind) {
	fmt.Fprintf(b, "\n### `%s`, kind `%s`\n\n%s\n", path, k.Name, k.Summary)
	if fields := k.New().Fields(); len(fields) > 0 {
		fmt.Fprintf(b, "\n%s", spec.Markdown(fields, deep))
	}
}

// Schema returns the JSON schema of the file, for editors: put
//
//	# yaml-language-server: $schema=grapnel.schema.json
//
// on its first line. The schema is coarser than Load.
func Schema(kinds []spec.Kind) ([]byte, error) {
	s := spec.Schema((&Config{kinds: allKinds(kinds)}).Fields())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Grapnel configuration"
	return json.MarshalIndent(s, "", "  ")
}

// Defaults returns a line "path: default" for each key that has a default, with <name> for the names of
// components.
func Defaults(kinds []spec.Kind) string {
	var b strings.Builder
	for _, d := range spec.Document((&Config{kinds: allKinds(kinds)}).Fields()) {
		if d.Default != "" && d.Later == "" {
			fmt.Fprintf(&b, "%s: %s\n", d.Path, strings.Trim(d.Default, "`"))
		}
	}
	return b.String()
}
