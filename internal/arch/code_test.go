package arch_test

import (
	"cmp"
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/deliver"
	"github.com/grapnel/grapnel/internal/fault"
)

// faultCode explains one code of package fault for docs/errors.md.
type faultCode struct{ code, what, next string }

// faultGroup is where codes come from.
type faultGroup struct {
	title, intro string
	codes        []faultCode
}

// faultGroups explain every code that is not in api.Codes. A new code needs a row: it is what a person
// looks up.
var faultGroups = []faultGroup{
	{"Events and rules", "", []faultCode{
		{"unknown_bus", "The bus that is named is not in the configuration.", "Add it under buses, or use default."},
		{"malformed_event", "The event is not JSON that can be matched: broken, or nested too deep.", "Correct the event."},
		{"rule_not_found", "No rule has this name.", "Check the name: grapnel rules list."},
		{"nothing_matches", "A replay would cause no delivery: no rule matches the event now.", "grapnel events explain says which field misses; correct the rule's pattern."},
		{"invalid_pattern", "The pattern is not a valid event pattern; the message says where.", "Correct it; grapnel pattern test tries patterns without a server."},
		{"invalid_event", "The event to try a pattern with cannot be matched.", "Give a whole envelope as JSON."},
	}},
	{"Deliveries and destinations", "", []faultCode{
		{deliver.HoldTargetRemoved, "A delivery cannot be retried: its rule or target is not in the configuration.", "Add it again, or leave the delivery."},
		{deliver.HoldDestinationRemoved, "A delivery cannot be retried: its destination is not in the configuration.", "Add it again, or leave the delivery."},
		{deliver.HoldDestinationDisabled, "A delivery cannot be retried: its destination is disabled.", "grapnel destinations enable, then retry."},
		{"attempt_in_progress", "The delivery is being attempted at this moment.", "Ask again when the attempt has ended."},
		{"already_final", "The delivery has ended, so that there is nothing to cancel.", "Nothing."},
		{"disabled_in_configuration", "The destination cannot be enabled: the file disables it.", "Remove disabled from the destination in the file."},
	}},
	{"The store", "While the store cannot write, senders get 503 with Retry-After and send again.", []faultCode{
		{"store_unavailable", "The store cannot write to its disk, or is shutting down.", "Look at the log for the cause; it is tried again by itself."},
		{"store_full", "The disk is full. What was accepted is still delivered.", "Free space, or lower retention."},
		{"batch_too_large", "What should be stored at once is over the limit of one batch.", "Send less; lower max_body on the source."},
		{"batch_ambiguous", "One batch has the same event or delivery twice: a bug.", "Report it with the log line."},
		{"record_not_found", "Nothing is stored at this position; it may have left with its retention.", "Check the position."},
		{"record_damaged", "A stored record cannot be read as it was written.", "Look at grapnel status; check the disk."},
		{"record_newer", "A stored record was written by a newer Grapnel.", "Start the newer version."},
		{"index_unavailable", "The index cannot be written, so that lists would not be complete.", "Check space and rights of the data directory; the index catches up by itself."},
		{"segment_in_use", "A part of the journal that is still needed should have been dropped: a bug.", "Report it with the log line."},
		{"state_not_found", "No record of the state has this key.", "Nothing: whoever asks copes with it."},
		{"state_changed", "A record of the state was changed by someone else in between.", "Try again."},
	}},
	{"Start, reload and stop", "", []faultCode{
		{"config_unreadable", "The configuration file cannot be read.", "Check path and rights, or make one: grapnel init."},
		{"cannot_listen", "A port cannot be opened: in use, or not allowed.", "Stop what listens there, or change listen or admin.listen."},
		{"admin_token_too_short", "The admin token in the data directory was changed to one that could be guessed.", "Delete the file; a new one is made at the next start."},
		{"data_dir_unusable", "The data directory cannot be made or written.", "Check data in the configuration, the rights, and the disk."},
		{"data_dir_locked", "Another Grapnel runs on this data directory.", "Stop it, or choose another directory: two would destroy each other's work."},
		{"data_dir_newer", "The data directory was written by a newer Grapnel.", "Start the newer version, or restore what this one wrote."},
		{"data_dir_foreign", "The version file in the data directory is not one of Grapnel.", "Choose an empty directory."},
		{"journal_unreadable", "The disk does not give back the newest records.", "Check the disk; copy the segment that the message names before anything else."},
		{"state_newer", "The state was written by a newer Grapnel.", "Start the newer version."},
		{"state_unreadable", "The state (disabled destinations, keys) cannot be read.", "Restore state.db from a backup, or move it away: what it held is then gone."},
		{"restart_needed", "A key has changed that is read at the start only, so that the new file was not taken.", "Restart grapnel serve, or undo the change."},
		{"stop_timeout", "Something did not end in the time that a stop has. Nothing is lost: what was not finished is done after the next start.", "Look at the log for what it was."},
	}},
	{"Values in the configuration", "`grapnel check` and `grapnel serve` print problems of the file with line and column, not with these codes; programs " +
		"that use the packages see them.", []faultCode{
		{"invalid_config", "The value is not one that this key takes.", "The message says what is."},
		{"invalid_name", "Not a name: 1 to 64 letters, digits, _, - and dots.", "Choose another name."},
		{"unknown_word", "Not one of the words that this key takes.", "The message lists them."},
		{"empty", "The value must not be empty.", "Give one, or leave the key out."},
		{"empty_secret", "A secret is empty, so that anybody could sign.", "Check the variable or file that it comes from."},
		{"invalid_url", "Not a complete address.", "Write it with https:// and a host."},
		{"invalid_network", "Not a network such as 10.0.0.0/8.", "Correct it."},
		{"invalid_header", "Not the name of a header.", "Correct it."},
		{"fixed_header", "A header that Grapnel sets itself.", "Leave it out."},
		{"invalid_method", "Not an HTTP method that carries a message.", "Use POST, PUT or PATCH."},
		{"invalid_username", "A user name for basic authentication with a colon in it (RFC 7617).", "Choose another."},
		{"invalid_function", "Not the name or ARN of a Lambda function.", "Copy the ARN from AWS."},
		{"invalid_resource", "Not the name, ARN or URL of a resource in AWS of the kind that the key takes.", "Copy the ARN from AWS."},
		{"invalid_region", "Not an AWS region.", "Write it as us-east-1."},
		{"invalid_qualifier", "Neither a version nor an alias of a function.", "Correct it."},
		{"invalid_endpoint", "An endpoint with credentials or a query in it.", "Leave them out."},
		{"invalid_certificate", "A file of certificates cannot be read, or does not hold what it should.", "Check its path, rights and contents; the message says which file."},
	}},
	{"The command line", "", []faultCode{
		{"usage", "The command line is wrong.", "See --help of the command."},
		{"unreachable", "Grapnel does not answer where it was asked.", "Start it: grapnel serve; or say where it is with --admin."},
		{"not_running", "Nothing listens at the address.", "Start it: grapnel serve; or say where it is with --admin."},
		{"unknown_host", "The host of the address cannot be found.", "Check --admin."},
		{"no_connection", "The connection failed.", "Read the message; check --admin, and networks in between."},
		{"no_answer", "The server did not answer in time.", "Look at its log."},
		{"not_grapnel", "Something else answers at the address.", "Check --admin: the admin port is meant, 8081 unless it was changed."},
		{"bad_admin_url", "The address of the admin port is not of the form http://host:port.", "Correct --admin."},
		{"cursor_loop", "The server gave the same page twice: a bug.", "Report it."},
		{"token_unreadable", "The file with the admin token cannot be read.", "Ask as the user that runs grapnel serve, or give --token-file."},
		{"config_invalid", "The file has problems, so that the server cannot be found by it.", "grapnel check lists them."},
		{"file_exists", "A file is there already and is not overwritten.", "Choose another directory, or use --force if the command has it."},
		{"provider_not_found", "No provider has this name.", "grapnel providers lists them."},
		{"binary_body", "The body is not text, which a terminal must not get.", "Send it to a file."},
	}},
}

// computed are codes that the source does not spell out where the fault is made.
var computed = map[string][]string{
	"internal/deliver hold":  {deliver.HoldTargetRemoved, deliver.HoldDestinationRemoved, deliver.HoldDestinationDisabled},
	"internal/client p.Code": nil, // what the server said
}

// usedCodes returns the codes of all faults that the product makes, each with its kinds.
func usedCodes(t *testing.T) map[string][]fault.Kind {
	t.Helper()
	all := source(t)
	used := map[string][]fault.Kind{}
	for dir, p := range checked() {
		for _, f := range p.files {
			name := f.imported(module + "internal/fault")
			if name == "" {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				kind, arg := faultOf(call, name)
				if arg == nil {
					return true
				}
				text := all.text(f, arg)
				codes, known := computed[dir+" "+text]
				if code, ok := constantText(arg, p.info); ok {
					codes = []string{code}
				} else if !known {
					t.Errorf("%s: the code %s of a fault is no constant: list what it can be in computed", all.at(arg), text)
				}
				for _, code := range codes {
					if !slices.Contains(used[code], kind) {
						used[code] = append(used[code], kind)
					}
				}
				return true
			})
		}
	}
	return used
}

// faultOf returns the kind (0 if it is computed) and the code argument of a call of fault.New or
// fault.Wrap.
func faultOf(call *ast.CallExpr, pkg string) (fault.Kind, ast.Expr) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !isName(sel.X, pkg) {
		return 0, nil
	}
	at := map[string]int{"New": 1, "Wrap": 2}[sel.Sel.Name]
	if at == 0 || len(call.Args) <= at {
		return 0, nil
	}
	if k, ok := call.Args[0].(*ast.SelectorExpr); ok {
		for kind := fault.Internal; kind <= fault.Canceled; kind++ {
			if strings.ReplaceAll(kind.String(), "_", "") == strings.ToLower(k.Sel.Name) {
				return kind, call.Args[at]
			}
		}
	}
	return 0, call.Args[at]
}

func (t *tree) text(f *goFile, n ast.Node) string {
	return string(f.text[t.fset.Position(n.Pos()).Offset:t.fset.Position(n.End()).Offset])
}

// constantText returns the text of a literal or of a constant of the package.
func constantText(e ast.Expr, info *types.Info) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		c, ok := info.Uses[e].(*types.Const)
		if !ok || c.Val().Kind() != constant.String {
			return "", false
		}
		return constant.StringVal(c.Val()), true
	default:
		return "", false
	}
}

// explained returns all codes that docs/errors.md explains.
func explained(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	add := func(code string) {
		if known[code] {
			t.Errorf("the code %q is explained twice", code)
		}
		known[code] = true
	}
	for _, c := range api.Codes() {
		add(c.Code)
	}
	for _, g := range faultGroups {
		for _, c := range g.codes {
			add(c.code)
			if !strings.HasSuffix(c.what, ".") || !strings.HasSuffix(c.next, ".") {
				t.Errorf("the code %q is not explained in sentences: %q, %q", c.code, c.what, c.next)
			}
		}
	}
	return known
}

// TestEveryFaultCodeIsExplained holds house style 13 and 14: what a person or a program can be told has
// a row in docs/errors.md, and no row has lost its code.
func TestEveryFaultCodeIsExplained(t *testing.T) {
	t.Parallel()
	known, used := explained(t), usedCodes(t)
	if len(used) < 40 {
		t.Fatalf("found %d codes: the search is wrong", len(used))
	}
	for _, code := range slices.Sorted(maps.Keys(used)) {
		if code != "" && !known[code] {
			t.Errorf("the fault code %q has no row in docs/errors.md: explain it in faultGroups of internal/arch, then "+
				"go test ./internal/arch -update", code)
		}
	}
	for _, g := range faultGroups {
		for _, c := range g.codes {
			if _, ok := used[c.code]; !ok {
				t.Errorf("no fault has the code %q anymore: remove its row", c.code)
			}
		}
	}
}

// exits reads the table of exit codes from the source of the command line.
func exits(t *testing.T) []faultCode {
	t.Helper()
	source(t)
	cli := checked()["internal/cli"]
	var rows []faultCode
	for _, f := range cli.files {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || v.Names[0].Name != "exitMeanings" || len(v.Values) != 1 {
				return true
			}
			for _, e := range v.Values[0].(*ast.CompositeLit).Elts {
				row := e.(*ast.CompositeLit).Elts
				number := cli.info.Uses[row[0].(*ast.Ident)].(*types.Const).Val().ExactString()
				text, _ := constantText(row[1], cli.info)
				rows = append(rows, faultCode{code: number, what: strings.Join(strings.Fields(text), " ")})
			}
			return false
		})
	}
	if len(rows) < 5 {
		t.Fatalf("found %d exit codes in internal/cli: the search is wrong", len(rows))
	}
	return rows
}

// statuses words the HTTP statuses with which the API sends a code.
func statuses(kinds []fault.Kind) string {
	var list []string
	for _, k := range slices.SortedFunc(slices.Values(kinds), cmp.Compare[fault.Kind]) {
		if k != 0 {
			list = append(list, strconv.Itoa(k.Status()))
		}
	}
	return strings.Join(list, ", ")
}
