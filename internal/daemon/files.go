package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"syscall"

	"github.com/grapnel/grapnel/internal/fault"
	"github.com/grapnel/grapnel/internal/secret"
	"github.com/grapnel/grapnel/internal/store"
)

// TokenFile is the name of the file in the data directory that holds the admin
// token, mode 0600. The CLI finds it there.
const TokenFile = "admin.token"

// adminToken reads the admin token, or makes one at the first start.
func adminToken(path string, log *slog.Logger) (secret.String, error) {
	text, err := os.ReadFile(path)
	if err == nil {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			log.Warn("the admin token can be read by others", slog.String("file", path),
				slog.String("mode", info.Mode().Perm().String()), slog.String("hint", "chmod 600 "+path))
		}
		token := strings.TrimSpace(string(text))
		if len(token) < 16 {
			return secret.String{}, fault.New(fault.Invalid, "admin_token_too_short",
				"the admin token in %s has fewer than 16 characters", path).
				WithHint("delete the file; a new token is made at the next start")
		}
		return secret.New(token), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return secret.String{}, fmt.Errorf("reading the admin token: %w", err)
	}
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails: crypto/rand aborts the program instead
	token := "gat_" + hex.EncodeToString(raw)
	if err := writeNew(path, token+"\n"); err != nil {
		return secret.String{}, fmt.Errorf("writing the admin token: %w", err)
	}
	return secret.New(token), nil
}

// writeNew writes a file that appears whole or not at all.
func writeNew(path, text string) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// generationKey is the random key of this data directory with which the
// configuration is named, so that the name tells nothing about its secrets.
func generationKey(ctx context.Context, state store.State) ([]byte, error) {
	const key = "config/generation-key"
	record, err := state.Get(ctx, key)
	if err == nil {
		return record.Value, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return nil, fmt.Errorf("reading the generation key: %w", err)
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails: crypto/rand aborts the program instead
	if _, err := state.CompareAndSwap(ctx, key, 0, fresh); err != nil {
		return nil, fmt.Errorf("storing the generation key: %w", err)
	}
	return fresh, nil
}

func listenError(key, address string, err error) error {
	f := fault.Wrap(fault.Conflict, err, "cannot_listen", "cannot listen on %s (%s)", address, key)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return f.WithHint("another process listens there: stop it, or change %s in the configuration", key)
	case errors.Is(err, syscall.EACCES):
		return f.WithHint("ports below 1024 need a privilege: choose another, or give the binary cap_net_bind_service")
	}
	return f.WithHint("change %s in the configuration", key)
}

func dataError(dir string, err error) error {
	return fault.Wrap(fault.Invalid, err, "data_dir_unusable", "the data directory %s cannot be made", dir).
		WithHint("change data in the configuration, or the rights of its parent directory")
}

func configFileError(path string, err error) error {
	f := fault.Wrap(fault.Invalid, err, "config_unreadable", "the configuration file %s cannot be read", path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.WithHint("make one with: grapnel init")
	}
	return f
}

// logReveal shows a text of a handshake that the owner of a source has to copy
// to the provider once. It is no secret of ours: the provider sent it in clear.
func logReveal(log *slog.Logger, source, text string) {
	log.Warn("the provider wants this text confirmed in its settings",
		slog.String("source", source), slog.String("text", text))
}
