package signature

import "bytes"

// parse splits s.raw into decoded candidates. Those that cannot be decoded are skipped if others
// can.
func (c *scheme) parse(s *scratch) Reason {
	// Decoding never grows the text, so candidates may point into s.decoded.
	if cap(s.decoded) < len(s.raw) {
		s.decoded = make([]byte, 0, len(s.raw))
	}
	s.decoded = s.decoded[:0]
	sig := c.profile.Sig
	switch sig.Parse {
	case parsePlain:
		return c.candidate(s, s.raw)
	case parsePrefix:
		rest, ok := bytes.CutPrefix(s.raw, []byte(sig.Prefix))
		if !ok {
			return MalformedSignature
		}
		return c.candidate(s, rest)
	case parseList:
		return c.parseList(s)
	default:
		return c.parseKV(s)
	}
}

// parseList takes the elements with the prefix; others belong to schemes that are not configured.
func (c *scheme) parseList(s *scratch) Reason {
	reason := MalformedSignature
	sep, prefix := []byte(c.profile.Sig.Sep), []byte(c.profile.Sig.Prefix)
	for rest, more := s.raw, true; more; {
		var element []byte
		element, rest, more = bytes.Cut(rest, sep)
		if text, ok := bytes.CutPrefix(element, prefix); ok && c.candidate(s, text) == "" {
			reason = ""
		}
		if len(s.candidates) > maxCandidates {
			return MalformedSignature
		}
	}
	return reason
}

// parseKV takes the pairs with the key of signatures and the one timestamp. A pair without exactly
// one "=" spoils the header.
func (c *scheme) parseKV(s *scratch) Reason {
	sig := c.profile.Sig
	sep, present, timed := []byte(sig.Sep), false, false
	for rest, more := s.raw, true; more; {
		var element []byte
		element, rest, more = bytes.Cut(rest, sep)
		// Some senders write a space behind the separator.
		key, value, ok := bytes.Cut(bytes.TrimLeft(element, " "), []byte{'='})
		if !ok || bytes.IndexByte(value, '=') >= 0 {
			return MalformedSignature
		}
		switch {
		case string(key) == sig.SigKey:
			present = true
			// An undecodable one is skipped; whether any is left is seen below.
			_ = c.candidate(s, value)
		case sig.TSKey != "" && string(key) == sig.TSKey:
			if timed {
				return MalformedSignature
			}
			s.ts, timed = string(value), true
		}
		if len(s.candidates) > maxCandidates {
			return MalformedSignature
		}
	}
	switch {
	case !present:
		return MissingSignature
	case len(s.candidates) == 0:
		return MalformedSignature
	default:
		return ""
	}
}

// candidate decodes one signature and adds it.
func (c *scheme) candidate(s *scratch, text []byte) Reason {
	start := len(s.decoded)
	var ok bool
	if c.profile.Enc == encHex {
		s.decoded, ok = appendHex(s.decoded, text)
	} else {
		s.decoded, ok = appendBase64(s.decoded, text)
	}
	if !ok {
		s.decoded = s.decoded[:start]
		return MalformedSignature
	}
	s.candidates = append(s.candidates, s.decoded[start:len(s.decoded):len(s.decoded)])
	return ""
}

// appendHex appends the bytes of hexadecimal text of either case.
func appendHex(dst, text []byte) ([]byte, bool) {
	if len(text)%2 != 0 {
		return dst, false
	}
	for i := 0; i < len(text); i += 2 {
		hi, lo := unhex(text[i]), unhex(text[i+1])
		if hi > 15 || lo > 15 {
			return dst, false
		}
		dst = append(dst, hi<<4|lo)
	}
	return dst, true
}

// appendBase64 appends the bytes of standard base64 with padding. The decoder skips line breaks,
// which must not be there.
func appendBase64(dst, text []byte) ([]byte, bool) {
	if bytes.ContainsAny(text, "\r\n") {
		return dst, false
	}
	out, err := base64Strict.AppendDecode(dst, text)
	return out, err == nil
}
