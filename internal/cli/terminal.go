package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// printer writes lines and remembers the first error.
type printer struct {
	w        io.Writer
	err      error
	terminal bool
	color    bool
}

// newPrinter returns a printer. It colors only terminals, and not when NO_COLOR
// is set (no-color.org) or the terminal is dumb.
func newPrinter(w io.Writer, env func(string) (string, bool)) *printer {
	p := &printer{w: w, terminal: isTerminal(w)}
	noColor, _ := env("NO_COLOR")
	term, _ := env("TERM")
	p.color = p.terminal && noColor == "" && term != "dumb"
	return p
}

// isTerminal reports whether a file is a character device.
func isTerminal(file any) bool {
	f, ok := file.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Write writes p.
func (p *printer) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	if p.err == nil {
		p.err = err
	}
	return n, err
}

// line writes a line.
func (p *printer) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format+"\n", args...) // kept in p.err
}

// json writes a document, indented.
func (p *printer) json(v any) error {
	enc := json.NewEncoder(p)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func (p *printer) paint(code, text string) string {
	if !p.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p *printer) bold(text string) string   { return p.paint("1", text) }
func (p *printer) dim(text string) string    { return p.paint("2", text) }
func (p *printer) red(text string) string    { return p.paint("31", text) }
func (p *printer) green(text string) string  { return p.paint("32", text) }
func (p *printer) yellow(text string) string { return p.paint("33", text) }

// clean makes text from outside safe for a terminal: control characters and
// those that turn the direction of writing are spelled out. Line breaks and
// tabs stay.
func clean(text string) string {
	if strings.IndexFunc(text, unsafe) < 0 && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		switch {
		case unsafe(r) && r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		case unsafe(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func unsafe(r rune) bool {
	return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
}

// word is clean for one line: line breaks and tabs are spelled out too.
func word(text string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(clean(text))
}

// short is word, cut to n characters.
func short(text string, n int) string {
	text = word(text)
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// orDash stands a dash where there is nothing.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// table prints rows in columns.
type table struct {
	head []string
	rows [][]string
	// tint, if set, colors a cell that was padded already.
	tint func(column int, text, padded string) string
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = orDash(word(cells[i]))
	}
	t.rows = append(t.rows, cells)
}

func (t *table) print(p *printer) {
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	t.row(&b, t.head, widths, func(_ int, _, padded string) string { return p.dim(padded) })
	for _, row := range t.rows {
		t.row(&b, row, widths, t.tint)
	}
	_, _ = io.WriteString(p, b.String()) // kept in p.err
}

func (t *table) row(b *strings.Builder, cells []string, widths []int, tint func(int, string, string) string) {
	for i, cell := range cells {
		padded := cell
		if i < len(cells)-1 {
			padded += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
		}
		if tint != nil {
			padded = tint(i, cell, padded)
		}
		b.WriteString(padded)
	}
	b.WriteByte('\n')
}

// facts prints names and values below each other; those without a value are left out.
func (p *printer) facts(indent string, pairs ...string) {
	width := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, utf8.RuneCountInString(pairs[i]))
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			p.line("%s%s  %s", indent, p.dim(fmt.Sprintf("%-*s", width, pairs[i])), word(pairs[i+1]))
		}
	}
}

// block prints text of several lines, indented.
func (p *printer) block(indent, text string) {
	for line := range strings.SplitSeq(strings.TrimRight(clean(text), "\n"), "\n") {
		p.line("%s%s", indent, line)
	}
}

// stateColor is how a state of a delivery or destination is shown.
func (p *printer) state(state, padded string) string {
	switch state {
	case "delivered", "ok":
		return p.green(padded)
	case "dead", "expired", "interrupted", "open":
		return p.red(padded)
	case "pending", "held", "disabled", "half_open":
		return p.yellow(padded)
	}
	return padded
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// byteText writes a number of bytes for people.
func byteText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, names := float64(n), "KMGTP"
	i := -1
	for value >= unit && i < len(names)-1 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", value, names[i])
}

// spanText writes a duration for people, to three digits.
func spanText(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		switch {
		case d >= 100*unit:
			return d.Round(unit).String()
		case d >= 10*unit:
			return d.Round(unit / 10).String()
		case d >= unit:
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}

func number[T int | int64](n T) string { return strconv.FormatInt(int64(n), 10) }
