package spec

import (
	"errors"
	"fmt"
	"slices"

	"github.com/grapnel/grapnel/internal/fault"
)

// Decode fills target from the node, which is a map (or nil or Null for none), reports every problem
// to r, and returns the effective values. Target is complete only if r has no errors.
func Decode(r *Report, node *Node, target Fielder) *Value {
	if node == nil || node.Type == Null {
		at := Node{Type: Map}
		if node != nil {
			at.Pos, at.Path = node.Pos, node.Path
		}
		node = &at
	}
	d := decoder{r}
	return d.object(node, "", target)
}

type decoder struct{ *Report }

// object decodes n into target and runs its Check.
func (d *decoder) object(n *Node, name string, target Fielder) *Value {
	if n.Broken {
		return nil
	}
	if n.Type != Map {
		message := "expected a map of keys and values, not " + n.Type.String()
		if n.Type == Null {
			message = "is empty, expected a map of keys and values"
		}
		d.Add(n, message, "")
		return nil
	}
	value := &Value{Name: name, Path: n.Path, Pos: n.Pos, Written: true, kind: Map}
	fields := d.fields(n, value, target.Fields())
	d.unknown(n, fields)
	if c, ok := target.(Checker); ok {
		c.Check(At(d.Report, n))
	}
	return value
}

// fields decodes the fields, and those of the kind that a variant among them chose, and returns all.
func (d *decoder) fields(n *Node, value *Value, fields []Field) []Field {
	all := fields
	for i := range fields {
		f := &fields[i]
		v := d.field(n, f)
		if v != nil {
			value.children = append(value.children, v)
		}
		if f.chosen == nil {
			continue
		}
		if v == nil { // Which keys there may be is not known.
			for j := range n.Entries {
				all = append(slices.Clip(all), Field{name: n.Entries[j].Key, read: nil})
			}
			continue
		}
		kind := f.chosen()
		all = append(slices.Clip(all), d.fields(n, value, kind.Fields())...)
		if c, ok := kind.(Checker); ok {
			c.Check(At(d.Report, n))
		}
	}
	return all
}

// field decodes one field of the map n.
func (d *decoder) field(n *Node, f *Field) *Value {
	e := n.Get(f.name)
	if f.later != "" {
		if e != nil {
			d.AddKey(e, f.later, "")
		}
		return nil
	}
	node := &Node{Pos: n.Pos, Path: Join(n.Path, f.name)}
	written := e != nil
	switch {
	case written && e.Value.Broken:
		return nil
	case written && e.Value.Type == Null:
		d.refuse(e.Value, f, "is empty", "give it a value or remove the key")
		return nil
	case written:
		node = e.Value
	case f.required:
		d.AddAt(n, node.Path, f.missing(), "")
		return nil
	case f.hasDefault:
		node.Type, node.Text = f.defaultType(), f.def
	case f.absent != nil:
		node.Type = Map
	default:
		return nil
	}
	before := d.errors
	value := f.read(d, node, f)
	if value == nil {
		return nil
	}
	if !written {
		value.unwritten()
	}
	if d.errors > before {
		return value
	}
	for _, check := range f.checks {
		if err := check(); err != nil {
			d.failed(node, f, "is not accepted", err)
			break
		}
	}
	return value
}

// missing is what is said of a required field that is not there.
func (f *Field) missing() string {
	if f.enum != nil {
		return "is missing: " + oneOf(f.enum)
	}
	return "is missing"
}

// defaultType is the type that a default is taken for.
func (f *Field) defaultType() Type {
	switch f.schema["type"] {
	case "boolean":
		return Boolean
	case "integer":
		return Number
	}
	return Text
}

// unwritten marks v and everything below it as defaults.
func (v *Value) unwritten() {
	v.Written = false
	for _, c := range v.children {
		c.unwritten()
	}
}

// unknown reports the keys of n that no field has.
func (d *decoder) unknown(n *Node, fields []Field) {
	known := make(map[string]bool, len(fields))
	var names []string
	for i := range fields {
		known[fields[i].name] = true
		if fields[i].later == "" {
			names = append(names, fields[i].name)
		}
	}
	for i := range n.Entries {
		e := &n.Entries[i]
		if known[e.Key] {
			continue
		}
		hint := Suggest(e.Key, names)
		switch {
		case hint != "" || len(names) > maxListed:
		case len(names) == 1:
			hint = "the only key here is " + names[0]
		case len(names) > 1:
			hint = "the keys here are " + list(names)
		}
		d.AddKey(e, "is not a known key", hint)
	}
}

// maxListed is up to how many keys a hint names all of them.
const maxListed = 8

// isList reports whether n is a list of the wanted length, and says so if it is not.
func (d *decoder) isList(n *Node, f *Field) bool {
	if n.Type != List {
		hint := ""
		if n.Type == Text || n.Type == Number {
			hint = "write it in brackets: [ … ]"
		}
		d.refuse(n, f, fmt.Sprintf("expected a %s, not %s", f.typ, n.Type), hint)
		return false
	}
	if len(n.Items) < f.minItems {
		d.refuse(n, f, fmt.Sprintf("must have at least %d, has %d", f.minItems, len(n.Items)), "")
		return false
	}
	return true
}

// isMap reports whether n is a map, and says so if it is not.
func (d *decoder) isMap(n *Node, f *Field) bool {
	if n.Type != Map {
		d.refuse(n, f, fmt.Sprintf("expected a %s, not %s", f.typ, n.Type), "")
		return false
	}
	return true
}

// key checks the key of a map.
func (d *decoder) key(e *Entry, f *Field) {
	if f.keyCheck == nil {
		return
	}
	if err := f.keyCheck(e.Key); err != nil {
		message, hint := texts(err)
		d.AddKey(e, message, hint)
	}
}

// refuse reports a problem with the value of f.
func (d *decoder) refuse(n *Node, f *Field, message, hint string) {
	p := Problem{Path: n.Path, Message: message, Hint: hint}
	if !f.hides(n) {
		p.Value = shown(n)
	} else {
		hidden := long([]string{n.Text})
		p.Message, p.Hint = Scrub(message, hidden), Scrub(hint, hidden)
	}
	d.add(n, p)
}

// failed reports that reading or checking the value of f ended with err.
func (d *decoder) failed(n *Node, f *Field, expects string, err error) {
	hidden := f.hides(n)
	fe, authored := errors.AsType[*fault.Error](err)
	switch {
	case errors.Is(err, errExpected):
		d.refuse(n, f, expects, d.source(n))
	case authored && hidden:
		hint := fe.Hint
		if n.Expanded() { // A suggestion would tell what the value is close to.
			hint = d.source(n)
		}
		d.refuse(n, f, fe.Message, hint)
	case hidden:
		d.refuse(n, f, expects, d.source(n))
	default:
		message, hint := texts(err)
		d.refuse(n, f, message, hint)
	}
}

// source says where a value came from that is not shown.
func (d *decoder) source(n *Node) string {
	if !n.Expanded() || n.Origin == "" {
		return ""
	}
	return "the value of " + n.Origin + " is not shown"
}

func texts(err error) (message, hint string) {
	if fe, ok := errors.AsType[*fault.Error](err); ok {
		return fe.Message, fe.Hint
	}
	return err.Error(), ""
}

// Place is an object in the file, for a [Checker] to point at. Fields are named by their key; further
// steps are keys (string) and indexes (int).
type Place struct {
	report *Report
	node   *Node
}

// At returns the Place of a node that is a map.
func At(report *Report, node *Node) *Place { return &Place{report: report, node: node} }

// Problem reports a problem of a field, unless one was reported of it already. The field "" is the
// object itself.
func (p *Place) Problem(field, message string) {
	if field == "" {
		p.report.AddAt(p.node, p.node.Path, message, "")
		return
	}
	p.Hint(message, "", field)
}

// Hint is Problem with advice, at the steps below the object.
func (p *Place) Hint(message, hint string, steps ...any) {
	path := p.path(steps)
	if p.report.has(path) {
		return
	}
	n, _ := p.node.Find(steps...)
	p.report.AddAt(n, path, message, hint)
}

// Warn reports a warning about a field; the field "" is the object itself.
func (p *Place) Warn(field, message, hint string) {
	if field == "" {
		p.report.Warn(p.node, p.node.Path, message, hint)
		return
	}
	n, _ := p.node.Find(field)
	p.report.Warn(n, p.path([]any{field}), message, hint)
}

// Sub returns the Place of the map at the steps below. If there is none then problems point to where
// the way there ends.
func (p *Place) Sub(steps ...any) *Place {
	n, ok := p.node.Find(steps...)
	if !ok || n.Type != Map {
		n = &Node{Type: Map, Pos: n.Pos, Path: p.path(steps)}
	}
	return &Place{report: p.report, node: n}
}

// One reports a problem unless exactly one of the fields is there. What, a clause, says what they
// are for.
func (p *Place) One(what string, fields ...string) {
	found := 0
	for _, f := range fields {
		if p.Has(f) {
			found++
		}
	}
	if found != 1 {
		p.Problem("", "exactly one of "+list(fields)+" is needed: "+what)
	}
}

// Has reports whether the file has the field.
func (p *Place) Has(field string) bool { return p.node.Get(field) != nil }

// OK reports whether none of the fields has a problem.
func (p *Place) OK(fields ...string) bool {
	for _, f := range fields {
		if p.report.has(Join(p.node.Path, f)) {
			return false
		}
	}
	return true
}

// Node returns the node of the object.
func (p *Place) Node() *Node { return p.node }

func (p *Place) path(steps []any) string {
	path := p.node.Path
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			path = Join(path, step)
		case int:
			path = Index(path, step)
		}
	}
	return path
}
