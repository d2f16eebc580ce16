package transform

import (
	"slices"
	"time"
)

// Spec says what a target receives. At most one of the three may be set; with none the target
// receives the whole event.
type Spec struct {
	// Constant is JSON text that is sent unchanged (EventBridge: Input).
	Constant []byte
	// Path selects one value of the event (EventBridge: InputPath).
	Path string
	// Transformer makes a document from a template (EventBridge: InputTransformer).
	Transformer *Transformer
}

// Transformer is a template and the values of the event that it uses.
type Transformer struct {
	// Paths gives each placeholder its path. Names consist of letters, digits, _ and -.
	Paths map[string]string
	// Template is the document with placeholders.
	Template string
	// Escape makes any value fit inside quotes: what is inserted there is escaped as in JSON, in
	// text templates too. EventBridge does not do this.
	Escape bool
}

// Event is the event that is transformed. Apply does not change its bytes.
type Event struct {
	// Envelope is the JSON object of the event, without detail when Detail is set.
	Envelope []byte
	// Detail is the JSON value of detail, for a caller that keeps it apart. If it is nil then
	// detail is in the envelope, or the event has none.
	Detail []byte
}

// Vars holds the values of predefined placeholders that are not in the event.
type Vars struct {
	RuleARN  string
	RuleName string
	// IngestionTime is when the event was received; the zero time is written like a value that
	// was not found.
	IngestionTime time.Time
}

// Transform is a compiled Spec.
type Transform struct {
	constant []byte
	path     string // of Spec.Path, for errors
	pieces   []piece
	text     bool // the template is text, not JSON
	template bool // a template makes the output; otherwise pieces[0] is the output
	escape   bool
	unsure   *Error // why the JSON template is no valid document by itself; usually nil

	root    *node
	detail  *node // the place of detail in root, if a path goes there
	slots   int
	summary []summaryField // when the event without detail is wanted
	whole   bool           // the whole event is wanted
	paths   map[string]string

	warnings Errors
}

// summaryField is a member of the event without detail.
type summaryField struct {
	key  string // with quotes and colon
	slot int
}

// Compile checks spec and prepares it. The error is of type Errors and holds every problem.
// Paths are not among them: see Warnings.
func Compile(spec Spec) (*Transform, error) {
	given := 0
	for _, set := range []bool{spec.Constant != nil, spec.Path != "", spec.Transformer != nil} {
		if set {
			given++
		}
	}
	c := compiler{t: &Transform{root: &node{}}}
	switch {
	case given > 1:
		c.fail(&Error{
			Code: CodeConflict, Field: conflicting(spec), Offset: -1,
			Problem: "only one of constant, path and template may be given",
			Hint:    "remove the others",
		})
	case spec.Constant != nil:
		c.constant(spec.Constant)
	case spec.Transformer != nil:
		c.transformer(spec.Transformer)
	default:
		c.path(spec.Path)
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	c.finish()
	return c.t, nil
}

// conflicting is the field to point at when several are given.
func conflicting(spec Spec) Field {
	if spec.Transformer != nil {
		return FieldTemplate
	}
	return FieldPath
}

// JSON reports whether every output is valid JSON, so that it can be sent as application/json.
// It is false for text templates only.
func (t *Transform) JSON() bool { return !t.text }

// Warnings lists what Compile accepts and a person should hear about: paths that are not well
// formed and so select nothing, paths that no placeholder uses, JSON templates that are unlikely
// to give JSON.
func (t *Transform) Warnings() []*Error { return slices.Clone(t.warnings) }

// Apply makes the output for one event. The output may share memory with the event and with the
// Transform: treat it as read-only. The error is an *Error; it means that this event cannot be
// delivered to this target, now or later:
//
//   - CodeInvalidEvent: the event is not a JSON object, or its detail is not JSON;
//   - CodeNotFound: the path of Spec.Path selects nothing;
//   - CodeBreaksString: a value does not fit inside the quotes around its placeholder;
//   - CodeInvalidOutput: the finished document is not JSON.
func (t *Transform) Apply(event Event, vars Vars) ([]byte, error) {
	if t.constant != nil {
		return t.constant, nil
	}
	r := renderer{t: t, event: event, vars: vars}
	r.slots = make([]slot, t.slots)
	if err := r.pick(); err != nil {
		return nil, err
	}
	if !t.template {
		return r.value()
	}
	return r.document()
}
