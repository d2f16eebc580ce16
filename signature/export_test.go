package signature

// Lookup returns the text at a JSON pointer of data, as verifiers and locators see it; valid is
// false if data is not a JSON text.
func Lookup(data []byte, ptr string) (text string, ok, valid bool) {
	p, isPointer := parsePointer(ptr)
	if !isPointer {
		return "", false, true
	}
	var at [1]found
	if find(data, []pointer{p}, at[:]) != nil {
		return "", false, false
	}
	b, ok := at[0].text(nil, data)
	return string(b), ok, true
}

// LookupAll looks several pointers up in one pass.
func LookupAll(data []byte, ptrs ...string) []string {
	var list []pointer
	for _, text := range ptrs {
		p, _ := parsePointer(text)
		list = append(list, p)
	}
	at := make([]found, len(list))
	if find(data, list, at) != nil {
		return nil
	}
	texts := make([]string, len(list))
	for i, f := range at {
		b, _ := f.text(nil, data)
		texts[i] = string(b)
	}
	return texts
}

// FirstName returns the first member name that is not skip.
func FirstName(data []byte, skip string) (string, bool) { return firstName(data, skip) }
