package cli

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is set by the linker: -X github.com/grapnel/grapnel/internal/cli.version=v1.2.3.
var version = "dev"

// buildVersion returns the version that the linker was given, else that of the
// module or commit it was built from.
func buildVersion() string {
	if version != "dev" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return version
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return version + "-" + s.Value[:12]
		}
	}
	return version
}

type versionText struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (a *app) newVersion() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: none,
		Long: "Print the version of this binary." + exitsOffline,
		RunE: func(*cobra.Command, []string) error {
			v := versionText{buildVersion(), strings.TrimPrefix(runtime.Version(), "go"), runtime.GOOS, runtime.GOARCH}
			if a.json {
				return a.out.json(v)
			}
			a.out.line("grapnel %s (go %s, %s/%s)", v.Version, v.Go, v.OS, v.Arch)
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}
