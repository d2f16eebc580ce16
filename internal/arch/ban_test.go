package arch_test

import (
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// public are the packages that others may import.
var public = []string{"event", "pattern", "transform", "signature", "lambdahttp"}

// ban forbids mentions of an imported package's names.
type ban struct {
	pkg   string
	names []string // exact names, or with * at the end a prefix
	where func(f *goFile) bool
	why   string
}

func (b *ban) has(name string) bool {
	return slices.ContainsFunc(b.names, func(want string) bool {
		prefix, open := strings.CutSuffix(want, "*")
		return want == name || open && strings.HasPrefix(name, prefix)
	})
}

func inProduct(f *goFile) bool { return !f.test && !forTests(f.dir) }

func inPublic(f *goFile) bool { return !f.test && slices.Contains(public, f.dir) }

func inLibraries(f *goFile) bool { return !f.test && f.ast.Name.Name != "main" }

// Exceptions, each with its reason.
var (
	// dials are the packages that may open connections.
	dials = map[string]string{
		"internal/egress": "it is the guard",
		"internal/client": "asks the admin port that its caller names",
		"internal/bench":  "the load generator, and the limit programs, which have nothing of Grapnel",
		"internal/cli":    "send posts to the public port of the server that the operator names",
	}
	// listens are the packages that may open ports.
	listens = map[string]string{
		"internal/daemon": "the two ports",
		"internal/bench":  "the limit programs and the receiver",
		"internal/cli":    "the receiver of the demo",
	}
)

func noDial(f *goFile) bool { return inProduct(f) && dials[f.dir] == "" }

func noListen(f *goFile) bool { return inProduct(f) && listens[f.dir] == "" }

var bans = []ban{
	{
		"time",
		[]string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker", "AfterFunc"},
		inPublic,
		"public packages have no clock of their own: take the time as an argument",
	},
	{
		"os",
		[]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"},
		inPublic,
		"public packages read no environment: take the value as an argument",
	},
	{"fmt", []string{"Print*"}, inLibraries, "write to the writer that you were given, or log (house style 23)"},
	{"os", []string{"Exit"}, inLibraries, "only main exits: return an error"},
	{"log", []string{"*"}, inProduct, "log with slog, by the logger that you were given (house style 23)"},
	{"log/slog", []string{"Default", "SetDefault", "Info*", "Warn*", "Error*", "Debug*"}, inProduct, "no global logger (house style 7): use the one that you were given"},
	{"time", []string{"Sleep"}, inProduct, "wait on a timer and the context (house style 21)"},
	{
		"net",
		[]string{"Dial*"},
		noDial,
		"only egress opens connections, so that its guard sees all of them: take a transport of it",
	},
	{
		"crypto/tls",
		[]string{"Dial*"},
		noDial,
		"only egress opens connections, so that its guard sees all of them: take a transport of it",
	},
	{
		"net/http",
		[]string{"DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm"},
		noDial,
		"only egress opens connections, so that its guard sees all of them: take a client of it",
	},
	{"net", []string{"Listen*"}, noListen, "only daemon opens ports: take a listener"},
	{"net/http", []string{"ListenAndServe*", "DefaultServeMux", "Handle", "HandleFunc"}, inProduct, "only daemon opens ports, on muxes of its own"},
	{"math/rand", []string{"*"}, func(*goFile) bool { return true }, "use math/rand/v2 or crypto/rand"},
}

func TestBans(t *testing.T) {
	t.Parallel()
	all := source(t)
	for _, f := range all.files {
		for _, b := range bans {
			if !b.where(f) {
				continue
			}
			f.selectors(b.pkg, func(sel *ast.SelectorExpr) {
				if b.has(sel.Sel.Name) {
					t.Errorf("%s: %s.%s: %s", all.at(sel), b.pkg, sel.Sel.Name, b.why)
				}
			})
		}
	}
}

// TestOnlyEgressBuildsTransports finds what the names alone do not show: values made of the types.
func TestOnlyEgressBuildsTransports(t *testing.T) {
	t.Parallel()
	all := source(t)
	for _, f := range all.files {
		if !noDial(f) {
			continue
		}
		http := f.imported("net/http")
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || http == "" {
				return true
			}
			sel, ok := lit.Type.(*ast.SelectorExpr)
			if !ok || !isName(sel.X, http) {
				return true
			}
			if sel.Sel.Name == "Transport" || sel.Sel.Name == "Client" && !hasKey(lit, "Transport") {
				t.Errorf("%s: http.%s: only egress builds transports, so that its guard sees every connection: take one of it",
					all.at(lit), sel.Sel.Name)
			}
			return true
		})
	}
}

func hasKey(lit *ast.CompositeLit, name string) bool {
	return slices.ContainsFunc(lit.Elts, func(e ast.Expr) bool {
		kv, ok := e.(*ast.KeyValueExpr)
		return ok && isName(kv.Key, name)
	})
}

// TestNoTestIsSkipped holds that what is not run does not count as passed. An action of a rapid state
// machine that has nothing to do may say so, and a benchmark proves nothing that could be left unproven.
func TestNoTestIsSkipped(t *testing.T) {
	t.Parallel()
	all := source(t)
	for _, f := range all.files {
		pkg := f.imported("testing")
		if pkg == "" {
			continue
		}
		for _, call := range skips(f.ast, pkg) {
			if !strings.HasPrefix(around(f, call), "Benchmark") {
				t.Errorf("%s: a skipped test is a failure in CI: make it run everywhere, or give it a build tag", all.at(call))
			}
		}
	}
}

// skips returns the calls of Skip, Skipf and SkipNow on a parameter whose type is of package testing.
func skips(root ast.Node, pkg string) []*ast.CallExpr {
	var found []*ast.CallExpr
	var within func(n ast.Node, ours map[string]bool)
	within = func(n ast.Node, ours map[string]bool) {
		ast.Inspect(n, func(m ast.Node) bool {
			var sig *ast.FuncType
			var body *ast.BlockStmt
			switch m := m.(type) {
			case *ast.FuncDecl:
				sig, body = m.Type, m.Body
			case *ast.FuncLit:
				sig, body = m.Type, m.Body
			case *ast.CallExpr:
				sel, ok := m.Fun.(*ast.SelectorExpr)
				if id, named := selected(sel, ok, "Skip", "Skipf", "SkipNow"); named && ours[id] {
					found = append(found, m)
				}
			}
			if sig == nil || body == nil {
				return true
			}
			inner := maps.Clone(ours)
			for _, p := range sig.Params.List {
				for _, name := range p.Names {
					inner[name.Name] = ofPackage(p.Type, pkg)
				}
			}
			within(body, inner)
			return false
		})
	}
	within(root, map[string]bool{})
	return found
}

// selected returns the identifier before the dot, if the name behind it is one of names.
func selected(sel *ast.SelectorExpr, ok bool, names ...string) (string, bool) {
	if !ok || !slices.Contains(names, sel.Sel.Name) {
		return "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", false
	}
	return id.Name, true
}

// ofPackage reports whether a type is one of the package, or a pointer to one.
func ofPackage(e ast.Expr, pkg string) bool {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	sel, ok := e.(*ast.SelectorExpr)
	return ok && isName(sel.X, pkg)
}

// awsNames are words of AWS in identifiers.
var awsNames = regexp.MustCompile(`(?i:aws)|Lambda|lambda|[Dd]ynamo|Sqs|SQS|Sns|SNS|[Ss]ig[Vv]4|CloudWatch|[Cc]loud[Ff]ront`)

// awsPlaces are where they may be declared. A folder stands for what is below it.
var awsPlaces = map[string]string{
	"internal/awsapi":                 "the AWS wire API",
	"internal/destination/apigateway": "a kind that calls AWS",
	"internal/destination/awscall":    "what those kinds share",
	"internal/destination/lambda":     "a kind that calls AWS",
	"internal/function":               "the Lambda Runtime API",
	"lambdahttp":                      "the formats of Lambda's HTTP events",
	"signature":                       "schemes of AWS",
	"pattern":                         "AWSLimits: the limits that AWS sets on the same patterns",
	"internal/config":                 "the section aws: what envelopes say, and answer: aws",
	"internal/ingest":                 "answer: aws, the statuses and bodies of AWS's inbound webhook functions",
	"internal/daemon":                 "wires the two",
	"internal/cli":                    "writes an example",
}

func TestAWSNamesStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	all := source(t)
	for _, f := range all.product() {
		if awsPlaces[f.dir] != "" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			for _, id := range declares(n) {
				if awsNames.MatchString(id.Name) {
					t.Errorf("%s: %s is a name of AWS; they belong to the kinds and surfaces that speak with AWS", all.at(id), id.Name)
				}
			}
			return true
		})
	}
}

// declares returns the identifiers that the node itself declares.
func declares(n ast.Node) []*ast.Ident {
	switch n := n.(type) {
	case *ast.FuncDecl:
		return []*ast.Ident{n.Name}
	case *ast.TypeSpec:
		return []*ast.Ident{n.Name}
	case *ast.ValueSpec:
		return n.Names
	case *ast.Field:
		return n.Names
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return nil
		}
		var names []*ast.Ident
		for _, e := range n.Lhs {
			if id, ok := e.(*ast.Ident); ok {
				names = append(names, id)
			}
		}
		return names
	default:
		return nil
	}
}

// TestNoTestWaitsByTheClock holds house style 33. Sleep is the clock inside a synctest bubble, and
// nothing else: a package whose tests have no bubble has no Sleep. A benchmark may poll with it,
// nothing passes or fails by that.
func TestNoTestWaitsByTheClock(t *testing.T) {
	t.Parallel()
	all := source(t)
	for dir, files := range packages(all.files) {
		bubbles := slices.ContainsFunc(files, func(f *goFile) bool { return f.imported("testing/synctest") != "" })
		for _, f := range files {
			if !f.test && !forTests(dir) {
				continue
			}
			f.selectors("time", func(sel *ast.SelectorExpr) {
				if sel.Sel.Name == "Sleep" && !bubbles && !strings.HasPrefix(around(f, sel), "Benchmark") {
					t.Errorf("%s: time.Sleep waits by the clock of the wall (house style 33): use testing/synctest, a channel, "+
						"or a condition of the state", all.at(sel))
				}
			})
		}
	}
}

// around returns the name of the function that the node is in.
func around(f *goFile, n ast.Node) string {
	for _, d := range f.ast.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Pos() <= n.Pos() && n.End() <= fn.End() {
			return fn.Name.Name
		}
	}
	return ""
}
