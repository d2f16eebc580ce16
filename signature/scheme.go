package signature

import (
	"encoding/base64"
	"net/textproto"
	"slices"
	"sync"
	"time"
)

// inKV is the place of a timestamp that stands in the signature header itself.
const inKV = "kv"

// How signatures are written.
const (
	parsePlain  = "plain"
	parsePrefix = "prefix"
	parseList   = "list"
	parseKV     = "kv"

	encHex    = "hex"
	encBase64 = "base64"
)

// maxCandidates bounds the signatures in one header, since each may cost a public key operation.
const maxCandidates = 64

// maxKept bounds the buffers that outlive a request.
const maxKept = 64 << 10

// base64Strict is the standard alphabet with padding, whose unused bits are zero (RFC 4648 3.5).
var base64Strict = base64.StdEncoding.Strict()

// scheme is the part that mac and pubkey share: find the signature, build the signed bytes, judge
// the time. The keys are the matcher's.
type scheme struct {
	profile  Profile
	matcher  matcher
	keyCount int
	content  template
	ptrs     []pointer
	sigNames []string
	sigPtr   int
	tsIn     string
	tsNames  []string
	tsPtr    int
	// tsLate says that the time is no part of the signed text and stands in the body, so that it is
	// read after the signature has been checked.
	tsLate bool
	// formOnly says that of the body only its form fields are signed.
	formOnly  bool
	require   []requirement
	tolerance time.Duration
	pool      sync.Pool
}

// matcher checks the candidates in the scratch space against all keys.
type matcher interface {
	// match returns the index of the first key that made one of the candidates, -1 for none. It
	// tries all keys and all candidates whatever it finds.
	match(s *scratch, req *Request) int
	// state returns what the matcher keeps in the scratch space.
	state() any
}

// requirement is a header that must have one of the values; value i is for key i unless there is
// only one.
type requirement struct {
	header string
	values []string
}

// segment is a part of the signed bytes: a span of scratch.text, the body or the secret.
type segment struct {
	kind       kind
	start, end int
}

// scratch is the working space of one verification.
type scratch struct {
	raw        []byte
	decoded    []byte
	candidates [][]byte
	ts         string
	sent       time.Time
	text       []byte
	segments   []segment
	urls       []string
	found      []found
	scanned    bool
	form       []pair
	formText   []byte
	decodedAll bool
	usable     []bool
	sum        []byte
	state      any
}

// compileScheme compiles what mac and pubkey share.
func compileScheme(p *Profile, c *Config, keyCount int) (*scheme, error) {
	s := &scheme{profile: *p, keyCount: keyCount, sigPtr: -1, tsPtr: -1}
	s.tolerance = time.Duration(p.Tolerance) * time.Second
	if p.Enc != encHex && p.Enc != encBase64 {
		return nil, p.bad("unknown encoding %q", p.Enc)
	}
	content, err := parseTemplate(p.Content, &s.ptrs)
	if err != nil {
		return nil, p.bad("%v", err)
	}
	if content.has(kindFirstName) || len(content) == 0 {
		return nil, p.bad("unusable content %q", p.Content)
	}
	s.content = content
	if err := s.setParams(c); err != nil {
		return nil, err
	}
	if err := s.setSig(); err != nil {
		return nil, err
	}
	if err := s.setTS(); err != nil {
		return nil, err
	}
	for _, v := range p.URLVariants {
		if !slices.Contains(knownVariants(), v) {
			return nil, p.bad("unknown URL variant %q", v)
		}
	}
	s.formOnly = content.has(kindFormSorted) && !content.has(kindBody)
	return s, nil
}

// setParams puts the configured parameters into content and requirements.
func (c *scheme) setParams(config *Config) error {
	for i, p := range c.content {
		if p.kind != kindParam {
			continue
		}
		values := config.Params[p.name]
		if len(values) != 1 || values[0] == "" {
			return c.profile.bad("parameter %q needs one value", p.name)
		}
		c.content[i] = piece{kind: kindText, name: values[0]}
	}
	for _, r := range c.profile.Require {
		values := config.Params[r.Param]
		if len(values) != 1 && len(values) != c.keyCount {
			return c.profile.bad("parameter %q needs one value, or one for each secret", r.Param)
		}
		if slices.Contains(values, "") {
			return c.profile.bad("parameter %q is empty", r.Param)
		}
		c.require = append(c.require, requirement{textproto.CanonicalMIMEHeaderKey(r.Header), values})
	}
	return nil
}

// setSig checks where the signature is and how it is parsed.
func (c *scheme) setSig() error {
	p, sig := &c.profile, c.profile.Sig
	if sig == nil || first(sig.Name) == "" {
		return p.bad("no place for the signature")
	}
	switch sig.Parse {
	case parsePlain:
	case parsePrefix:
		if sig.Prefix == "" {
			return p.bad("no prefix")
		}
	case parseList:
		if sig.Sep == "" {
			return p.bad("no separator")
		}
	case parseKV:
		if sig.Sep == "" || sig.SigKey == "" {
			return p.bad("no separator or no key of the signature")
		}
		if p.Enc != encHex {
			return p.bad("a pair holds one =, so its signature must be hex")
		}
	default:
		return p.bad("unknown way %q to parse a signature", sig.Parse)
	}
	var err error
	c.sigNames, c.sigPtr, err = c.place(sig.In, sig.Name)
	return err
}

// setTS checks where the time of sending is.
func (c *scheme) setTS() error {
	p := &c.profile
	if p.Sig.Parse == parseKV && p.Sig.TSKey != "" {
		c.tsIn = inKV
	}
	if p.TS != nil && !slices.Contains([]string{unitSeconds, unitMillis, unitRFC3339, unitHTTP}, p.TS.Unit) {
		return p.bad("unknown unit %q of the timestamp", p.TS.Unit)
	}
	if p.TS != nil && (p.TS.In != inKV || c.tsIn != inKV) {
		if c.tsIn != "" || first(p.TS.Name) == "" {
			return p.bad("no place, or two, for the timestamp")
		}
		c.tsIn = p.TS.In
		var err error
		if c.tsNames, c.tsPtr, err = c.place(p.TS.In, p.TS.Name); err != nil {
			return err
		}
	}
	if c.tsIn == "" && (p.Tolerance != 0 || c.content.has(kindTS)) {
		return p.bad("no place for the timestamp")
	}
	if p.Tolerance < 0 {
		return p.bad("negative tolerance")
	}
	c.tsLate = (c.tsIn == inJSON || c.tsIn == inForm) && !c.content.has(kindTS)
	return nil
}

// place returns the canonical header names, or the index of the pointer.
func (c *scheme) place(in string, names Names) (headers []string, ptr int, err error) {
	switch in {
	case inHeader:
		return canonical(names), -1, nil
	case inForm:
		return names, -1, nil
	case inJSON:
		if ptr, err = addPointer(names[0], &c.ptrs); err != nil {
			return nil, -1, c.profile.bad("%v", err)
		}
		return names, ptr, nil
	default:
		return nil, -1, c.profile.bad("unknown place %q", in)
	}
}

// bind sets the matcher and the pool, which needs its state.
func (c *scheme) bind(m matcher) *scheme {
	c.matcher = m
	c.pool.New = func() any {
		return &scratch{
			found:  make([]found, len(c.ptrs)),
			usable: make([]bool, c.keyCount),
			state:  m.state(),
		}
	}
	return c
}
