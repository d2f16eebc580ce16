package signature

// maxElements bounds a batch; a longer one stays one event.
const maxElements = 10000

// Split is how a provider puts several events into one request.
type Split struct {
	// At are JSON pointers to the array of events, in the order of preference; "" is the whole body.
	At []string `json:"at"`
	// Form is the field of a form that holds the JSON text, for senders whose body is none.
	Form string `json:"form,omitempty"`
	// ID and Type are where an element has its id and its type. Their pointers start at the element.
	ID   []Locator `json:"id,omitempty"`
	Type []Locator `json:"type,omitempty"`
}

// Element is one event of a batch.
type Element struct {
	// Body is the JSON text of the element, byte for byte as it stands in the request.
	Body []byte
	// ID is the id of the event, "" if it has none.
	ID string
	// Type is its type, the provider's DetailType if the element does not say.
	Type string
}

// SplitBatch returns the events of a request of several, in their order. It is false for a request
// that is none: the provider sends no batches, there is no array where one should be, or it is empty
// or longer than 10000. Such a request is one event, by DeliveryID and EventType. The bodies share
// the memory of the request's.
func (p *Provider) SplitBatch(req *Request) ([]Element, bool) {
	if p.Split == nil {
		return nil, false
	}
	text := req.Body
	if p.Split.Form != "" {
		var ok bool
		if text, ok = req.formField(p.Split.Form); !ok {
			return nil, false
		}
	}
	for _, at := range p.Split.At {
		items, ok := arrayAt(text, at)
		if !ok {
			continue
		}
		list := make([]Element, len(items))
		for i, item := range items {
			one := Request{Body: item}
			list[i] = Element{Body: item, ID: locate(&one, p.Split.ID, maxID), Type: locate(&one, p.Split.Type, maxType)}
			if list[i].Type == "" {
				list[i].Type = p.DetailType
			}
		}
		return list, true
	}
	return nil, false
}

// formField returns the field of a form, decoded, if it is there once.
func (r *Request) formField(name string) (value []byte, ok bool) {
	if !r.isForm() {
		return nil, false
	}
	pairs, _, valid := parseForm(nil, nil, r.Body)
	for _, p := range pairs {
		if string(p.name) != name {
			continue
		}
		if ok {
			return nil, false
		}
		value, ok = p.value, true
	}
	return value, ok && valid
}

// arrayAt returns the elements of the array at the pointer, at least one.
func arrayAt(text []byte, at string) ([][]byte, bool) {
	ptr, ok := parsePointer(at)
	var span [1]found
	if !ok || find(text, []pointer{ptr}, span[:]) != nil {
		return nil, false
	}
	items, ok := elements(text[span[0].start:span[0].end])
	return items, ok && len(items) > 0
}

// elements returns the elements of a valid JSON array. It is false for anything else, and for more
// than maxElements.
func elements(array []byte) ([][]byte, bool) {
	s := finder{data: array}
	if !s.at('[') {
		return nil, false
	}
	var items [][]byte
	for s.space(); !s.at(']'); s.space() {
		if len(items) > 0 {
			if !s.at(',') {
				return nil, false
			}
			s.space()
		}
		start := s.pos
		if !s.value(1, 0) || len(items) == maxElements {
			return nil, false
		}
		items = append(items, array[start:s.pos:s.pos])
	}
	return items, true
}
