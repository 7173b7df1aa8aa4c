#!/bin/bash
# Installs what `make test` needs besides Go, Rust, make, git and python3. It takes
# no time when everything is there, and changes nothing outside .cache/ but
# Debian packages.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The lines of debian.sh. gcc builds cgo and the fake HSM module; p11-kit stands
# between the tests and SoftHSM, to take it away.
needed() {
	cat <<-'END'
		/usr/bin/softhsm2-util softhsm2
		/usr/bin/pkcs11-tool opensc
		/usr/bin/p11-kit p11-kit
		/usr/lib/*/pkcs11/p11-kit-client.so p11-kit-modules
		/usr/bin/openssl openssl
		/usr/bin/curl curl
		/usr/bin/gcc gcc
		/usr/include/stdio.h libc6-dev
		/etc/ssl/certs/ca-certificates.crt ca-certificates
	END
	# These may have come by other ways than Debian's.
	for command in node:nodejs npm:npm javac:openjdk-17-jdk-headless mvn:maven; do
		if ! command -v "${command%:*}" >/dev/null; then
			echo "- ${command#*:}"
		fi
	done
	# Debian splits venv off python3; other Pythons have it.
	if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
		echo "- python3-venv"
	fi
}

needed | deploy/dev/debian.sh

deploy/dev/kms.sh install
deploy/dev/npm.sh oidc >/dev/null
deploy/dev/npm.sh verifiers >/dev/null
deploy/dev/npm.sh ascclient >/dev/null
for module in verifiers plot; do
	(cd "deploy/dev/$module" && go mod download)
done
for run in clients/*/run; do
	"$run" setup
done

# PyJWT and joserfc in a virtual environment: verifiers of tokens that are not ours
# and not in Go.
if ! cmp -s deploy/dev/requirements.txt .cache/verify/installed; then
	echo "installing PyJWT and joserfc into .cache/verify"
	python3 -m venv --clear .cache/verify
	.cache/verify/bin/pip install --quiet --disable-pip-version-check --no-deps --requirement deploy/dev/requirements.txt
	cp deploy/dev/requirements.txt .cache/verify/installed
fi
