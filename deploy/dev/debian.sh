#!/bin/bash
# Installs the Debian packages that are missing, and nothing where none is. It reads a
# line for each: a file that the package brings (a pattern is meant), then the package;
# "-" in the place of the file is a file that is not there. What it says is on standard
# error.
#
#   deploy/dev/debian.sh <LINES
set -euo pipefail

missing=()
while read -r file package; do
	# shellcheck disable=SC2086 # the pattern is meant
	if ! ls $file >/dev/null 2>&1; then
		missing+=("$package")
	fi
done
if [ ${#missing[@]} -eq 0 ]; then
	exit
fi
if ! command -v apt-get >/dev/null; then
	echo "debian.sh: this system has no apt-get: install what these Debian packages bring, then try again: ${missing[*]}" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
	as_root=(sudo)
fi
echo "installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq >&2
"${as_root[@]}" apt-get install -qq --yes --no-install-recommends "${missing[@]}" >/dev/null
