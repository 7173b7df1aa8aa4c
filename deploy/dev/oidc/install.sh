#!/usr/bin/env bash
# Installs the OpenID Connect provider of the tests of service/authn/oidc, npm's
# oidc-provider, under .cache/, with every package as package-lock.json pins it
# and none of their scripts run. Takes no time when it is there, and prints the
# directory of its modules.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
into=$root/.cache/oidc

installed() { cmp -s "$here/package-lock.json" "$into/installed"; }

if ! installed; then
	if ! command -v npm >/dev/null || ! command -v node >/dev/null; then
		echo "install.sh: node or npm is missing: run deploy/dev/setup.sh (Debian: apt-get install nodejs npm)" >&2
		exit 1
	fi
	mkdir -p "$root/.cache"
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
