package signature

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verify implements check.
func (c *scheme) verify(req *Request, now time.Time) (Proof, error) {
	s, _ := c.pool.Get().(*scratch)
	defer c.release(s)
	return c.prove(s, req, now)
}

// prove judges the request in the scratch space, which is empty.
func (c *scheme) prove(s *scratch, req *Request, now time.Time) (Proof, error) {
	key, reason, detail := c.judge(s, req, now)
	if reason != "" {
		return Proof{}, c.profile.refuse(reason, detail)
	}
	return Proof{Profile: c.profile.Name, KeyIndex: key, Timestamp: s.sent}, nil
}

// release returns the scratch space to the pool, without what belongs to the request.
func (c *scheme) release(s *scratch) {
	clear(s.urls)
	clear(s.form)
	clear(s.candidates)
	s.ts, s.sent, s.scanned, s.decodedAll = "", time.Time{}, false, false
	s.candidates, s.urls, s.form = s.candidates[:0], s.urls[:0], s.form[:0]
	if cap(s.formText) > maxKept || cap(s.text) > maxKept {
		s.formText, s.text = nil, nil
	}
	c.pool.Put(s)
}

// judge goes through the checks in the order of the package's rules.
func (c *scheme) judge(s *scratch, req *Request, now time.Time) (key int, r Reason, detail string) {
	if r, detail = c.locate(s, req); r != "" {
		return -1, r, detail
	}
	if r = c.parse(s); r != "" {
		return -1, r, ""
	}
	if !c.tsLate {
		if r, detail = c.readTime(s, req); r != "" {
			return -1, r, detail
		}
	}
	if r, detail = c.required(s, req); r != "" {
		return -1, r, detail
	}
	hash, hashed, r := c.bodyHash(req)
	if r != "" {
		return -1, r, c.profile.BodyHashParam
	}
	if key, r, detail = c.compare(s, req); r != "" {
		return -1, r, detail
	}
	if hashed && !sameHash(hash, req.Body) {
		return -1, BadBodyHash, c.profile.BodyHashParam
	}
	if c.tsLate {
		if r, detail = c.readTime(s, req); r != "" {
			return -1, r, detail
		}
	}
	return key, fresh(s.sent, now, c.tolerance), ""
}

// compare tries every spelling of the URL against every key.
func (c *scheme) compare(s *scratch, req *Request) (key int, r Reason, detail string) {
	if c.content.has(kindURL) {
		s.urls = spell(s.urls, req.URL, c.profile.URLVariants)
	} else {
		s.urls = append(s.urls, "")
	}
	key = -1
	for _, url := range s.urls {
		if r, detail = c.fill(s, req, url); r != "" {
			return -1, r, detail
		}
		key = pick(key, c.matcher.match(s, req))
	}
	if key < 0 {
		return -1, BadSignature, ""
	}
	return key, "", ""
}

// pick returns a if it is not -1, otherwise b, without a branch on either.
func pick(a, b int) int {
	return subtle.ConstantTimeSelect(subtle.ConstantTimeEq(int32(a), -1), b, a)
}

// locate reads the text of the signature into s.raw.
func (c *scheme) locate(s *scratch, req *Request) (Reason, string) {
	text, r := c.read(s, req, c.profile.Sig.In, c.sigNames, c.sigPtr)
	switch {
	case r != "":
		return r, c.sigNames[0]
	case text == "":
		return MissingSignature, c.sigNames[0]
	}
	s.raw = append(s.raw[:0], text...)
	return "", ""
}

// read returns the text at a place, "" if there is none.
func (c *scheme) read(s *scratch, req *Request, in string, names []string, ptr int) (string, Reason) {
	switch in {
	case inHeader:
		return req.oneOf(names)
	case inJSON:
		if r := c.scan(s, req); r != "" {
			return "", r
		}
		text, _ := s.found[ptr].text(nil, req.Body)
		return string(text), ""
	default:
		value, _, r := c.field(s, req, names[0])
		return string(value), r
	}
}

// scan looks all pointers up, once.
func (c *scheme) scan(s *scratch, req *Request) Reason {
	if s.scanned {
		return ""
	}
	if find(req.Body, c.ptrs, s.found) != nil {
		return MalformedBody
	}
	s.scanned = true
	return ""
}

// fields decodes the form, once. A body of another type has no fields.
func (c *scheme) fields(s *scratch, req *Request) Reason {
	if s.decodedAll || !req.isForm() {
		return ""
	}
	var ok bool
	if s.form, s.formText, ok = parseForm(s.form[:0], s.formText[:0], req.Body); !ok {
		return MalformedBody
	}
	s.decodedAll = true
	return ""
}

// field returns a field of the form.
func (c *scheme) field(s *scratch, req *Request, name string) (value []byte, ok bool, r Reason) {
	if r := c.fields(s, req); r != "" {
		return nil, false, r
	}
	for _, p := range s.form {
		if string(p.name) != name {
			continue
		}
		if ok {
			return nil, false, DuplicateParameter
		}
		value, ok = p.value, true
	}
	return value, ok, ""
}

// readTime reads and parses the time of sending.
func (c *scheme) readTime(s *scratch, req *Request) (Reason, string) {
	unit := unitSeconds
	if c.profile.TS != nil {
		unit = c.profile.TS.Unit
	}
	switch c.tsIn {
	case "":
		return "", ""
	case inKV:
	default:
		var r Reason
		if s.ts, r = c.read(s, req, c.tsIn, c.tsNames, c.tsPtr); r != "" {
			return r, c.tsNames[0]
		}
	}
	if s.ts == "" {
		return MissingTimestamp, ""
	}
	var ok bool
	if s.sent, ok = parseTime(s.ts, unit); !ok {
		return MalformedTimestamp, ""
	}
	return "", ""
}

// required checks the headers that must equal parameters and notes which keys they choose.
func (c *scheme) required(s *scratch, req *Request) (Reason, string) {
	for i := range s.usable {
		s.usable[i] = true
	}
	for _, rule := range c.require {
		value, r := req.one(rule.header)
		switch {
		case r != "":
			return r, rule.header
		case value == "":
			return MissingHeader, rule.header
		}
		known := false
		for i := range s.usable {
			want := rule.values[min(i, len(rule.values)-1)]
			s.usable[i] = s.usable[i] && want == value
			known = known || s.usable[i]
		}
		if !known {
			return UnknownKey, rule.header
		}
	}
	return "", ""
}

// bodyHash returns the hash of the body that the URL carries. It must be there for a body that the
// signature does not cover otherwise, and where it is there it counts: a signed URL with a hash must
// not be good for another body under another content type.
func (c *scheme) bodyHash(req *Request) (hash string, ok bool, r Reason) {
	uncovered := c.formOnly && len(req.Body) > 0 && !req.isForm()
	name := c.profile.BodyHashParam
	if name == "" {
		if uncovered {
			return "", false, MalformedBody
		}
		return "", false, ""
	}
	hash, ok, r = req.query(name)
	switch {
	case r == DuplicateParameter:
		return "", false, r
	case uncovered && hash == "":
		return "", false, MissingBodyHash
	default:
		return hash, ok, ""
	}
}

// sameHash reports whether text is the hexadecimal SHA-256 of the body.
func sameHash(text string, body []byte) bool {
	want := sha256.Sum256(body)
	got, ok := appendHex(nil, []byte(text))
	return ok && subtle.ConstantTimeCompare(want[:], got) == 1
}

// fill puts the signed bytes into s.segments and s.text.
func (c *scheme) fill(s *scratch, req *Request, url string) (Reason, string) {
	s.text, s.segments = s.text[:0], s.segments[:0]
	for i := range c.content {
		p := &c.content[i]
		start := len(s.text)
		switch p.kind {
		case kindBody, kindSecret:
			s.segments = append(s.segments, segment{kind: p.kind})
			continue
		case kindURL:
			s.text = append(s.text, url...)
		default:
			if r := c.piece(s, req, p); r != "" {
				return r, p.name
			}
		}
		s.segments = append(s.segments, segment{kindText, start, len(s.text)})
	}
	return "", ""
}

// piece appends the text of one piece of the template to s.text.
func (c *scheme) piece(s *scratch, req *Request, p *piece) Reason {
	switch p.kind {
	case kindText:
		s.text = append(s.text, p.name...)
	case kindTS:
		s.text = append(s.text, s.ts...)
	case kindMethod:
		s.text = append(s.text, req.Method...)
	case kindCRC32:
		s.text = strconv.AppendUint(s.text, uint64(crc32.ChecksumIEEE(req.Body)), 10)
	case kindHeader:
		return headerPiece(s, req, p)
	case kindJSON:
		if r := c.scan(s, req); r != "" {
			return r
		}
		var ok bool
		if s.text, ok = s.found[p.index].text(s.text, req.Body); !ok {
			return MissingField
		}
	case kindForm:
		value, ok, r := c.field(s, req, p.name)
		if r == "" && !ok {
			r = MissingField
		}
		s.text = append(s.text, value...)
		return r
	case kindFormSorted:
		return c.sortedForm(s, req)
	default:
	}
	return ""
}

// headerPiece appends a header value.
func headerPiece(s *scratch, req *Request, p *piece) Reason {
	value, r := req.one(p.name)
	switch {
	case r != "":
		return r
	case value == "":
		return MissingHeader
	case p.end != 0 && strings.IndexByte(value, p.end) >= 0:
		return MalformedHeader
	}
	s.text = append(s.text, value...)
	return ""
}

// sortedForm appends every distinct name, sorted by bytes, with each of its distinct values.
func (c *scheme) sortedForm(s *scratch, req *Request) Reason {
	if r := c.fields(s, req); r != "" {
		return r
	}
	slices.SortFunc(s.form, func(a, b pair) int {
		if order := bytes.Compare(a.name, b.name); order != 0 {
			return order
		}
		return bytes.Compare(a.value, b.value)
	})
	for i, p := range s.form {
		if i > 0 && bytes.Equal(p.name, s.form[i-1].name) && bytes.Equal(p.value, s.form[i-1].value) {
			continue
		}
		s.text = append(append(s.text, p.name...), p.value...)
	}
	return ""
}
