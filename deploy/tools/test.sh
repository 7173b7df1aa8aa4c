#!/bin/bash
# Everything that must hold before a change is merged; `make test` runs it.
# Prints each step's name and its seconds. A step that fails does not hide what
# the later ones say; without its first two nothing can be said.
#
#   AGAINST=REF    what the API is compared with; see breaking.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

failed=()
step() {
	local name=$1 start=$SECONDS result=ok
	shift
	echo "==> $name"
	if ! "$@"; then
		result=FAILED
		failed+=("$name: $*")
	fi
	echo "==> $name: $result, $((SECONDS - start)) s"
	[ $result = ok ]
}

step "set up" deploy/dev/setup.sh || exit 1
step "build the tools" make --no-print-directory tools || exit 1
step "modules are as in go.sum" go mod verify || true
step "go.mod is tidy" go mod tidy -diff || true
step "proto: lint and format" make --no-print-directory lint-proto || true
step "proto: compatible" deploy/tools/breaking.sh "${AGAINST-}" || true
step "generated files are current" deploy/tools/generate.sh --check || true
step "lint" make --no-print-directory lint-go || true
# Tests wait for programs more than they compute, so more of them run at once than
# there are processors.
step "go test" env CGO_ENABLED=1 go test -race -count=1 -p 3 -parallel 6 ./... || true
for run in clients/*/run; do
	step "${run%/run}" "$run" test || true
done
step "go test without cgo" make --no-print-directory test-nocgo || true
step "go test with BoringCrypto" make --no-print-directory test-boring || true
step "cross builds" make --no-print-directory cross || true

if [ ${#failed[@]} -gt 0 ]; then
	echo "==> ${#failed[@]} failed after $SECONDS s; each can be run alone:" >&2
	printf '      %s\n' "${failed[@]}" >&2
	exit 1
fi
echo "==> all ok, $SECONDS s"
