package signature_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/signature"
)

func TestLookup(t *testing.T) {
	t.Parallel()
	const doc = `{"a":{"b":[10,{"c":"\u00fc\n"},null]},"x/y":1e3,"m~n":true,"":"empty","dup":1,"dup":{"k":2},
		"a2":{"b":1},"a2":{"c":2},"e":"\ud83d\ude00","lone":"\ud83d!"}`
	tests := []struct {
		ptr, want string
		ok        bool
	}{
		{"/a/b/0", "10", true},
		{"/a/b/1/c", "ü\n", true},
		{"/a/b/2", "", false},
		{"/a/b/3", "", false},
		{"/a/b/00", "", false},
		{"/a/b/-", "", false},
		{"/a/b", "", false},
		{"/x~1y", "1e3", true},
		{"/m~0n", "true", true},
		{"/", "empty", true},
		{"/dup", "", false},
		{"/dup/k", "2", true},
		{"/a2/b", "", false},
		{"/a2/c", "2", true},
		{"/e", "😀", true},
		{"/lone", "\ufffd!", true},
		{"", "", false},
	}
	for _, tt := range tests {
		got, ok, valid := signature.Lookup([]byte(doc), tt.ptr)
		if got != tt.want || ok != tt.ok || !valid {
			t.Errorf("Lookup(%q) = %q, %v, %v, want %q, %v", tt.ptr, got, ok, valid, tt.want, tt.ok)
		}
	}
}

func TestLookupAllInOnePass(t *testing.T) {
	t.Parallel()
	got := signature.LookupAll([]byte(`{"b":{"c":1,"d":"x"},"a":[{"b":2}]}`), "/a/0/b", "/b/d", "/b/c", "/none", "/b")
	if diff := cmp.Diff([]string{"2", "x", "1", "", ""}, got); diff != "" {
		t.Errorf("LookupAll differs (-want +got):\n%s", diff)
	}
}

func TestFirstName(t *testing.T) {
	t.Parallel()
	tests := []struct {
		doc, skip, want string
		ok              bool
	}{
		{`{"update_id":1,"message":{}}`, "update_id", "message", true},
		{`{"message":{},"update_id":1}`, "update_id", "message", true},
		{`{"update_id":1}`, "update_id", "", false},
		{`[]`, "", "", false},
		{`{}`, "", "", false},
		{`{"a"`, "", "a", true},
	}
	for _, tt := range tests {
		if got, ok := signature.FirstName([]byte(tt.doc), tt.skip); got != tt.want || ok != tt.ok {
			t.Errorf("FirstName(%s) = %q, %v, want %q, %v", tt.doc, got, ok, tt.want, tt.ok)
		}
	}
}

// naive is the lookup by encoding/json.
func naive(data []byte, ptr string) (text string, ok, valid bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if !json.Valid(data) || dec.Decode(&v) != nil {
		return "", false, false
	}
	if ptr != "" {
		for token := range strings.SplitSeq(ptr[1:], "/") {
			token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
			switch parent := v.(type) {
			case map[string]any:
				if v, ok = parent[token]; !ok {
					return "", false, true
				}
			case []any:
				i, err := strconv.Atoi(token)
				if err != nil || i < 0 || i >= len(parent) || strconv.Itoa(i) != token {
					return "", false, true
				}
				v = parent[i]
			default:
				return "", false, true
			}
		}
	}
	switch v := v.(type) {
	case string:
		return v, true, true
	case json.Number:
		return v.String(), true, true
	case bool:
		return strconv.FormatBool(v), true, true
	default:
		return "", false, true
	}
}

func FuzzLookup(f *testing.F) {
	for _, doc := range []string{
		`{"a":{"b":[1,"x"]}}`, `{"a":1,"a":{"b":2}}`, `[{"a":"\ud83d\u0041"}]`, `{"\u0061":{"b":"é"}}`,
		"{\"a\xff\":1}", `{"a":-0.5e+1}`, `{"a":01}`, `{"a":"` + "\t" + `"}`, ` null `, `{"a":[],}`, `"\x"`,
	} {
		for _, ptr := range []string{"", "/a", "/a/b", "/a/b/1", "/0/a", "/a\ufffd"} {
			f.Add([]byte(doc), ptr)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, ptr string) {
		if ptr != "" && (ptr[0] != '/' || strings.Contains(ptr, "~")) {
			return
		}
		text, ok, valid := signature.Lookup(data, ptr)
		wantText, wantOK, wantValid := naive(data, ptr)
		if text != wantText || ok != wantOK || valid != wantValid {
			t.Errorf("Lookup(%q, %q) = %q, %v, %v, encoding/json has %q, %v, %v",
				data, ptr, text, ok, valid, wantText, wantOK, wantValid)
		}
	})
}
