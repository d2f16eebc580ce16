package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Type is what a Node is in the language it was written in.
type Type int

// The types of a Node. A number or boolean keeps its spelling in Node.Text.
const (
	Null Type = iota + 1
	Boolean
	Number
	Text
	List
	Map
)

var typeNames = [...]string{
	Null: "nothing", Boolean: "a boolean", Number: "a number", Text: "text", List: "a list", Map: "a map",
}

// String returns the type as people say it: "a list".
func (t Type) String() string {
	if t <= 0 || int(t) >= len(typeNames) {
		return "unknown"
	}
	return typeNames[t]
}

// Pos is a place in a configuration file, counted from 1; the zero value is no place.
type Pos struct{ Line, Col int }

// Node is one value of a configuration text with its place. It is for one goroutine.
type Node struct {
	Type Type
	Text string // of a scalar, with ${…} replaced
	Pos  Pos
	Path string // as people write it: rules.deploys.targets[0].to

	// Hidden holds what ${NAME} and ${file:…} stood for in Text; it never prints. The node counts
	// as secret when there is any.
	Hidden []string
	// Origin says where Hidden came from: the references as written, "${HOST}, ${file:/x}". It may
	// print.
	Origin string

	// Broken says that a problem of the node itself was reported already: its value is not known, and
	// nothing more is said about it.
	Broken bool

	// TextPos is where the first character of Text stands, if every character of Text stands in the
	// file as it is; Indent is the column at which its further lines begin. Zero if unknown.
	TextPos Pos
	Indent  int

	Items   []*Node // of a list
	Entries []Entry // of a map, in the order of the file, no key twice
	index   map[string]int
}

// Entry is one key of a map with its value.
type Entry struct {
	Key   string
	Pos   Pos // of the key
	Value *Node
}

// Expanded reports whether the text holds something that came from ${NAME} or ${file:…}.
func (n *Node) Expanded() bool { return len(n.Hidden) > 0 }

// At returns the place of the byte at the offset in Text, or the place of the node if that is not
// known.
func (n *Node) At(offset int) Pos {
	if n.TextPos.Line == 0 || n.Expanded() || offset < 0 {
		return n.Pos
	}
	before := n.Text[:min(offset, len(n.Text))]
	lines := strings.Count(before, "\n")
	chars := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	if lines == 0 {
		return Pos{n.TextPos.Line, n.TextPos.Col + chars}
	}
	return Pos{n.TextPos.Line + lines, n.Indent + chars}
}

// Get returns the entry of the key, or nil.
func (n *Node) Get(key string) *Entry {
	if n == nil {
		return nil
	}
	if len(n.index) != len(n.Entries) {
		n.index = make(map[string]int, len(n.Entries))
		for i := range n.Entries {
			n.index[n.Entries[i].Key] = i
		}
	}
	if i, ok := n.index[key]; ok {
		return &n.Entries[i]
	}
	return nil
}

// Find returns the node at the steps, which are keys (string) and indexes (int), or else the
// deepest node on the way there. It reports whether the whole way exists.
func (n *Node) Find(steps ...any) (*Node, bool) {
	for _, step := range steps {
		var next *Node
		switch step := step.(type) {
		case string:
			if e := n.Get(step); e != nil {
				next = e.Value
			}
		case int:
			if step >= 0 && step < len(n.Items) {
				next = n.Items[step]
			}
		}
		if next == nil {
			return n, false
		}
		n = next
	}
	return n, true
}

// secrets appends what must not print of n and everything below it.
func (n *Node) secrets(to []string) []string {
	if n == nil {
		return to
	}
	to = append(to, n.Hidden...)
	for _, item := range n.Items {
		to = item.secrets(to)
	}
	for i := range n.Entries {
		to = n.Entries[i].Value.secrets(to)
	}
	return to
}

// Join returns the path of a key below path. A key that a dot would split is quoted.
func Join(path, key string) string {
	if key == "" || strings.ContainsAny(key, ".[]\" \n\t") {
		return path + "[" + strconv.Quote(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// Index returns the path of an element below path, counted from zero.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// maxDepth bounds the nesting of ParseJSON; no configuration comes near it.
const maxDepth = 100

// ParseJSON makes a Node of a JSON text, as Decode wants it. A key that occurs twice is an error.
func ParseJSON(data []byte) (*Node, error) {
	p := &jsonParser{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	p.dec.UseNumber()
	n, err := p.value("", 0)
	if err != nil {
		return nil, fmt.Errorf("parsing JSON: %w", err)
	}
	if _, err := p.dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parsing JSON: more than one value")
	}
	return n, nil
}

type jsonParser struct {
	data []byte
	dec  *json.Decoder
}

// pos is the place of the next token.
func (p *jsonParser) pos() Pos {
	at := int(p.dec.InputOffset())
	for at < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[at]) >= 0 {
		at++
	}
	before := p.data[:at]
	return Pos{1 + bytes.Count(before, []byte("\n")), at - bytes.LastIndexByte(before, '\n')}
}

func (p *jsonParser) value(path string, depth int) (*Node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	n := &Node{Pos: p.pos(), Path: path}
	token, err := p.dec.Token()
	if err != nil {
		return nil, err
	}
	switch token := token.(type) {
	case nil:
		n.Type = Null
	case bool:
		n.Type, n.Text = Boolean, strconv.FormatBool(token)
	case json.Number:
		n.Type, n.Text = Number, token.String()
	case string:
		n.Type, n.Text = Text, token
	case json.Delim:
		n.Type = List
		if token == '{' {
			n.Type = Map
		}
		if err := p.children(n, depth); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// children reads the content of a list or map up to its end.
func (p *jsonParser) children(n *Node, depth int) error {
	seen := map[string]bool{}
	for p.dec.More() {
		if n.Type == List {
			item, err := p.value(Index(n.Path, len(n.Items)), depth+1)
			if err != nil {
				return err
			}
			n.Items = append(n.Items, item)
			continue
		}
		e := Entry{Pos: p.pos()}
		token, err := p.dec.Token()
		if err != nil {
			return err
		}
		e.Key, _ = token.(string) // The decoder accepts nothing else here.
		if seen[e.Key] {
			return fmt.Errorf("key %q occurs twice", e.Key)
		}
		seen[e.Key] = true
		if e.Value, err = p.value(Join(n.Path, e.Key), depth+1); err != nil {
			return err
		}
		n.Entries = append(n.Entries, e)
	}
	_, err := p.dec.Token()
	return err
}
