package spec

import (
	"slices"

	"github.com/grapnel/grapnel/internal/secret"
)

// Fielder is a configuration struct: it lists its fields, bound to itself.
type Fielder interface{ Fields() []Field }

// Checker is a Fielder that has something to check about several fields at once. Check runs after all
// fields were read, with their defaults; also when some of them had problems (ask [Place.OK]).
type Checker interface{ Check(at *Place) }

// Field describes one field: where its value goes, what it may be, and what it is for. Make one with
// String, Duration and so on and refine it with the methods, which return a changed copy.
type Field struct {
	name, typ        string
	doc, example     string
	def, defDoc      string // default as text, and in words when it is computed
	min, max, later  string
	required, secret bool
	credential       bool                   // a secret that should not stand in the file itself
	unprinted        bool                   // the reference says that it never prints
	quiet            func(text string) bool // reports text that must not print; may be nil
	hasDefault       bool
	minItems         int
	enum             []string
	checks           []func() error
	keyCheck         func(key string) error
	schema           map[string]any // JSON schema without documentation
	fields           func() []Field // of an object, or of an element of a list or map
	kinds            []Kind         // of a variant
	shape            shape
	read             readFunc       // decodes a node that is there
	absent           func() []Field // set if a missing object is decoded as an empty one
	chosen           func() Fielder // of a variant: the configuration of the kind
}

// shape says what the fields of a field belong to.
type shape int

const (
	plainShape shape = iota // the field itself
	listShape               // each element of a list
	namesShape              // each element of a map by name
)

// readFunc decodes n into what f is bound to. It returns nil after reporting a problem.
type readFunc func(d *decoder, n *Node, f *Field) *Value

// hides reports whether the value at n must not print.
func (f *Field) hides(n *Node) bool {
	return f.secret || n.Expanded() || f.quiet != nil && f.quiet(n.Text)
}

// Required makes it a problem when the field is missing.
func (f Field) Required() Field {
	f.required = true
	return f
}

// Doc says what the field is for, in sentences; Markdown is allowed.
func (f Field) Doc(text string) Field {
	f.doc = text
	return f
}

// Default is the value of a missing field, written as in the file. It is decoded and checked like one.
func (f Field) Default(text string) Field {
	f.def, f.hasDefault = text, true
	return f
}

// DefaultDoc says in words what a missing field means, where no text could: "the destination's name".
func (f Field) DefaultDoc(words string) Field {
	f.defDoc = words
	return f
}

// Example is a value for the reference, written as in the file.
func (f Field) Example(text string) Field {
	f.example = text
	return f
}

// Min is the smallest value allowed, written as in the file.
func (f Field) Min(text string) Field {
	f.min = text
	return f
}

// Max is the largest value allowed, written as in the file.
func (f Field) Max(text string) Field {
	f.max = text
	return f
}

// Secret marks a field that never prints: neither in problems nor in effective values.
func (f Field) Secret() Field {
	f.secret = true
	return f
}

// MinItems is how many elements a list must have.
func (f Field) MinItems(n int) Field {
	f.minItems = n
	return f
}

// Check adds a check that runs after the field was read, default or not. Return a *fault.Error, whose
// Message and Hint are shown, or any other error. An error must not quote the value, the problem
// shows it already; of a value that must not print only the texts of a *fault.Error are shown, with
// the value cut out.
func (f Field) Check(check func() error) Field {
	f.checks = append(slices.Clip(f.checks), check)
	return f
}

// Keys checks each key of a map. Its error follows the rules of Check.
func (f Field) Keys(check func(key string) error) Field {
	f.keyCheck = check
	return f
}

// Prototype says what the elements of Components look like for the reference and the schema, where an
// empty element does not know.
func (f Field) Prototype(fields func() []Field) Field {
	f.fields = fields
	return f
}

// Name returns the key of the field.
func (f Field) Name() string { return f.name }

// Reserved is a key that a later version will use. Using it is a problem with the message, which says
// so: "schedules come with a later version of Grapnel".
func Reserved(name, message string) Field { return Field{name: name, later: message} }

// Kind is one variant of an object that is chosen by a key, such as a kind of destination.
type Kind struct {
	Name    string // lower_snake_case; never renamed, only aliased
	Aliases []string
	Summary string // a sentence for the reference
	// New returns an empty configuration of this kind. It may also be a Checker.
	New func() Fielder
	// Reserved, when set, says that the kind belongs to a later version; New is not used then.
	Reserved string
}

// hiddenText makes the canonical text of a scalar unprintable.
func hiddenText(text string) secret.String { return secret.New(text) }
