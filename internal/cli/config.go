package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/grapnel/grapnel/internal/api"
	"github.com/grapnel/grapnel/internal/config"
	"github.com/grapnel/grapnel/internal/destination/all"
)

func (a *app) newConfig() *cobra.Command {
	reference := &cobra.Command{
		Use: "reference", Short: "Print every key of the configuration file, as Markdown", Args: none,
		Long: "Print the reference of the configuration file: every key with type, default and an\nexample." + exitsOffline,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write([]byte(config.Reference(all.Specs())))
			return err
		},
	}
	schema := &cobra.Command{
		Use: "schema", Short: "Print the JSON schema of the configuration file, for editors", Args: none,
		Long: `Print the JSON schema of the configuration file. Editors complete and check by it:

  grapnel config schema > grapnel.schema.json

and as the first line of the file

  # yaml-language-server: $schema=grapnel.schema.json` + exitsOffline,
		RunE: func(*cobra.Command, []string) error {
			text, err := config.Schema(all.Specs())
			if err != nil {
				return fmt.Errorf("writing the schema: %w", err)
			}
			a.out.line("%s", text)
			return nil
		},
	}
	example := &cobra.Command{
		Use: "example", Short: "Print a small configuration with comments", Args: none,
		Long: "Print the configuration that grapnel init starts from." + exitsOffline,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write([]byte(config.Example))
			return err
		},
	}
	return group("config", "Describe the configuration file", reference, schema, example)
}

func (a *app) newOpenAPI() *cobra.Command {
	return &cobra.Command{
		Use: "openapi", Short: "Print the OpenAPI document of the admin API", Args: none,
		Long: "Print the OpenAPI document of the admin API, as the server has it at /openapi.json." + exitsOffline,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write(api.Document())
			return err
		},
	}
}
