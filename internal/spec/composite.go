package spec

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/grapnel/grapnel/internal/secret"
)

// Strings is a list of texts.
func Strings[S ~string](name string, target *[]S) Field { return listOf(name, target, textScalar[S]()) }

// Ints is a list of whole numbers; Min and Max hold for each.
func Ints(name string, target *[]int) Field { return listOf(name, target, intScalar()) }

// CIDRs is a list of networks, "10.0.0.0/8", or single addresses.
func CIDRs(name string, target *[]netip.Prefix) Field { return listOf(name, target, cidrScalar()) }

// RatesOf is a list of rates, "10/m".
func RatesOf(name string, target *[]Rate) Field { return listOf(name, target, rateScalar()) }

// Secrets is a list of secrets, of which none may be empty.
func Secrets(name string, target *[]secret.String) Field {
	f := listOf(name, target, secretScalar())
	f.secret, f.credential, f.unprinted = true, true, true
	return f
}

// StringMap is a map from text to text. The text may be empty.
func StringMap(name string, target *map[string]string) Field {
	s := textScalar[string]()
	s.parse = func(text string) (string, error) { return text, nil }
	return mapOf(name, target, s)
}

// SecretMap is a map from text to texts that never print, but need not be credentials.
func SecretMap(name string, target *map[string]secret.String) Field {
	f := mapOf(name, target, secretScalar())
	f.secret, f.unprinted = true, true
	return f
}

func listOf[T any](name string, target *[]T, s scalar[T]) Field {
	schema := map[string]any{"type": "array", "items": s.schema()}
	return Field{
		name: name, typ: "list of " + plural(s.typ), schema: schema,
		read: func(d *decoder, n *Node, f *Field) *Value {
			if !d.isList(n, f) {
				return nil
			}
			value := &Value{Name: f.name, Path: n.Path, Pos: n.Pos, Written: true, kind: List}
			var all []T
			for _, item := range n.Items {
				element := *f
				element.name = ""
				v, one, ok := readScalar(d, item, &element, s)
				if ok {
					all = append(all, v)
					value.children = append(value.children, one)
				}
			}
			*target = all
			return value
		},
	}
}

func mapOf[T any](name string, target *map[string]T, s scalar[T]) Field {
	schema := map[string]any{"type": "object", "additionalProperties": s.schema()}
	return Field{
		name: name, typ: "map of " + plural(s.typ), schema: schema,
		read: func(d *decoder, n *Node, f *Field) *Value {
			if !d.isMap(n, f) {
				return nil
			}
			value := &Value{Name: f.name, Path: n.Path, Pos: n.Pos, Written: true, kind: Map}
			all := make(map[string]T, len(n.Entries))
			for i := range n.Entries {
				e := &n.Entries[i]
				d.key(e, f)
				element := *f
				element.name = e.Key
				if v, one, ok := readScalar(d, e.Value, &element, s); ok {
					all[e.Key] = v
					value.children = append(value.children, one)
				}
			}
			value.sort()
			*target = all
			return value
		},
	}
}

// Object is a map with fields of its own, which is decoded with all its defaults also when the file
// has nothing.
func Object(name string, target Fielder) Field {
	return Field{
		name: name, typ: "map", fields: target.Fields, absent: target.Fields,
		read: func(d *decoder, n *Node, f *Field) *Value { return d.object(n, f.name, target) },
	}
}

// Optional is a map with fields of its own. The target stays nil unless the file has it.
func Optional[T any, P interface {
	*T
	Fielder
}](name string, target *P,
) Field {
	return Field{
		name: name, typ: "map", fields: func() []Field { return P(new(T)).Fields() },
		read: func(d *decoder, n *Node, f *Field) *Value {
			*target = P(new(T))
			return d.object(n, f.name, *target)
		},
	}
}

// Objects is a list of maps with fields of their own.
func Objects[T any, P interface {
	*T
	Fielder
}](name string, target *[]T,
) Field {
	return Field{
		name: name, typ: "list of maps", shape: listShape, fields: func() []Field { return P(new(T)).Fields() },
		read: func(d *decoder, n *Node, f *Field) *Value {
			if !d.isList(n, f) {
				return nil
			}
			value := &Value{Name: f.name, Path: n.Path, Pos: n.Pos, Written: true, kind: List}
			all := make([]T, len(n.Items)) // Never grown: fields are bound to its elements.
			for i, item := range n.Items {
				if one := d.object(item, "", P(&all[i])); one != nil {
					value.children = append(value.children, one)
				}
			}
			*target = all
			return value
		},
	}
}

// Components is a map from names to maps with fields of their own, in the order of the file. setName
// is called before an element is decoded. Names are those of [CheckName].
func Components[T any, P interface {
	*T
	Fielder
}](name string, target *[]T, setName func(*T, string),
) Field {
	read := func(d *decoder, n *Node, f *Field) *Value {
		if !d.isMap(n, f) {
			return nil
		}
		value := &Value{Name: f.name, Path: n.Path, Pos: n.Pos, Written: true, kind: Map}
		all := make([]T, len(n.Entries)) // Never grown: fields are bound to its elements.
		for i := range n.Entries {
			e := &n.Entries[i]
			d.key(e, f)
			setName(&all[i], e.Key)
			node := e.Value
			if node.Type == Null && !node.Broken { // "default:" alone means an empty map.
				node = &Node{Type: Map, Pos: node.Pos, Path: node.Path}
			}
			if one := d.object(node, e.Key, P(&all[i])); one != nil {
				value.children = append(value.children, one)
			}
		}
		value.sort()
		*target = all
		return value
	}
	return Field{
		name: name, typ: "map by name", fields: func() []Field { return P(new(T)).Fields() }, read: read,
		keyCheck: CheckName, shape: namesShape,
	}
}

// Variant is the key that chooses what further fields an object has. The name chosen goes to name
// (aliases resolved), the decoded configuration of the kind to chosen. It is always required.
func Variant(key string, kinds []Kind, name *string, chosen *Fielder) Field {
	f := Field{name: key, typ: "kind", kinds: kinds, required: true}
	names := kindNamesOf(kinds)
	f.enum = names
	f.schema = map[string]any{"enum": anys(names)}
	f.read = func(d *decoder, n *Node, f *Field) *Value {
		if n.Type != Text {
			d.refuse(n, f, "expected the name of a kind: "+list(names), "")
			return nil
		}
		i := slices.IndexFunc(kinds, func(k Kind) bool {
			return k.Name == n.Text || slices.Contains(k.Aliases, n.Text)
		})
		if i < 0 {
			hint := ""
			if !n.Expanded() {
				hint = Suggest(n.Text, names)
			}
			d.refuse(n, f, "is not a kind; the kinds are "+list(names), hint)
			return nil
		}
		if kinds[i].Reserved != "" {
			d.refuse(n, f, kinds[i].Reserved, "")
			return nil
		}
		*name, *chosen = kinds[i].Name, kinds[i].New()
		return &Value{
			Name: f.name, Path: n.Path, Pos: n.Pos, Written: true, kind: Text,
			text: hiddenText(kinds[i].Name), raw: kinds[i].Name,
		}
	}
	f.chosen = func() Fielder { return *chosen }
	return f
}

// kindNamesOf returns the names of the kinds that can be used.
func kindNamesOf(kinds []Kind) []string {
	var names []string
	for _, k := range kinds {
		if k.Reserved == "" {
			names = append(names, k.Name)
		}
	}
	return names
}

// RawJSON is any value of a configuration file as JSON text, which knows where its parts stand.
type RawJSON struct {
	Text     []byte // compact JSON, or the text as it was written; nil when the file has nothing
	marks    []mark
	verbatim bool // Text is the text of the only node
}

// mark says that the JSON of a node begins at offset.
type mark struct {
	offset int
	node   *Node
}

// At returns the place of the byte at the offset, and the deepest node that holds it.
func (j *RawJSON) At(offset int) (Pos, *Node) {
	n := j.node(offset)
	if j.verbatim {
		return n.At(offset), n
	}
	return n.Pos, n
}

func (j *RawJSON) node(offset int) *Node {
	i, found := slices.BinarySearchFunc(j.marks, offset, func(m mark, at int) int { return m.offset - at })
	for found && i+1 < len(j.marks) && j.marks[i+1].offset == offset {
		i++ // A list and its first element never begin together, but an empty text has no length.
	}
	if !found {
		i--
	}
	if i < 0 {
		return &Node{}
	}
	return j.marks[i].node
}

// Root returns the node of the whole value; nil when the file has nothing.
func (j *RawJSON) Root() *Node {
	if len(j.marks) == 0 {
		return nil
	}
	return j.marks[0].node
}

// JSON is any value, given as JSON text. Text that came from ${NAME} is always a JSON string, so that
// it cannot change the structure around it.
func JSON(name string, target *RawJSON) Field { return jsonField(name, target, false) }

// JSONText is JSON, but text is not a JSON string: it is taken as the JSON itself, unchecked, as it
// is pasted from elsewhere.
func JSONText(name string, target *RawJSON) Field { return jsonField(name, target, true) }

func jsonField(name string, target *RawJSON, verbatim bool) Field {
	return Field{
		name: name, typ: "any value", schema: map[string]any{},
		read: func(d *decoder, n *Node, f *Field) *Value {
			var raw RawJSON
			if verbatim && n.Type == Text {
				raw = RawJSON{Text: []byte(n.Text), marks: []mark{{0, n}}, verbatim: true}
			} else if !d.encode(n, f, &raw) {
				return nil
			}
			*target = raw
			value := &Value{
				Name: f.name, Path: n.Path, Pos: n.Pos, Written: true, kind: Text,
				text: hiddenText(string(raw.Text)), hidden: f.secret || len(n.secrets(nil)) > 0,
			}
			if value.raw = string(raw.Text); json.Valid(raw.Text) {
				value.raw = json.RawMessage(raw.Text)
			}
			return value
		},
	}
}

// encode appends the JSON of n to raw.
func (d *decoder) encode(n *Node, f *Field, raw *RawJSON) bool {
	raw.marks = append(raw.marks, mark{len(raw.Text), n})
	ok := true
	if n.Broken {
		return false
	}
	switch n.Type {
	case Null:
		raw.Text = append(raw.Text, "null"...)
	case Boolean:
		raw.Text = append(raw.Text, strings.ToLower(n.Text)...)
	case Number:
		if !json.Valid([]byte(n.Text)) {
			d.refuse(n, f, "is not a number in JSON", "write it in decimal, or in quotes if text is meant")
			return false
		}
		raw.Text = append(raw.Text, n.Text...)
	case Text:
		raw.Text = appendString(raw.Text, n.Text)
	case List:
		raw.Text = append(raw.Text, '[')
		for i, item := range n.Items {
			if i > 0 {
				raw.Text = append(raw.Text, ',')
			}
			ok = d.encode(item, f, raw) && ok
		}
		raw.Text = append(raw.Text, ']')
	case Map:
		raw.Text = append(raw.Text, '{')
		for i := range n.Entries {
			if i > 0 {
				raw.Text = append(raw.Text, ',')
			}
			// An offset inside the key points at the key.
			e := &n.Entries[i]
			raw.marks = append(raw.marks, mark{len(raw.Text), &Node{
				Type: Text, Text: e.Key, Pos: e.Pos, Path: e.Value.Path,
			}})
			raw.Text = append(appendString(raw.Text, e.Key), ':')
			ok = d.encode(e.Value, f, raw) && ok
		}
		raw.Text = append(raw.Text, '}')
	default:
		d.refuse(n, f, fmt.Sprintf("cannot be written as JSON: %s", n.Type), "")
		return false
	}
	return ok
}

// appendString appends text as a JSON string without the HTML escapes of json.Marshal, so that
// offsets and what a receiver gets stay what the file says.
func appendString(to []byte, text string) []byte {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil { // Strings always encode.
		return append(to, `""`...)
	}
	return append(to, strings.TrimSuffix(b.String(), "\n")...)
}

func plural(typ string) string {
	switch {
	case strings.HasPrefix(typ, "one of"), strings.HasSuffix(typ, "s"):
		return typ
	case strings.HasSuffix(typ, "text"):
		return "texts"
	}
	return typ + "s"
}

func (v *Value) sort() {
	slices.SortFunc(v.children, func(a, b *Value) int { return strings.Compare(a.Name, b.Name) })
}

// Lists is a map from text to a text or a list of texts, none of them empty. The values of the secret
// keys never print.
func Lists(name string, target *map[string][]string, secretKeys ...string) Field {
	s := textScalar[string]()
	one := s.schema()
	schema := map[string]any{"type": "object", "additionalProperties": map[string]any{
		"anyOf": []any{one, map[string]any{"type": "array", "items": one}},
	}}
	read := func(d *decoder, n *Node, f *Field) *Value {
		if !d.isMap(n, f) {
			return nil
		}
		value := &Value{Name: f.name, Path: n.Path, Pos: n.Pos, Written: true, kind: Map}
		all := make(map[string][]string, len(n.Entries))
		for i := range n.Entries {
			e := &n.Entries[i]
			d.key(e, f)
			node := e.Value
			if node.Type != List {
				node = &Node{Type: List, Pos: node.Pos, Path: node.Path, Items: []*Node{node}}
			}
			var texts []string
			element := listOf(e.Key, &texts, s)
			element.secret, element.minItems = slices.Contains(secretKeys, e.Key), 1
			if v := element.read(d, node, &element); v != nil {
				all[e.Key] = texts
				value.children = append(value.children, v)
			}
		}
		value.sort()
		*target = all
		return value
	}
	return Field{name: name, typ: "map of texts or lists", schema: schema, read: read}
}

// Either is a field that is written as a scalar or as a map. Default, Check and the like of the
// scalar hold when the file has nothing or a scalar.
func Either(scalar, object Field) Field {
	f := scalar
	f.typ += ", or a map"
	f.fields = object.fields
	written := object.schema // of a map with free keys
	if object.fields != nil {
		written = map[string]any{objectSchema: true}
	}
	f.schema = map[string]any{"anyOf": []any{scalar.schema, written}}
	f.read = func(d *decoder, n *Node, f *Field) *Value {
		if n.Type == Map {
			return object.read(d, n, &object)
		}
		return scalar.read(d, n, f)
	}
	return f
}
