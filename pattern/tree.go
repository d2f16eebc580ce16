package pattern

import (
	"bytes"
	"strings"
)

// tree holds the flattened paths that some pattern names, cut at their dots,
// so that a walk over an event knows at each key whether to look further.
type tree struct {
	nodes []node
	paths int
}

type node struct {
	children []child
	index    map[string]int32 // used once there are many children
	blank    int32            // node for an empty key, once the tree is sealed, or none
	path     int32            // number of the path that ends here, or none
	depth    int32            // segments from the root
}

type child struct {
	name string
	node int32
}

const (
	none         = int32(-1)
	root         = int32(0)
	manyChildren = 8
)

func newTree() *tree { return &tree{nodes: []node{{path: none}}} }

// add returns the number of a path, which is new or not.
func (t *tree) add(path string) int32 {
	at := root
	for name := range strings.SplitSeq(path, ".") {
		next := t.child(at, []byte(name))
		if next == none {
			next = t.grow(at, name)
		}
		at = next
	}
	n := &t.nodes[at]
	if n.path == none {
		n.path = int32(t.paths)
		t.paths++
	}
	return n.path
}

// seal ends the adding of paths. It finds what an empty key of an event leads
// to: below the top such a key ends no path, since the service splits the
// paths of its patterns at the dots and loses an empty end. It may be on the
// way to longer paths.
func (t *tree) seal() {
	twins := map[int32]int32{} // the same node, but no path ends there
	for at := root; int(at) < len(t.nodes); at++ {
		next := t.child(at, nil)
		if next != none && at != root && t.nodes[next].path != none {
			twin, ok := twins[next]
			if !ok {
				twin = int32(len(t.nodes))
				twins[next] = twin
				t.nodes = append(t.nodes, t.nodes[next])
				t.nodes[twin].path = none
			}
			next = twin
		}
		t.nodes[at].blank = next
	}
}

// number returns the number of a path that was added, or none.
func (t *tree) number(path string) int32 {
	at := root
	for name := range strings.SplitSeq(path, ".") {
		if at = t.child(at, []byte(name)); at == none {
			return none
		}
	}
	return t.nodes[at].path
}

func (t *tree) grow(parent int32, name string) int32 {
	id := int32(len(t.nodes))
	t.nodes = append(t.nodes, node{path: none, depth: t.nodes[parent].depth + 1})
	p := &t.nodes[parent]
	p.children = append(p.children, child{name, id})
	if len(p.children) <= manyChildren {
		return id
	}
	if p.index == nil {
		p.index = make(map[string]int32, 2*manyChildren)
		for _, c := range p.children {
			p.index[c.name] = c.node
		}
	}
	p.index[name] = id
	return id
}

// child returns the node below a node for one segment, or none.
func (t *tree) child(at int32, name []byte) int32 {
	n := &t.nodes[at]
	if n.index != nil {
		if id, ok := n.index[string(name)]; ok {
			return id
		}
		return none
	}
	for i := range n.children {
		if n.children[i].name == string(name) {
			return n.children[i].node
		}
	}
	return none
}

// descend returns the node below a node for a key of an event, or none. Dots
// in the key are the same as nesting.
func (t *tree) descend(at int32, key []byte) int32 {
	if len(key) == 0 {
		return t.nodes[at].blank
	}
	if next := t.child(at, key); next != none || bytes.IndexByte(key, '.') < 0 {
		return next
	}
	for name := range bytes.SplitSeq(key, []byte{'.'}) {
		if at = t.child(at, name); at == none {
			return none
		}
	}
	return at
}
