# Every development task of Jotsmith. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
BIN := .cache/bin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The tools are built once from the exact versions in deploy/tools/*/go.mod and
# again when a go.sum changes. They are modules of their own because buf needs
# a pre-release of protobuf that the program must not link.
tool-stamps := $(patsubst deploy/tools/%/go.mod,.cache/tools/%,$(wildcard deploy/tools/*/go.mod))

.PHONY: tools
tools: $(tool-stamps) ## build the pinned tools into .cache/bin

.cache/tools/%: deploy/tools/%/go.mod deploy/tools/%/go.sum
	@mkdir -p .cache/tools $(BIN)
	cd deploy/tools/$* && GOBIN=$(abspath $(BIN)) go install -trimpath -buildvcs=false tool
	@touch $@

.PHONY: generate
generate: .cache/tools/buf .cache/tools/protobuf ## write *.pb.go and the config file's JSON Schema from proto/
	deploy/tools/generate.sh

.PHONY: check-generated
check-generated: .cache/tools/buf .cache/tools/protobuf ## fail when generated files differ from what proto/ says
	deploy/tools/generate.sh --check
