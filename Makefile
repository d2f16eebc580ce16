# Grapnel. The two commands of the README are `go run ./cmd/grapnel demo` and `make test`.

GO      ?= go
BIN     := $(CURDIR)/bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X github.com/grapnel/grapnel/internal/cli.version=$(VERSION)
LINT_VERSION := v2.15.0

.PHONY: build test test-short test-real crash bench lint fmt generate tidy-check fuzz clean

build: ## one static binary in bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/grapnel ./cmd/grapnel

test: ## everything that needs only Go: race detector, random order, scripts against the real binary, short crash rounds
	$(GO) vet ./...
	$(GO) test -race -shuffle=on -timeout 15m ./...

test-short: ## what is fast enough for every save
	$(GO) test -short -timeout 2m ./...

test-real: ## the libraries with which providers sign and receivers verify, from npm
	$(GO) test -tags real -count=1 -timeout 15m -run 'TestReal' ./internal/e2e/...

crash: ## the long form of the crash rounds: kill -9 under load, every acknowledged event accounted for
	GRAPNEL_CRASH_ROUNDS=500 $(GO) test -count=1 -timeout 60m -v -run 'TestCrash' ./internal/e2e/...

bench: build ## the hot path, and the whole binary against the limits of this machine
	$(GO) test -run '^$$' -bench . -benchmem ./event ./pattern ./transform ./signature ./internal/store/... ./internal/deliver ./internal/ingest ./internal/bus ./internal/destination/...
	$(BIN)/grapnel bench --full

lint: $(BIN)/golangci-lint ## golangci-lint with .golangci.yml
	$(BIN)/golangci-lint run ./...

$(BIN)/golangci-lint:
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION) || \
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)

fmt: $(BIN)/golangci-lint
	$(BIN)/golangci-lint fmt ./...

generate: ## rewrite the generated pages of docs/ and golden files
	$(GO) test ./internal/api ./internal/arch ./internal/config -run 'Generated|Golden|Reference' -update

tidy-check: ## go.mod and go.sum say what the code says
	$(GO) mod tidy -diff

fuzz: ## a minute for each fuzz target
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime 60s $$pkg || exit 1; \
	  done; done

clean:
	rm -rf $(BIN)
