package pattern

// An Event is an event whose envelope and detail are held apart: a gateway
// builds the envelope itself and keeps the body of the request as it came. It
// is matched as if the detail were the last member of the envelope.
type Event struct {
	// Envelope is a JSON object. It has no member "detail" when Detail is set.
	Envelope []byte
	// Detail is the JSON value of the member "detail"; nil when the envelope
	// is the whole event.
	Detail []byte
}

// scope is an element of an array, when that element is an object or array
// itself: what the language calls membership. Scopes form a tree below the
// whole event, which is scope 0.
type scope struct {
	parent     int32
	up         int32 // the next scope outwards whose array stands at fewer path segments
	jump       int32 // a scope further out, so that climbing takes few steps
	array      int32 // which array; elements of one array exclude each other
	level      int32 // scopes above
	depth      int32 // path segments at which the array stands
	start, end int32 // which leaves it has, by leaf.at
}

func (s *scope) has(at int32) bool { return at >= s.start && at < s.end }

// array is which leaves an array has.
type array struct{ start, end int32 }

// leaves are the parts of one event that some pattern asks about. They refer
// to the bytes of the event and are used again for the next one.
type leaves struct {
	reader  reader
	byPath  [][]leaf
	touched []int32 // paths that have leaves
	scopes  []scope
	arrays  []array
	clock   int32
	decoded []byte // text of strings with escapes
}

// tooLarge is how many leaves a collection may keep room for between events.
const tooLarge = 1 << 16

// reset forgets an event, so that its bytes are not kept alive. It reports
// whether the collection is worth keeping.
func (l *leaves) reset() bool {
	room := cap(l.scopes) + cap(l.arrays) + cap(l.decoded)/64
	for _, p := range l.touched {
		clear(l.byPath[p])
		room += cap(l.byPath[p])
		l.byPath[p] = l.byPath[p][:0]
	}
	l.reader = reader{}
	l.touched, l.scopes, l.arrays, l.clock, l.decoded = l.touched[:0], l.scopes[:0], l.arrays[:0], 0, l.decoded[:0]
	return room <= tooLarge
}

// collect reads an event. The leaves are in the order of the event.
func (l *leaves) collect(t *tree, e Event) error {
	if l.byPath == nil {
		l.byPath = make([][]leaf, t.paths)
	}
	const forever = 1<<31 - 1
	l.scopes = append(l.scopes, scope{array: none, end: forever})
	r := &l.reader
	r.data = e.Envelope
	if r.peek() != '{' {
		r.fail("the top level is not an object")
		return r.err
	}
	if !l.object(t, root, root) || !l.finished() {
		return r.err
	}
	if e.Detail == nil {
		return nil
	}
	r.data, r.pos, r.depth = e.Detail, 0, 1
	at := t.child(root, []byte("detail"))
	if !l.value(t, at, root) || !l.finished() {
		r.err.Detail = true
		return r.err
	}
	return nil
}

func (l *leaves) finished() bool {
	if l.reader.space(); l.reader.pos < len(l.reader.data) {
		return l.reader.fail("unexpected text after the value")
	}
	return true
}

// value reads a value at a node of the tree, or skips it when that is none.
func (l *leaves) value(t *tree, at, in int32) bool {
	r := &l.reader
	if at == none {
		return r.skip()
	}
	switch r.peek() {
	case '{':
		if len(t.nodes[at].children) == 0 {
			return r.skip()
		}
		return l.object(t, at, in)
	case '[':
		return l.array(t, at, in)
	case '"':
		content, escaped, ok := r.str()
		if !ok {
			return false
		}
		if escaped {
			content = l.unescape(content)
		}
		l.leaf(t.nodes[at].path, kindString, content, in)
		return true
	default:
		start := r.pos
		k := r.scalar()
		if k != 0 {
			l.leaf(t.nodes[at].path, k, r.data[start:r.pos], in)
		}
		return k != 0
	}
}

func (l *leaves) unescape(content []byte) []byte {
	start := len(l.decoded)
	l.decoded = unescape(l.decoded, content)
	return l.decoded[start:len(l.decoded):len(l.decoded)]
}

func (l *leaves) leaf(path int32, k kind, text []byte, in int32) {
	if path == none {
		return
	}
	if len(l.byPath[path]) == 0 {
		l.touched = append(l.touched, path)
	}
	l.byPath[path] = append(l.byPath[path], leaf{text: text, kind: k, scope: in, at: l.clock})
	l.clock++
}

func (l *leaves) object(t *tree, at, in int32) bool {
	r := &l.reader
	if !r.enter() {
		return false
	}
	if r.empty('}') {
		return true
	}
	for next := true; next; {
		key, escaped, ok := r.key()
		if !ok {
			return false
		}
		if escaped {
			key = l.unescape(key)
		}
		if !l.value(t, t.descend(at, key), in) {
			return false
		}
		if next, ok = r.more('}'); !ok {
			return false
		}
	}
	return true
}

func (l *leaves) array(t *tree, at, in int32) bool {
	r := &l.reader
	if !r.enter() {
		return false
	}
	if r.empty(']') {
		return true
	}
	id := int32(len(l.arrays))
	l.arrays = append(l.arrays, array{start: l.clock})
	for next := true; next; {
		within := in
		if c := r.peek(); c == '{' || c == '[' {
			within = l.enterElement(in, id, t.nodes[at].depth)
		}
		if !l.value(t, at, within) {
			return false
		}
		if within != in {
			l.scopes[within].end = l.clock
		}
		more, ok := r.more(']')
		if !ok {
			return false
		}
		next = more
	}
	l.arrays[id].end = l.clock
	return true
}

// enterElement opens the scope of an element that is an object or array.
func (l *leaves) enterElement(in, id, depth int32) int32 {
	parent := &l.scopes[in]
	inner := scope{
		parent: in, up: in, jump: in, array: id,
		level: parent.level + 1, depth: depth, start: l.clock,
	}
	if parent.depth == inner.depth {
		inner.up = parent.up
	}
	// Jumps of the lengths of a skew binary number: any scope outwards is a
	// logarithmic number of jumps and steps away.
	far := &l.scopes[parent.jump]
	if parent.level-far.level == far.level-l.scopes[far.jump].level {
		inner.jump = far.jump
	}
	l.scopes = append(l.scopes, inner)
	return int32(len(l.scopes) - 1)
}
