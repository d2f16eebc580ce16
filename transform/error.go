package transform

import (
	"fmt"
	"strings"
)

// Code is the class of an Error: what a program branches on. The texts are stable.
type Code string

// The codes of Compile.
const (
	CodeConflict           Code = "conflict"            // more than one of the three inputs
	CodeInvalidConstant    Code = "invalid_constant"    // the constant is not JSON
	CodeLimit              Code = "limit"               // too long, or too many paths
	CodeInvalidName        Code = "invalid_name"        // a name in Paths that no placeholder can have
	CodeMissingTemplate    Code = "missing_template"    // a transformer without a template
	CodeUnknownPlaceholder Code = "unknown_placeholder" // neither in Paths nor predefined
	CodePlaceholderKey     Code = "placeholder_key"     // a placeholder as the key of an object
	CodeInvalidTemplate    Code = "invalid_template"    // neither JSON nor quoted text
)

// The codes of Warnings; CodeInvalidTemplate occurs here too.
const (
	CodeInvalidPath Code = "invalid_path" // also of ValidatePath
	CodeUnusedPath  Code = "unused_path"
	CodeQuotedEvent Code = "quoted_event" // a whole event inside quotes: every delivery will fail
)

// The codes of Apply.
const (
	CodeInvalidEvent  Code = "invalid_event"  // the event is not a JSON object
	CodeNotFound      Code = "not_found"      // the path selects nothing in this event
	CodeBreaksString  Code = "breaks_string"  // the value does not fit inside quotes
	CodeInvalidOutput Code = "invalid_output" // the finished document is not JSON
)

// Field names the part of a Spec, or the event, that an Error is about.
type Field string

// The fields.
const (
	FieldConstant Field = "constant"
	FieldPath     Field = "path"
	FieldPaths    Field = "paths"
	FieldTemplate Field = "template"
	FieldEvent    Field = "event"
)

// Error is one problem of a Spec, or the reason why an event could not be transformed.
type Error struct {
	Code  Code
	Field Field
	// Name is the placeholder, or the key in Paths, that is concerned; empty if none is.
	Name string
	// Path is the JSONPath behind Name, or the one of Spec.Path; empty if there is none.
	Path string
	// Offset is the place in bytes in the text of Field (in the path when Field is FieldPaths),
	// or -1 when the whole text is meant.
	Offset int
	// Problem says what is wrong, Hint what to do. Neither holds any part of an event.
	Problem string
	Hint    string

	source string // the constant, for the words of EventBridge
}

// Error gives place, problem and hint in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("input ")
	b.WriteString(string(e.Field))
	switch {
	case e.Name != "" && e.Field == FieldTemplate:
		fmt.Fprintf(&b, ", placeholder <%s>", e.Name)
	case e.Name != "":
		fmt.Fprintf(&b, " %q", e.Name)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, ", offset %d", e.Offset)
	}
	b.WriteString(": ")
	b.WriteString(e.Problem)
	if e.Hint != "" {
		b.WriteString("; ")
		b.WriteString(e.Hint)
	}
	return b.String()
}

// EventBridge words the error as the PutTargets operation of EventBridge does for the target
// with the given id. Problems for which the service has no words of its own read as in Error.
func (e *Error) EventBridge(target string) string {
	switch e.Code { //nolint:exhaustive // the service has words for these only
	case CodeConflict:
		return "Only one of Input, InputPath, or InputTransformer must be provided for target " +
			target + "."
	case CodeUnknownPlaceholder:
		return fmt.Sprintf("InputTemplate for target %s contains invalid placeholder %s.",
			target, e.Name)
	case CodeInvalidConstant:
		line, column := lineColumn(e.source, e.Offset)
		return fmt.Sprintf("JSON syntax error in input for target %s: "+
			`[Source: (String)"%s"; line: %d, column: %d]`, target, e.source, line, column)
	case CodeMissingTemplate:
		return fmt.Sprintf("InputTemplate is required for target %s.", target)
	default:
		return e.Error()
	}
}

// Errors is every problem that Compile found, in the order of the text.
type Errors []*Error

// Error joins the problems, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find the first *Error.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, one := range e {
		errs[i] = one
	}
	return errs
}

// lineColumn converts an offset in bytes to a line and a column in characters, from one.
func lineColumn(text string, offset int) (line, column int) {
	before := text[:min(max(offset, 0), len(text))]
	last := before[strings.LastIndexByte(before, '\n')+1:]
	return 1 + strings.Count(before, "\n"), 1 + len([]rune(last))
}
