#!/bin/bash
# Fails when proto/ is no longer compatible with what users have: the newest
# release. Before the first release nobody has anything, so the comparison is
# with what was last published in the project itself, and is there to make a
# change of the API deliberate: the merge base with origin/main, or HEAD when
# there is no such branch (a shallow clone, a first commit).
#
#   deploy/tools/breaking.sh [REF]     compare with REF; "none" compares with nothing
#
# The older files come from git archive and not from buf's own git input, which
# clones, and knows neither work trees nor shallow clones without tags.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.cache/bin:$PATH"

newest_release() { git tag --list 'v[0-9]*' --sort=-version:refname 2>/dev/null | grep -v -- - | head -n 1; }

ref=${1-}
if [ -z "$ref" ]; then
	ref=$(newest_release || true)
fi
if [ -z "$ref" ]; then
	ref=$(git merge-base HEAD origin/main 2>/dev/null || echo HEAD)
fi

if [ "$ref" = none ] || ! git cat-file -e "$ref:proto" 2>/dev/null; then
	echo "no earlier proto files to compare with"
	exit 0
fi
older=$(mktemp -d)
trap 'rm -rf "$older"' EXIT
git archive "$ref" proto buf.yaml | tar -x -C "$older"
if [ -z "$(find "$older/proto/jotsmith" -name '*.proto' 2>/dev/null | head -n 1)" ]; then
	echo "no earlier proto files to compare with"
	exit 0
fi
if ! buf breaking --against "$older"; then
	echo "the API differs from $ref in a way that breaks its users: keep the old names and numbers, or add a new version beside it" >&2
	echo "before the first release a deliberate change is possible: make test AGAINST=none" >&2
	exit 1
fi
