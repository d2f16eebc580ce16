package pattern

import "slices"

// complexitySets bounds the work of complexity; patterns that need more are
// far from what the service accepts or refuses.
const complexitySets = 20_000

// globState is a start of a wildcard text: how many of its elements are read.
type globState struct{ glob, read int }

// complexity returns how many starts of the given wildcard texts one value can
// match at the same time, counting at most to limit. It is the number by which
// the service refuses a field: with "*:*", the value "::" is at "*", "*:" and
// "*:*". Texts are taken with their quotes, as the service's automaton has them.
func complexity(texts []string, limit int) int {
	if len(texts) == 0 {
		return 0
	}
	texts = slices.Compact(slices.Sorted(slices.Values(texts)))
	globs := make([][]int16, len(texts))
	start := make([]globState, len(texts))
	for i, t := range texts {
		globs[i] = elements(t)
		start[i] = globState{glob: i}
	}
	seen := map[string]bool{}
	queue := [][]globState{start}
	most := 0
	for len(queue) > 0 && len(seen) < complexitySets {
		set := queue[0]
		queue = queue[1:]
		for _, c := range leaving(globs, set) {
			next := step(globs, set, c)
			most = max(most, len(next))
			if most >= limit {
				return limit
			}
			if k := stateKey(next); len(next) > 0 && !seen[k] {
				seen[k] = true
				queue = append(queue, next)
			}
		}
	}
	return most
}

const star = int16(-1)

// elements returns the bytes of a wildcard text between quotes, stars as star.
func elements(text string) []int16 {
	out := []int16{'"'}
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '*':
			out = append(out, star)
		case '\\':
			i++
			out = append(out, int16(text[i]))
		default:
			out = append(out, int16(text[i]))
		}
	}
	return append(out, '"')
}

// leaving returns the bytes that lead on from a set of states. A byte that no
// state waits for only keeps the stars, which another byte does as well.
func leaving(globs [][]int16, set []globState) []int16 {
	var out []int16
	for _, s := range set {
		if g := globs[s.glob]; s.read < len(g) && g[s.read] != star {
			out = append(out, g[s.read])
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// step returns the states after a byte, sorted. A state at a star stays; one
// before a star is past it as well, since a star matches nothing too.
func step(globs [][]int16, set []globState, c int16) []globState {
	var next []globState
	for _, s := range set {
		g := globs[s.glob]
		if s.read > 0 && g[s.read-1] == star {
			next = append(next, s)
		}
		if s.read < len(g) && g[s.read] == c {
			s.read++
			next = append(next, s)
			if s.read < len(g) && g[s.read] == star {
				s.read++
				next = append(next, s)
			}
		}
	}
	slices.SortFunc(next, func(a, b globState) int {
		if a.glob != b.glob {
			return a.glob - b.glob
		}
		return a.read - b.read
	})
	return slices.Compact(next)
}

func stateKey(set []globState) string {
	key := make([]byte, 0, 6*len(set))
	for _, s := range set {
		key = append(key, byte(s.glob>>16), byte(s.glob>>8), byte(s.glob), byte(s.read>>16), byte(s.read>>8), byte(s.read))
	}
	return string(key)
}
