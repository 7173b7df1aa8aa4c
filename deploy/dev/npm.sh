#!/usr/bin/env bash
# Installs the npm packages that a test needs, those of deploy/dev/NAME, under
# .cache/NAME, with every package as its package-lock.json pins it and none of
# their scripts run. Takes no time when they are there, and prints the directory
# of the modules.
#
#   deploy/dev/npm.sh NAME
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/deploy/dev/$1
mkdir -p "$root/.cache"
into=$(cd "$root/.cache" && pwd -P)/$1 # npm ci takes no link for its prefix

installed() { cmp -s "$here/package-lock.json" "$into/installed"; }

if ! installed; then
	if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
		echo "npm.sh: node or npm is missing: run deploy/dev/setup.sh (Debian: apt-get install nodejs npm)" >&2
		exit 1
	fi
	if command -v flock >/dev/null; then # two at once wait for each other, where the system can
		exec 9>"$into.lock"
		flock 9
	fi
	if ! installed; then
		rm -rf "$into"
		mkdir "$into"
		cp "$here/package.json" "$here/package-lock.json" "$into"
		npm ci --prefix "$into" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
		cp "$here/package-lock.json" "$into/installed"
	fi
fi
echo "$into/node_modules"
