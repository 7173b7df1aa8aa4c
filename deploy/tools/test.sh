#!/bin/bash
# Everything that must hold before a change is merged, in the order in which it
# fails soonest; `make test` runs it. Prints each step's name and its seconds.
#
#   AGAINST=REF    what the API is compared with; see breaking.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

began=$SECONDS
step() {
	local name=$1 start=$SECONDS
	shift
	echo "==> $name"
	if ! "$@"; then
		echo "==> $name: failed after $((SECONDS - start)) s; again: $*" >&2
		exit 1
	fi
	echo "==> $name: $((SECONDS - start)) s"
}

step "set up" deploy/dev/setup.sh
step "build the tools" make --no-print-directory tools
step "modules are as in go.sum" go mod verify
step "go.mod is tidy" go mod tidy -diff
step "proto: lint and format" make --no-print-directory lint-proto
step "proto: compatible" deploy/tools/breaking.sh "${AGAINST-}"
step "generated files are current" deploy/tools/generate.sh --check
step "lint" make --no-print-directory lint-go
step "go test" env CGO_ENABLED=1 go test -race -count=1 ./...
step "go test without cgo" make --no-print-directory test-nocgo
step "cross builds" make --no-print-directory cross
echo "==> all: $((SECONDS - began)) s"
