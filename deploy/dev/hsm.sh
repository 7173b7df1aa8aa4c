#!/bin/sh
# Makes a SoftHSM2 token with a P-256 key or two for development.
#
#   deploy/dev/hsm.sh [DIRECTORY]     default: .cache/dev-hsm
#
# Prints what to export and what to paste into the config. A token that is
# already there is kept.
set -eu

dir=${1:-.cache/dev-hsm}
label=jotsmith-dev

need() {
	command -v "$1" >/dev/null || {
		echo "$0: $1 is missing: apt-get install $2, or brew install $3" >&2
		exit 1
	}
}
need softhsm2-util softhsm2 softhsm
need pkcs11-tool opensc opensc

module=
for candidate in /usr/lib/softhsm /usr/lib/*/softhsm /usr/lib64/softhsm /usr/local/lib/softhsm /opt/homebrew/lib/softhsm; do
	if [ -f "$candidate/libsofthsm2.so" ]; then
		module=$candidate/libsofthsm2.so
		break
	fi
done
if [ -z "$module" ]; then
	echo "$0: libsofthsm2.so is missing: apt-get install softhsm2, or brew install softhsm" >&2
	exit 1
fi

umask 077
mkdir -p "$dir/tokens"
dir=$(cd "$dir" && pwd)
export SOFTHSM2_CONF="$dir/softhsm2.conf"

if [ ! -f "$dir/pin" ]; then
	if [ -n "$(ls "$dir/tokens")" ]; then
		echo "$0: $dir/tokens holds a token without its PIN: remove $dir and try again" >&2
		exit 1
	fi
	printf 'directories.tokendir = %s/tokens\nlog.level = ERROR\n' "$dir" >"$SOFTHSM2_CONF"
	# A token for play: its PINs are random all the same, and only in files.
	pin() { od -An -N8 -tx1 /dev/urandom | tr -d ' \n'; }
	user_pin=$(pin)
	so_pin=$(pin)
	softhsm2-util --init-token --free --label "$label" --pin "$user_pin" --so-pin "$so_pin" >/dev/null
	pkcs11-tool --module "$module" --token-label "$label" --login --pin "$user_pin" --keypairgen \
		--key-type EC:prime256v1 --label my-key --id 01 --usage-sign >/dev/null
	if command -v openssl >/dev/null; then
		openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$dir/imported.pem"
		softhsm2-util --import "$dir/imported.pem" --token "$label" --pin "$user_pin" --label imported --id 02 >/dev/null
		rm "$dir/imported.pem"
	fi
	printf '%s\n' "$so_pin" >"$dir/so-pin"
	printf '%s\n' "$user_pin" >"$dir/pin" # last: it marks the token as made
fi

cat <<END
# In the shell that runs jotsmith:
export SOFTHSM2_CONF="$SOFTHSM2_CONF"

# In the config:
backends:
  hsm:
    uri: "pkcs11:token=$label?module-path=$module&pin-source=file:$dir/pin"
keys:
  my-key: {backend: hsm, id: "object=my-key", kid: my-key}
END
if SOFTHSM2_CONF="$SOFTHSM2_CONF" pkcs11-tool --module "$module" --token-label "$label" --list-objects --type pubkey 2>/dev/null |
	grep -q 'label: *imported'; then
	echo '  imported: {backend: hsm, id: "object=imported", kid: imported}'
fi
