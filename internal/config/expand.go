package config

import (
	"cmp"
	"errors"
	"io/fs"
	"regexp"
	"strings"

	"github.com/grapnel/grapnel/internal/spec"
)

// maxFile bounds what ${file:…} reads: a secret or a key, not a disk.
const maxFile = 1 << 20

// envName is what the name of an environment variable looks like.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expander replaces ${NAME} and ${file:/path} in scalars. What it puts in is kept in Node.Hidden.
type expander struct {
	env   func(name string) (string, bool)
	read  func(path string) ([]byte, error)
	files map[string]fileText // read once each, so that one load sees one content
}

type fileText struct {
	text    string
	problem string
}

// node expands the text of n and reports references that lead nowhere.
func (x *expander) node(report *spec.Report, n *spec.Node) {
	if !strings.Contains(n.Text, "${") {
		return
	}
	var b strings.Builder
	rest := n.Text
	var references []string
	for {
		i := strings.Index(rest, "${")
		if i < 0 {
			b.WriteString(rest)
			break
		}
		if i > 0 && rest[i-1] == '$' { // $${ is ${ as text
			b.WriteString(rest[:i-1])
			b.WriteString("${")
			rest = rest[i+2:]
			continue
		}
		b.WriteString(rest[:i])
		name, after, closed := strings.Cut(rest[i+2:], "}")
		if !closed {
			report.AddAt(n, n.Path, "${ without a closing }", "write $${ for the text ${")
			n.Broken = true
			return
		}
		value, problem, hint := x.lookup(name)
		references = append(references, "${"+name+"}")
		if problem != "" {
			report.AddAt(n, n.Path, problem, hint)
			n.Broken = true
		} else {
			n.Hidden = append(n.Hidden, cmp.Or(value, emptyValue))
		}
		b.WriteString(value)
		rest = after
	}
	n.Text, n.Type, n.Origin = b.String(), spec.Text, strings.Join(references, ", ")
}

// emptyValue stands in Node.Hidden for a reference to empty text, so that the node still counts as
// one whose text is not from the file. No message contains it.
const emptyValue = "\x00empty"

// lookup returns what a reference stands for, or what is wrong with it and what to do.
func (x *expander) lookup(name string) (value, problem, hint string) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		return x.file(path)
	}
	if !envName.MatchString(name) {
		return "", "${" + name + "} is not a reference",
			"write ${NAME} for an environment variable, ${file:/path} for a file, $${ for the text ${"
	}
	value, ok := x.env(name)
	if !ok {
		return "", "the environment variable " + name + " is not set", "export it, or write ${file:/path}"
	}
	return value, "", ""
}

func (x *expander) file(path string) (value, problem, hint string) {
	if path == "" {
		return "", "${file:} names no file", "write ${file:/path}"
	}
	if known, ok := x.files[path]; ok {
		return known.text, known.problem, ""
	}
	got := fileText{}
	switch data, err := x.read(path); {
	case errors.Is(err, fs.ErrNotExist):
		got.problem = "the file " + path + " does not exist"
	case errors.Is(err, fs.ErrPermission):
		got.problem = "the file " + path + " may not be read"
	case err != nil:
		got.problem = "the file " + path + " cannot be read"
	case len(data) > maxFile:
		got.problem = "the file " + path + " is larger than " + spec.FormatBytes(maxFile)
	default:
		got.text = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	}
	x.files[path] = got
	return got.text, got.problem, ""
}
