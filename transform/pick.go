package transform

// found is one value of the event: a slice of its bytes.
type found struct {
	raw    []byte
	spaced bool // holds insignificant blanks
}

// hit is a value found below a [*].
type hit struct {
	slot int
	found
}

// picker walks one document once and notes the values at the places of a path tree. Parts of the
// document that no path names are checked and passed over.
type picker struct {
	scanner
	one  []found // by slot, for paths without [*]
	hits []hit   // for paths with [*], in document order
	seen []bool  // by slot: the array of the first [*] is there, even if it is empty
}

// visit notes what the paths at and below n want of the value at p, and returns its end.
func (k *picker) visit(n *node, p int) int {
	from, blanks := p, k.blanks
	switch {
	case p < len(k.data) && k.data[p] == '{' && len(n.names) > 0:
		p = k.visitObject(n, p)
	case p < len(k.data) && k.data[p] == '[' && (n.all != nil || len(n.indexes) > 0):
		p = k.visitArray(n, p)
	default:
		p = k.value(p, 0)
	}
	if p >= 0 && n.ends {
		k.note(n, found{raw: k.data[from:p:p], spaced: k.blanks != blanks})
	}
	return p
}

func (k *picker) note(n *node, f found) {
	if n.many {
		k.hits = append(k.hits, hit{n.lo, f})
		return
	}
	k.one[n.lo] = f
}

func (k *picker) visitObject(n *node, p int) int {
	mark := len(k.hits)
	for p = k.first(p, '}'); p >= 0; {
		if k.data[p] == '}' {
			return p + 1
		}
		from := p
		if p = k.key(p); p < 0 {
			break
		}
		if to := n.match(k.data[from:p]); to != nil {
			k.forget(to, mark)
			p = k.visit(to, p)
		} else {
			p = k.value(p, 0)
		}
		if p < 0 {
			break
		}
		p = k.next(p, '}')
	}
	return -1
}

func (k *picker) visitArray(n *node, p int) int {
	if n.all != nil {
		for slot := n.all.lo; slot < n.all.hi; slot++ {
			k.seen[slot] = true
		}
	}
	i := 0
	for p = k.first(p, ']'); p >= 0; i++ {
		if k.data[p] == ']' {
			return p + 1
		}
		if p = k.visitElement(n, p, i); p < 0 {
			break
		}
		p = k.next(p, ']')
	}
	return -1
}

// visitElement visits element i for [i] and for [*], which are different places in the tree.
func (k *picker) visitElement(n *node, p, i int) int {
	end := 0
	for _, e := range n.indexes {
		if e.index == i {
			if end = k.visit(e.to, p); end < 0 {
				return -1
			}
		}
	}
	if n.all != nil {
		return k.visit(n.all, p)
	}
	if end > 0 {
		return end
	}
	return k.value(p, 0)
}

// forget drops what an earlier member of the same name in the same object gave: the last one
// counts. Of the hits only those from mark on belong to this object.
func (k *picker) forget(n *node, mark int) {
	if !n.many {
		clear(k.one[n.lo:n.hi])
		clear(k.seen[n.lo:n.hi])
	}
	kept := k.hits[:mark]
	for _, h := range k.hits[mark:] {
		if h.slot < n.lo || h.slot >= n.hi {
			kept = append(kept, h)
		}
	}
	k.hits = kept
}

// match finds the place for the member whose text starts with a quoted key.
func (n *node) match(member []byte) *node {
	end := closingQuote(member, 0)
	name := member[1:end]
	for _, e := range n.names {
		if e.name == string(name) {
			return e.to
		}
	}
	if !hasEscape(name) {
		return nil
	}
	return n.named(string(appendUnquoted(nil, member[:end+1])))
}

func hasEscape(b []byte) bool { return plainPrefix(b) < len(b) }
