#!/bin/sh
# Writes shell completions into dist-files/, from where packages and archives take them.
set -eu
mkdir -p dist-files/completions
go run ./cmd/grapnel completion bash >dist-files/completions/grapnel.bash
go run ./cmd/grapnel completion zsh >dist-files/completions/_grapnel
go run ./cmd/grapnel completion fish >dist-files/completions/grapnel.fish
