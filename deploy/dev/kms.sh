#!/usr/bin/env bash
# A KMS for development and for the tests of backends/awskms: ministack, a real
# HTTP server of KMS and STS, in a virtual environment under .cache/.
#
#   kms.sh install        install it; takes no time when it is there
#   kms.sh start [PORT]   serve on 127.0.0.1:PORT (4566), make a key, print how
#                         to use it, and stay until Ctrl-C
#
# Not moto: up to 5.2.5 it hashes a message of the type DIGEST again
# (getmoto/moto#10202), answers GetPublicKey without the key ARN and signs with
# disabled keys.
set -euo pipefail

version=1.5.33
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=$root/.cache/ministack-$version

# Every package, so that an install of today is the install of next year.
requirements="ministack==$version
botocore==1.43.106
cffi==2.1.1
cryptography==50.0.2
defusedxml==0.7.1
graphql-core==3.2.12
h11==0.16.0
h2==4.4.1
hpack==4.2.0
Hypercorn==0.18.0
hyperframe==6.1.0
jmespath==1.1.0
jsonata-python==0.7.1
priority==2.0.0
pycparser==3.12
python-dateutil==2.9.0.post0
PyYAML==6.0.3
six==1.17.0
urllib3==2.8.0
wsproto==1.3.2"

die() {
	echo "kms.sh: $*" >&2
	exit 1
}

installed() { [[ $(cat "$venv/installed" 2>/dev/null) == "$requirements" ]]; }

install() {
	installed && return
	mkdir -p "$root/.cache"
	if command -v flock >/dev/null; then # two at once wait for each other, where the system can
		exec 9>"$venv.lock"
		flock 9
		installed && return
	fi
	python3 -m venv --clear "$venv" || die "python3 cannot make a virtual environment: install Python 3.10 or newer with venv (Debian: python3-venv)"
	"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement <(echo "$requirements")
	echo "$requirements" >"$venv/installed"
}

start() {
	local port=${1:-4566} server
	installed || die "ministack is not installed: run deploy/dev/kms.sh install"
	export AWS_ACCESS_KEY_ID=000000000000 AWS_SECRET_ACCESS_KEY=dev AWS_DEFAULT_REGION=eu-west-1
	BIND_HOST=127.0.0.1 GATEWAY_PORT=$port SERVICES=kms,sts IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 LOG_LEVEL=WARNING \
		"$venv/bin/ministack" &
	server=$!
	trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true' EXIT
	trap 'exit 0' INT TERM
	"$venv/bin/python" - "$port" <<'PYTHON'
import sys, time
import botocore.config, botocore.exceptions, botocore.session

once = botocore.config.Config(retries={"total_max_attempts": 1})
kms = botocore.session.get_session().create_client("kms", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", config=once)
for _ in range(100):
    try:
        key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeyId"]
        break
    except botocore.exceptions.EndpointConnectionError:
        time.sleep(0.1)
else:
    sys.exit("kms.sh: ministack does not answer")
kms.create_alias(AliasName="alias/jotsmith-dev", TargetKeyId=key)
PYTHON
	kill -0 "$server" 2>/dev/null || die "ministack ended: is port $port in use?"
	cat <<END
KMS on http://127.0.0.1:$port with the key alias/jotsmith-dev. Its keys are lost at Ctrl-C.

export AWS_ACCESS_KEY_ID=$AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY

backends:
  kms:
    uri: "awskms:?region=eu-west-1&endpoint=http://127.0.0.1:$port"
keys:
  my-key: {backend: kms, id: "alias/jotsmith-dev", kid: my-key}
END
	wait "$server"
}

case ${1:-} in
install) install ;;
start) start "${2:-}" ;;
*) die "usage: kms.sh install | kms.sh start [PORT]" ;;
esac
