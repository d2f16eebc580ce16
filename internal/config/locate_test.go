package config_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/spec"
)

func locate(text string) (config.Location, []spec.Problem) {
	none := func(string) (string, bool) { return "", false }
	return config.Locate("test.yaml", []byte(text), config.Options{Env: none, ReadFile: os.ReadFile})
}

func TestLocateFindsTheServerOfAFileThatIsBroken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		text string
		want config.Location
	}{
		"defaults": {
			"",
			config.Location{Listen: ":8080", Admin: config.Admin{Listen: "127.0.0.1:8081", Auth: "token"}, Data: "./data"},
		},
		"secrets that only the server has": {
			"data: /srv/hooks\nsources: {github: {provider: github, secrets: [\"${NOT_SET}\"]}}\n",
			config.Location{Listen: ":8080", Admin: config.Admin{Listen: "127.0.0.1:8081", Auth: "token"}, Data: "/srv/hooks"},
		},
		"unknown keys, wrong types and keys of later versions": {
			"listen: \":1\"\nadmin: {listen: \"127.0.0.1:2\", aws_auth: none, colour: red}\nsources: 7\nfunctions: {}\nsorces: {}\n",
			config.Location{Listen: ":1", Admin: config.Admin{Listen: "127.0.0.1:2", Auth: "token"}, Data: "./data"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, problems := locate(tc.text)
			if diff := cmp.Diff(tc.want, got); diff != "" || len(problems) > 0 {
				t.Errorf("Locate: %s, problems %v", diff, problems)
			}
		})
	}
}

func TestLocateReportsWhatHidesTheServer(t *testing.T) {
	t.Parallel()
	for text, path := range map[string]string{
		"admin: {listen: nowhere}": "admin.listen", "admin: 7": "admin", "data: [a]": "data",
		"data: \"${NOT_SET}\"": "data", "listen: {}": "listen", "a: {": "",
	} {
		if _, problems := locate(text); len(problems) != 1 || problems[0].Path != path {
			t.Errorf("Locate(%q): problems %v, want one at %q", text, problems, path)
		}
	}
}
