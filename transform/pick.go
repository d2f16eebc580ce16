package transform

// found is one value of the event: a slice of its bytes.
type found struct {
	raw    []byte
	at     int  // offset in the document
	spaced bool // holds insignificant blanks
}

// slot is what a path selects: one value, or with [*] a list of them.
type slot struct {
	found          // raw is nil if there is none
	isList bool    // the array of the first [*] is there, even if nothing below it is
	list   []found // in document order
}

// picker walks one document once and notes the values at the places of a path tree. Parts of the
// document that no path names are checked and passed over.
type picker struct {
	scanner
	slots []slot
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
		k.note(n, found{raw: k.data[from:p:p], at: from, spaced: k.blanks != blanks})
	}
	return p
}

func (k *picker) note(n *node, f found) {
	s := &k.slots[n.lo]
	if n.many {
		s.list = append(s.list, f)
		return
	}
	s.found = f
}

func (k *picker) visitObject(n *node, p int) int {
	start := p
	for p = k.first(p, '}'); p >= 0; {
		if k.data[p] == '}' {
			return p + 1
		}
		from := p
		if p = k.key(p); p < 0 {
			break
		}
		if to := n.match(k.data[from:p]); to != nil {
			k.forget(to, start)
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
		for i := n.all.lo; i < n.all.hi; i++ {
			k.slots[i].isList = true
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

// forget drops what an earlier member of the same name gave, in the object that starts at start:
// the last one counts. Of a list only the values from start on belong to this object.
func (k *picker) forget(n *node, start int) {
	for i := n.lo; i < n.hi; i++ {
		s := &k.slots[i]
		if !n.many {
			*s = slot{}
			continue
		}
		for len(s.list) > 0 && s.list[len(s.list)-1].at >= start {
			s.list = s.list[:len(s.list)-1]
		}
	}
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
