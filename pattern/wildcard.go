package pattern

import (
	"bytes"
	"fmt"
)

// glob is a wildcard text cut at its stars. It is matched greedily from the
// left, in one pass over the value.
type glob struct {
	segments [][]byte // text between stars; the first and the last are anchored
}

// parseGlob reads a wildcard text. The returned reason is empty when it is
// valid; positions in it count the bytes of the text with its opening quote.
func parseGlob(s string) (glob, string) {
	var g glob
	segment := []byte{}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '*' && i+1 < len(s) && s[i+1] == '*':
			return glob{}, fmt.Sprintf("Consecutive wildcard characters at pos %d", i+1)
		case s[i] == '*':
			g.segments = append(g.segments, segment)
			segment = []byte{}
		case s[i] != '\\':
			segment = append(segment, s[i])
		case i+1 < len(s) && (s[i+1] == '*' || s[i+1] == '\\'):
			i++
			segment = append(segment, s[i])
		default:
			return glob{}, fmt.Sprintf("Invalid escape character at pos %d", i+1)
		}
	}
	g.segments = append(g.segments, segment)
	return g, ""
}

func (g glob) match(v []byte) bool {
	first, last := g.segments[0], g.segments[len(g.segments)-1]
	if len(g.segments) == 1 {
		return bytes.Equal(v, first)
	}
	if !bytes.HasPrefix(v, first) {
		return false
	}
	if v = v[len(first):]; !bytes.HasSuffix(v, last) {
		return false
	}
	v = v[:len(v)-len(last)]
	for _, segment := range g.segments[1 : len(g.segments)-1] {
		i := bytes.Index(v, segment)
		if i < 0 {
			return false
		}
		v = v[i+len(segment):]
	}
	return true
}
