package cli

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"

	"github.com/spf13/cobra"
)

// whsec is the prefix of Standard Webhooks, which also says how the secret is
// written and how long it is: base64 of 24 to 64 bytes.
const whsec = "whsec_"

func (a *app) newSecret() *cobra.Command {
	var size int
	var prefix string
	fresh := &cobra.Command{
		Use: "new", Short: "Make a good secret and print it", Args: none,
		Long: `Make a random secret and print it: in hexadecimal, which every provider takes, or with
--prefix whsec_ as Standard Webhooks has it, in base64. It is kept nowhere.` + exitsOffline,
		Example: `  export GITHUB_SECRET=$(grapnel secret new)
  (umask 077; grapnel secret new --prefix whsec_ > secrets/crm)`,
		RunE: func(*cobra.Command, []string) error { return a.secretNew(size, prefix) },
	}
	fresh.Flags().IntVar(&size, "bytes", 32, "random bytes in it, 16 to 512; with whsec_ 24 to 64")
	fresh.Flags().StringVar(&prefix, "prefix", "", "text in front of it; whsec_ makes it one of Standard Webhooks")
	return group("secret", "Make secrets", fresh)
}

func (a *app) secretNew(size int, prefix string) error {
	least, most := 16, 512
	if prefix == whsec {
		least, most = 24, 64
	}
	if size < least || size > most {
		return usage("32 are good", "--bytes is %d to %d here, not %d", least, most, size)
	}
	raw := make([]byte, size)
	_, _ = rand.Read(raw) // never fails: crypto/rand aborts the program instead
	text := hex.EncodeToString(raw)
	if prefix == whsec {
		text = base64.StdEncoding.EncodeToString(raw)
	}
	a.out.line("%s", prefix+text)
	return nil
}
