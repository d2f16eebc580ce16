package spec

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/grapnel/grapnel/internal/secret"
)

// Problem is one thing that is wrong in a configuration, or a warning about it. It never holds a
// secret.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Col     int    `json:"col"`
	Path    string `json:"path,omitempty"`    // rules.deploys.targets[0].to
	Value   string `json:"value,omitempty"`   // what stands there, shortened; empty for a secret
	Message string `json:"message"`           // what is wrong or expected, a clause
	Hint    string `json:"hint,omitempty"`    // what to do, a clause: did you mean "github"?
	Warning bool   `json:"warning,omitempty"` // the configuration works, but look at this
}

// String returns "file:line:col: path: message, found "value"; hint" in one line, with the word
// "warning" in front of the path of a warning.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
	}
	b.WriteString(": ")
	if p.Warning {
		b.WriteString("warning: ")
	}
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	if p.Value != "" {
		b.WriteString(", found ")
		b.WriteString(strconv.Quote(p.Value))
	}
	if p.Hint != "" {
		b.WriteString("; ")
		b.WriteString(p.Hint)
	}
	return b.String()
}

// Sort orders problems by their place in the file.
func Sort(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
}

// Errors returns the problems that are not warnings.
func Errors(problems []Problem) []Problem {
	var errs []Problem
	for _, p := range problems {
		if !p.Warning {
			errs = append(errs, p)
		}
	}
	return errs
}

// maxValue is how many bytes of a value a problem shows.
const maxValue = 60

// Report collects the problems of one file. The zero value with a File is ready to use.
type Report struct {
	File   string
	list   []Problem
	errors int // how many there were that are no warnings
	more   int // how many were too many for the list
}

// maxProblems is how many problems are listed; nobody reads more.
const maxProblems = 500

// Errors returns how many problems were reported that are not warnings.
func (r *Report) Errors() int { return r.errors }

// Problems returns what was reported, by place in the file.
func (r *Report) Problems() []Problem {
	list := slices.Clone(r.list)
	Sort(list)
	if r.more > 0 {
		list = append(list, Problem{File: r.File, Message: fmt.Sprintf("%d more problems are not shown", r.more)})
	}
	return list
}

// Add reports a problem at n about the value that stands there. The hint may be empty. Whatever must
// not print is taken out of both texts.
func (r *Report) Add(n *Node, message, hint string) {
	r.add(n, Problem{Path: n.Path, Value: shown(n), Message: message, Hint: hint})
}

// AddAt reports a problem at n that does not show the value; path names what is concerned and may
// lie below n, for something that is missing.
func (r *Report) AddAt(n *Node, path, message, hint string) {
	r.add(n, Problem{Path: path, Message: message, Hint: hint})
}

// AddIn reports a problem, or a warning, at a place inside the text of n. Its texts may quote what
// stands there: what must not print is taken out of them, however short it is.
func (r *Report) AddIn(n *Node, pos Pos, warning bool, message, hint string) {
	at := *n
	at.Pos = pos
	hidden := n.secrets(nil)
	r.add(&at, Problem{
		Path: n.Path, Message: Scrub(message, hidden), Hint: Scrub(hint, hidden), Warning: warning,
	})
}

// AddKey reports a problem about the key of an entry.
func (r *Report) AddKey(e *Entry, message, hint string) {
	r.Put(Problem{Line: e.Pos.Line, Col: e.Pos.Col, Path: e.Value.Path, Message: message, Hint: hint})
}

// Warn reports a warning at n; path names what is concerned.
func (r *Report) Warn(n *Node, path, message, hint string) {
	r.add(n, Problem{Path: path, Message: message, Hint: hint, Warning: true})
}

// Put reports a problem that is complete but for the file.
func (r *Report) Put(p Problem) {
	p.File = r.File
	if !p.Warning {
		r.errors++
	}
	if len(r.list) >= maxProblems {
		r.more++
		return
	}
	r.list = append(r.list, p)
}

func (r *Report) add(n *Node, p Problem) {
	p.Line, p.Col = n.Pos.Line, n.Pos.Col
	hidden := long(n.secrets(nil))
	p.Message, p.Hint = Scrub(p.Message, hidden), Scrub(p.Hint, hidden)
	r.Put(p)
}

// has reports whether an error was reported at the path or below it.
func (r *Report) has(path string) bool {
	return slices.ContainsFunc(r.list, func(p Problem) bool { return !p.Warning && within(p.Path, path) })
}

// within reports whether path is base or lies below it.
func within(path, base string) bool {
	rest, ok := strings.CutPrefix(path, base)
	return ok && (rest == "" || base == "" || rest[0] == '.' || rest[0] == '[')
}

// shown is the text of a scalar as a problem may show it.
func shown(n *Node) string {
	if n.Expanded() || n.Type == List || n.Type == Map || n.Type == Null {
		return ""
	}
	if len(n.Text) <= maxValue {
		return n.Text
	}
	cut := maxValue
	for cut > 0 && !utf8.RuneStart(n.Text[cut]) {
		cut--
	}
	return n.Text[:cut] + "…"
}

// minScrub is the length from which a hidden text can be cut out of a message. A message with a
// shorter one in it is replaced as a whole, because what stays would give it away.
const minScrub = 4

// long returns those of the texts that cannot occur by chance.
func long(texts []string) []string {
	return slices.DeleteFunc(texts, func(text string) bool { return len(text) < minScrub })
}

// Scrub returns text without the hidden texts, however they are escaped.
func Scrub(text string, hidden []string) string {
	if text == "" {
		return ""
	}
	for _, h := range hidden {
		if h == "" {
			continue
		}
		quoted := strconv.Quote(h)
		for _, form := range []string{h, quoted[1 : len(quoted)-1], url.QueryEscape(h), url.PathEscape(h)} {
			if !strings.Contains(text, form) {
				continue
			}
			if len(h) < minScrub {
				return "is not accepted (the reason is not shown, it would show a secret)"
			}
			text = strings.ReplaceAll(text, form, secret.Redacted)
		}
	}
	return text
}

// Suggest returns `did you mean "x"?` for the candidate that is closest to word, or "" when none is
// close: at most a third of the letters may differ.
func Suggest(word string, candidates []string) string {
	best, at := max(1, len(word)/3)+1, ""
	for _, c := range candidates {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < best && d < len(c) {
			best, at = d, c
		}
	}
	if at == "" {
		return ""
	}
	return "did you mean " + strconv.Quote(at) + "?"
}

// distance is the number of bytes to insert, remove, replace or swap with their neighbor to turn a
// into b (optimal string alignment).
func distance(a, b string) int {
	if len(a) > maxValue || len(b) > maxValue {
		return max(len(a), len(b))
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j-1]+cost, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
