package transform

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of EventBridge, in characters.
const (
	maxConstant = 8192
	maxTemplate = 8192
	maxPath     = 256
	maxPaths    = 100
	maxName     = 256
)

// compiler fills a Transform and collects what is wrong.
type compiler struct {
	t      *Transform
	errs   Errors
	places []place
}

// place ties a piece, or a member of the summary, to the node whose slot it will have.
type place struct {
	slot *int
	at   *node
}

func (c *compiler) fail(e *Error) { c.errs = append(c.errs, e) }
func (c *compiler) warn(e *Error) { c.t.warnings = append(c.t.warnings, e) }

// limit checks the length of text.
func (c *compiler) limit(text string, most int, field Field, name string) {
	if n := utf8.RuneCountInString(text); n > most {
		c.fail(&Error{
			Code: CodeLimit, Field: field, Name: name, Offset: -1,
			Problem: fmt.Sprintf("%d characters, the limit is %d", n, most),
			Hint:    "shorten it",
		})
	}
}

func (c *compiler) constant(text []byte) {
	c.limit(string(text), maxConstant, FieldConstant, "")
	sc := scanner{data: text}
	if !sc.document() {
		c.fail(&Error{
			Code: CodeInvalidConstant, Field: FieldConstant, Offset: sc.bad,
			Problem: "not valid JSON: " + sc.why,
			Hint:    "write any JSON value; text needs double quotes",
			source:  string(text),
		})
	}
	c.t.constant = slices.Clone(text)
}

func (c *compiler) path(path string) {
	c.limit(path, maxPath, FieldPath, "")
	c.t.path = path
	if path == "" {
		path = "$"
	}
	steps, err := parsePath(path)
	if err != nil {
		c.warn(err)
	}
	c.t.pieces = []piece{{}}
	c.bind(&c.t.pieces[0], steps, err == nil)
}

func (c *compiler) transformer(tr *Transformer) {
	c.t.template, c.t.escape, c.t.paths = true, tr.Escape, maps.Clone(tr.Paths)
	if tr.Template == "" {
		c.fail(&Error{
			Code: CodeMissingTemplate, Field: FieldTemplate, Offset: -1,
			Problem: "a template of at least one character is required",
			Hint:    "add one, or use a path to send a single value",
		})
	}
	c.limit(tr.Template, maxTemplate, FieldTemplate, "")
	c.names(tr.Paths)
	if len(c.errs) > 0 {
		return
	}
	c.t.text = isText(tr.Template)
	s := splitter{text: tr.Template, json: !c.t.text}
	s.split()
	c.errs = append(c.errs, s.errs...)
	c.placeholders(s.pieces, tr.Paths)
	slices.SortStableFunc(c.errs, func(a, b *Error) int { return a.Offset - b.Offset })
	c.t.pieces = s.pieces
	if s.json {
		c.json(tr.Template)
	}
}

// names checks the keys of Paths and the lengths of its values.
func (c *compiler) names(paths map[string]string) {
	if len(paths) > maxPaths {
		c.fail(&Error{
			Code: CodeLimit, Field: FieldPaths, Offset: -1,
			Problem: fmt.Sprintf("%d paths, the limit is %d", len(paths), maxPaths),
			Hint:    "select a larger part of the event with one path",
		})
	}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		c.limit(paths[name], maxPath, FieldPaths, name)
		c.limit(name, maxName, FieldPaths, name)
		for i := range len(name) + 1 {
			if name == "" || i < len(name) && !isNameByte(name[i]) {
				c.fail(&Error{
					Code: CodeInvalidName, Field: FieldPaths, Name: name, Offset: -1,
					Problem: fmt.Sprintf("%q cannot be the name of a placeholder", name),
					Hint:    "names consist of letters, digits, _ and -",
				})
				break
			}
		}
	}
}

// placeholders finds where the value of each placeholder comes from, and which paths are idle.
func (c *compiler) placeholders(pieces []piece, paths map[string]string) {
	parsed := make(map[string][]step, len(paths))
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		steps, err := parsePath(paths[name])
		if err != nil {
			err.Field, err.Name = FieldPaths, name
			c.warn(err)
			continue
		}
		parsed[name] = steps
	}
	used := map[string]bool{}
	for i := range pieces {
		p := &pieces[i]
		_, isPath := paths[p.name]
		switch {
		case p.name == "":
		case isPath:
			used[p.name] = true
			steps, ok := parsed[p.name]
			c.bind(p, steps, ok)
		case predefined(p.name) != 0:
			p.source = predefined(p.name)
		default:
			c.fail(unknown(p, paths))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if !used[name] {
			c.warn(&Error{
				Code: CodeUnusedPath, Field: FieldPaths, Name: name, Path: paths[name], Offset: -1,
				Problem: "no placeholder uses this path",
				Hint:    "write <" + name + "> in the template, or remove the path",
			})
		}
	}
}

// bind gives p the value at steps. A path that is not well formed gets no place in the tree: its
// slot stays -1.
func (c *compiler) bind(p *piece, steps []step, ok bool) {
	p.source, p.slot = fromPath, -1
	switch {
	case !ok:
	case len(steps) == 0:
		p.source = fromEvent
	default:
		c.places = append(c.places, place{&p.slot, c.t.root.add(steps)})
	}
}

// json looks for templates that give no JSON, and refuses those that are neither kind.
func (c *compiler) json(template string) {
	c.t.unsure = checkJSON(template, c.t.pieces)
	if c.t.unsure != nil {
		if !mayBeJSON(template) {
			c.fail(c.t.unsure)
			return
		}
		c.warn(c.t.unsure)
	}
	for _, p := range c.t.pieces {
		whole := p.source == fromEvent || p.source == fromSummary
		if p.pos == inQuotes && whole && !c.t.escape {
			c.warn(&Error{
				Code: CodeQuotedEvent, Field: FieldTemplate, Name: p.name, Offset: p.offset,
				Problem: "an event inside quotes never gives valid JSON",
				Hint:    "leave out the quotes around <" + p.name + ">",
			})
		}
	}
}

// mayBeJSON tells whether the first character can begin a JSON document or a placeholder.
func mayBeJSON(template string) bool {
	first := strings.TrimLeft(template, " \t\r\n")
	return first != "" && strings.IndexByte("{[<-0123456789", first[0]) >= 0
}

// finish numbers the places of the paths and tells the pieces.
func (c *compiler) finish() {
	for i := range c.t.pieces {
		switch c.t.pieces[i].source {
		case fromEvent:
			c.t.whole = true
		case fromSummary:
			c.summarize()
		case fromPath, fromRuleARN, fromRuleName, fromIngestionTime:
		}
	}
	c.t.slots = c.t.root.number(0)
	for _, p := range c.places {
		*p.slot = p.at.lo
	}
	c.t.detail = c.t.root.named("detail")
}

// summarize adds the paths of the event without detail. EventBridge writes its members in this
// order, and detail-type in another spelling.
func (c *compiler) summarize() {
	if c.t.summary != nil {
		return
	}
	names := [...]string{
		"id", "account", "detail-type", "time", "source", "region", "resources", "version",
	}
	c.t.summary = make([]summaryField, len(names))
	for i, name := range names {
		key := name
		if name == "detail-type" {
			key = "detailType"
		}
		c.t.summary[i].key = `"` + key + `":`
		at := c.t.root.add([]step{{name: name, index: named}})
		c.places = append(c.places, place{&c.t.summary[i].slot, at})
	}
}

// unknown is the error for a placeholder that has no value.
func unknown(p *piece, paths map[string]string) *Error {
	e := &Error{
		Code: CodeUnknownPlaceholder, Field: FieldTemplate, Name: p.name, Offset: p.offset,
		Problem: "no path has this name, and it is not predefined",
		Hint:    "add it to paths",
	}
	if strings.HasPrefix(p.name, "$") {
		e.Problem, e.Hint = "a path cannot stand in a template", "give it a name in paths"
		return e
	}
	candidates := append(slices.Sorted(maps.Keys(paths)), "aws.events.rule-arn",
		"aws.events.rule-name", "aws.events.event.ingestion-time", "aws.events.event",
		"aws.events.event.json")
	best := 3 // More than two differences are another word.
	for _, name := range candidates {
		if d := distance(p.name, name); d < best && d < len(name) {
			best = d
			e.Hint = "did you mean <" + name + ">?"
		}
	}
	return e
}

// distance is the number of bytes to insert, remove or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
