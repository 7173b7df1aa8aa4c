"""Lists one's apps in App Store Connect.

The library puts a token of Jotsmith into every request; there is no key here and
nothing to renew.

    export JOTSMITH_ADDRESS=unix:///run/jotsmith/jotsmith.sock
    clients/python/run example --profile asc

With --api it asks another server than Apple's, as the stand-in in
clients/conformance/standin.
"""

import argparse
import sys

import requests

import jotsmith
import jotsmith.requests


def main() -> None:
    """Print the ID, the bundle and the name of each app."""
    flags = argparse.ArgumentParser(prog="example", description="Lists one's apps in App Store Connect.")
    flags.add_argument("--profile", default="asc", help="the profile of Jotsmith's that makes its tokens")
    flags.add_argument("--api", default="https://api.appstoreconnect.apple.com", help="the App Store Connect API")
    chosen = flags.parse_args()

    with jotsmith.connect() as client, requests.Session() as session:  # the address in JOTSMITH_ADDRESS
        session.auth = jotsmith.requests.Auth(client, chosen.profile)
        response = session.get(f"{chosen.api}/v1/apps", timeout=30)
        if not response.ok:
            sys.exit(f"example: {response.status_code} {response.reason}: {response.text[:4096]}")
        for app in response.json()["data"]:
            print(app["id"], app["attributes"]["bundleId"], app["attributes"]["name"], sep="\t")


if __name__ == "__main__":
    try:
        main()
    except (jotsmith.Error, jotsmith.SettingError, requests.RequestException) as failed:
        sys.exit(f"example: {failed}")
