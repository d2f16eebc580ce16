package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/grapnel/grapnel/internal/spec"
)

// Limits of a configuration file. Aliases are expanded, so the number of copies bounds what a file of
// few bytes can become.
const (
	MaxSize   = 4 << 20
	maxNodes  = 200_000
	maxCopies = 10_000
	maxDepth  = 64
	maxLine   = 4096 // a longer line gives errors at the start of a text only
)

// parser turns YAML nodes into the neutral ones of spec.
type parser struct {
	lines  []string
	report *spec.Report
	expand *expander
	nodes  int
	copies int          // of nodes, made by aliases
	inside int          // how many aliases are being expanded
	open   []*yaml.Node // anchors that are being expanded
	full   bool         // a limit was reported
}

// parse reads the one document of the file. It returns nil when there is nothing to check further.
func parse(report *spec.Report, data []byte, expand *expander) *spec.Node {
	if p, ok := unreadable(data); !ok {
		report.Put(p)
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithUniqueKeys(false))
	if err != nil {
		report.Put(spec.Problem{Message: "cannot be read as YAML"})
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			report.Put(syntax(err))
			return nil
		}
		doc = yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1} // Nothing but comments.
	}
	switch err := loader.Load(&second); {
	case err == nil:
		report.Put(spec.Problem{
			Line: second.Line, Col: second.Column, Message: "a second document begins here, a configuration is one",
			Hint: "remove the line ---",
		})
		return nil
	case !errors.Is(err, io.EOF):
		report.Put(syntax(err))
		return nil
	}
	p := &parser{lines: strings.Split(string(data), "\n"), report: report, expand: expand}
	root := &doc
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	return p.node(root, "", 0)
}

// unreadable reports what makes a file no text at all.
func unreadable(data []byte) (spec.Problem, bool) {
	if len(data) > MaxSize {
		return spec.Problem{Message: "is larger than " + spec.FormatBytes(MaxSize)}, false
	}
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return spec.Problem{Message: "is UTF-16", Hint: "save it as UTF-8"}, false
	}
	line, col := 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		message := ""
		switch {
		case r == utf8.RuneError && size == 1:
			message = "a byte that is not UTF-8"
		case r < ' ' && r != '\n' && r != '\r' && r != '\t', r == 0x7f:
			message = fmt.Sprintf("a control character (U+%04X)", r)
		}
		if message != "" {
			return spec.Problem{Line: line, Col: col, Message: message}, false
		}
		if col++; r == '\n' {
			line, col = line+1, 1
		}
		i += size
	}
	return spec.Problem{}, true
}

// syntax makes a problem of an error of the YAML library. Its messages do not quote the file, but for
// the names of anchors, which may be the beginning of a secret that should have been quoted.
func syntax(err error) spec.Problem {
	one, ok := errors.AsType[*yaml.LoadError](err)
	if many, isMany := errors.AsType[*yaml.LoadErrors](err); !ok && isMany && len(many.Errors) > 0 {
		one, ok = many.Errors[0], true
	}
	if !ok {
		return spec.Problem{Message: "cannot be read as YAML"}
	}
	p := spec.Problem{Line: one.Mark.Line, Col: one.Mark.Column, Message: one.Message}
	if one.ContextMsg != "" {
		p.Message += " (" + one.ContextMsg
		if one.ContextMark.Line > 0 && one.ContextMark.Line != one.Mark.Line {
			p.Message += " that began on line " + strconv.Itoa(one.ContextMark.Line)
		}
		p.Message += ")"
	}
	if strings.Contains(one.Message, "unknown anchor") {
		p.Message, p.Hint = "an alias of nothing", "quote text that begins with *"
	}
	if strings.Contains(one.Message, "cannot start any token") {
		p.Hint = "a tab cannot indent, and text that begins with one of @ ` % must be quoted"
	}
	if strings.Contains(one.Message, "mapping values are not allowed") {
		p.Hint = `quote text that holds ": "`
	}
	return p
}

// node turns n into a neutral node, with aliases replaced by what they stand for.
func (p *parser) node(n *yaml.Node, path string, depth int) *spec.Node {
	out := &spec.Node{Type: spec.Null, Pos: spec.Pos{Line: n.Line, Col: n.Column}, Path: path}
	if p.inside > 0 {
		p.copies++
	}
	if p.nodes++; p.nodes > maxNodes || p.copies > maxCopies || depth > maxDepth {
		if !p.full {
			p.full = true
			p.report.AddAt(out, path, "the file has too many values or is nested too deep", "")
		}
		out.Broken = true
		return out
	}
	if n.Kind == yaml.AliasNode {
		return p.alias(n, out, depth)
	}
	if n.Anchor != "" {
		p.open = append(p.open, n)
		defer func() { p.open = p.open[:len(p.open)-1] }()
	}
	switch n.Kind {
	case yaml.MappingNode:
		out.Type = spec.Map
		if p.tag(n, out, "!!map") {
			p.mapping(n, out, depth)
		}
	case yaml.SequenceNode:
		out.Type = spec.List
		if p.tag(n, out, "!!seq") {
			for i, item := range n.Content {
				out.Items = append(out.Items, p.node(item, spec.Index(path, i), depth+1))
			}
		}
	case yaml.ScalarNode:
		p.scalar(n, out)
	case yaml.AliasNode, yaml.DocumentNode, yaml.StreamNode:
		p.report.AddAt(out, path, "cannot be read as YAML", "")
		out.Broken = true
	}
	return out
}

// alias replaces n by what it stands for. A problem inside points to where that is written.
func (p *parser) alias(n *yaml.Node, out *spec.Node, depth int) *spec.Node {
	if n.Alias == nil || slices.Contains(p.open, n.Alias) {
		p.report.AddAt(out, out.Path, "an alias stands inside of what it stands for", "")
		out.Broken = true
		return out
	}
	p.inside++
	defer func() { p.inside-- }()
	return p.node(n.Alias, out.Path, depth+1)
}

// tag reports whether n has no tag but the one of its kind.
func (p *parser) tag(n *yaml.Node, out *spec.Node, allowed ...string) bool {
	if n.Style&yaml.TaggedStyle == 0 || slices.Contains(allowed, n.ShortTag()) {
		return true
	}
	p.report.AddAt(out, out.Path, "tags are not supported", "remove the tag, or quote text that begins with !")
	out.Broken = true
	return false
}

func (p *parser) mapping(n *yaml.Node, out *spec.Node, depth int) {
	var merged []*yaml.Node
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode && key.Alias != nil {
			key = key.Alias
		}
		at := &spec.Node{Pos: spec.Pos{Line: key.Line, Col: key.Column}, Path: out.Path}
		if key.Kind != yaml.ScalarNode {
			p.report.AddAt(at, out.Path, "a key must be text", "")
			continue
		}
		if key.Tag == "!!merge" && key.Style == 0 {
			merged = append(merged, value)
			continue
		}
		at.Path = spec.Join(out.Path, key.Value)
		p.tag(key, at, "!!str")
		if strings.Contains(key.Value, "${") {
			p.report.AddAt(at, at.Path, "${…} works in values only, not in keys", "")
			at.Broken = true
		}
		if first, twice := lines[key.Value]; twice {
			p.report.AddAt(at, at.Path, fmt.Sprintf("is there twice, first on line %d", first), "")
			continue
		}
		lines[key.Value] = key.Line
		e := spec.Entry{Key: key.Value, Pos: at.Pos, Value: p.node(value, at.Path, depth+1)}
		e.Value.Broken = e.Value.Broken || at.Broken
		out.Entries = append(out.Entries, e)
	}
	for _, value := range merged {
		p.merge(value, out, depth)
	}
}

// merge adds the keys of "<<: *anchor" that the map does not have itself.
func (p *parser) merge(value *yaml.Node, out *spec.Node, depth int) {
	from := p.node(value, out.Path, depth+1)
	sources := []*spec.Node{from}
	if from.Type == spec.List {
		sources = from.Items
	}
	for _, source := range sources {
		if source.Type != spec.Map {
			p.report.AddAt(source, out.Path, "<< needs an alias of a map", "")
			continue
		}
		for _, e := range source.Entries {
			if out.Get(e.Key) == nil {
				out.Entries = append(out.Entries, e)
			}
		}
	}
}

// jsonNumber is a number as JSON and YAML both write it.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

// scalar gives out the text of n, its type, and what ${…} in it stands for.
func (p *parser) scalar(n *yaml.Node, out *spec.Node) {
	out.Type, out.Text = spec.Text, n.Value
	if !p.tag(n, out, "!!str") {
		return
	}
	plain := n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle|yaml.TaggedStyle) == 0
	if plain {
		switch n.ShortTag() {
		case "!!null":
			out.Type = spec.Null
		case "!!bool":
			out.Type = spec.Boolean
		case "!!int", "!!float":
			// Hexadecimal and the like stay text: no JSON has them, and what was meant is unclear.
			if out.Type = spec.Number; !jsonNumber.MatchString(n.Value) && strings.Trim(n.Value, "0123456789") != "" {
				out.Type = spec.Text
			}
		}
	}
	p.place(n, out)
	p.expand.node(p.report, out)
}

// place finds where the characters of a scalar stand, where they stand there as they are.
func (p *parser) place(n *yaml.Node, out *spec.Node) {
	if n.Line < 1 || n.Line > len(p.lines) {
		return
	}
	if n.Style&yaml.LiteralStyle != 0 {
		for i := n.Line; i < len(p.lines) && strings.Contains(n.Value, "\n"); i++ {
			text := strings.TrimLeft(p.lines[i], " ")
			if first, _, _ := strings.Cut(n.Value, "\n"); first != "" && text != "" {
				out.Indent = len(p.lines[i]) - len(text) + 1
				out.TextPos = spec.Pos{Line: n.Line + 1, Col: out.Indent}
				return
			}
		}
		return
	}
	if len(p.lines[n.Line-1]) > maxLine {
		return
	}
	line := []rune(strings.TrimPrefix(p.lines[n.Line-1], "\ufeff"))
	at := n.Column - 1
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		at++
	}
	if at <= len(line) && strings.HasPrefix(string(line[at:]), n.Value) {
		out.TextPos = spec.Pos{Line: n.Line, Col: at + 1}
	}
}
