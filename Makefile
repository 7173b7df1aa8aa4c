# Every development task of Jotsmith. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .cache/bin
# From the newest tag; a source tree without git is built as "dev".
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/jotsmith
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/jotsmith ./cmd/jotsmith

# Signatures by BoringCrypto, which takes a fifth less for one than the standard
# library and allocates next to nothing. On Linux, with cgo; docs/performance.md says
# when it is worth it.
.PHONY: build-boring
build-boring: ## build bin/jotsmith-boring, which signs with keys in files by BoringCrypto
	CGO_ENABLED=1 GOEXPERIMENT=boringcrypto go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/jotsmith-boring ./cmd/jotsmith

.PHONY: test-boring
test-boring: ## test what signs in the process, by BoringCrypto
	CGO_ENABLED=1 GOEXPERIMENT=boringcrypto go test -count=1 ./backends/filekey

.PHONY: test
test: ## install what is missing, then run every check and test
	@AGAINST=$(AGAINST) deploy/tools/test.sh

# Directories with files that are compiled only without cgo.
nocgo-packages = $(addprefix ./,$(sort $(dir $(shell grep -rlE '^//go:build .*!cgo' --include='*.go' backends service cmd))))

.PHONY: test-nocgo
test-nocgo: ## test, without cgo, the packages that have a variant for it
	CGO_ENABLED=0 go test -count=1 $(nocgo-packages)

.PHONY: lint
lint: lint-proto lint-go ## check the form of the proto files and the Go code

.PHONY: lint-proto
lint-proto: .cache/tools/buf
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code --path proto/jotsmith

.PHONY: lint-go
lint-go: .cache/tools/lint
	$(BIN)/golangci-lint run ./...

.PHONY: format
format: .cache/tools/buf .cache/tools/lint ## write Go and proto files in the form that lint asks for
	$(BIN)/golangci-lint fmt
	$(BIN)/buf format --write --path proto/jotsmith

# AGAINST=REF compares with REF instead of the newest release.
.PHONY: breaking
breaking: .cache/tools/buf ## fail when proto/ breaks the users of the newest release
	deploy/tools/breaking.sh $(AGAINST)

.PHONY: bench
bench: ## measure minting; cmd/internal/bench says what
	go run ./cmd/internal/bench

.PHONY: demo
demo: ## mint a token from nothing and verify it
	go run ./cmd/internal/demo

.PHONY: dev-hsm
dev-hsm: ## make a SoftHSM token with a key, for development
	deploy/dev/hsm.sh

.PHONY: dev-kms
dev-kms: ## run a KMS emulator with a key, until Ctrl-C
	deploy/dev/kms.sh install
	deploy/dev/kms.sh start

# go test takes one Fuzz function of one package at a time.
FUZZTIME ?= 20s
.PHONY: fuzz
fuzz: ## run each Fuzz function for FUZZTIME (20s)
	@grep -rnoE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' backends service cmd clients | while IFS=: read -r file _ func; do \
		echo "==> $$(dirname "$$file") $${func#func }"; \
		go test "./$$(dirname "$$file")" -run '^$$' -fuzz "^$${func#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x </dev/null; \
	done

# The server runs on Linux; macOS has everything too; Windows has the commands
# of a client. cgo is off, so PKCS#11 is the stub.
.PHONY: cross
cross: ## build for every system that is supported
	CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build ./...
	CGO_ENABLED=0 GOOS=linux GOARCH=arm64 go build ./...
	CGO_ENABLED=0 GOOS=darwin GOARCH=arm64 go build ./...
	CGO_ENABLED=0 GOOS=windows GOARCH=amd64 go build -o /dev/null ./cmd/jotsmith

.PHONY: clean
clean: ## remove what was built; installed tools and environments too
	rm -rf bin .cache

# The tools are built once from the exact versions in deploy/tools/*/go.mod and
# again when a go.sum changes. They are modules of their own because buf needs
# a pre-release of protobuf that the program must not link. They are built
# without -trimpath, so that they share the compiled standard library with tests.
tool-stamps := $(patsubst deploy/tools/%/go.mod,.cache/tools/%,$(wildcard deploy/tools/*/go.mod))

.PHONY: tools
tools: $(tool-stamps) ## build the pinned tools into .cache/bin

.cache/tools/%: deploy/tools/%/go.mod deploy/tools/%/go.sum
	@mkdir -p .cache/tools $(BIN)
	cd deploy/tools/$* && GOBIN=$(abspath $(BIN)) go install -buildvcs=false tool
	@touch $@

.PHONY: generate
generate: .cache/tools/buf .cache/tools/protobuf ## write what is generated from proto/: Go, the libraries of other languages, the config file's JSON Schema
	deploy/tools/generate.sh

.PHONY: check-generated
check-generated: .cache/tools/buf .cache/tools/protobuf ## fail when generated files differ from what proto/ says
	deploy/tools/generate.sh --check
