package config

import (
	"slices"

	"github.com/grapnel/grapnel/internal/spec"
)

// Location is what it takes to find the Grapnel that runs by a file.
type Location struct {
	Listen string
	TLS    *TLS
	Admin  Admin
	Data   string
}

// located are the paths of what Locate reads; the file itself has the empty one.
var located = []string{
	"", "listen", "admin", "admin.listen", "admin.auth", "data",
	"tls", "tls.cert", "admin.tls", "admin.tls.cert",
}

// Locate reads where a Grapnel is that runs by the file. Nothing else in the file has to be right:
// the server may have been started before it was broken, and whoever asks may lack the environment
// that its secrets come from. The problems are those that keep it from being found.
func Locate(file string, data []byte, o Options) (Location, []spec.Problem) {
	report := &spec.Report{File: file}
	var where Location
	root := parse(report, data, &expander{env: o.Env, read: o.ReadFile, files: map[string]fileText{}})
	if root != nil {
		spec.Decode(report, root, &where)
	}
	return where, slices.DeleteFunc(spec.Errors(report.Problems()), func(p spec.Problem) bool {
		return !slices.Contains(located, p.Path)
	})
}

// Fields describes the part of the file that is read.
func (w *Location) Fields() []spec.Field {
	return []spec.Field{listenField(&w.Listen), tlsField(&w.TLS), adminField(&w.Admin), dataField(&w.Data)}
}
