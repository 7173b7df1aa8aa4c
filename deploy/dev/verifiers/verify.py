"""Verifies tokens with a JOSE library for Python: verify.py pyjwt|joserfc.

Standard input holds {"jwks", "issuer", "audience", "tokens"} as JSON. A line is
printed for each token: "yes" and its sub, or "no" and why.
"""

import json
import sys
import urllib.request

given = json.load(sys.stdin)


def pyjwt():
    import jwt

    client = jwt.PyJWKClient(given["jwks"])

    def verify(token):
        key = client.get_signing_key_from_jwt(token)
        return jwt.decode(
            token, key, algorithms=["ES256"], audience=given["audience"], issuer=given["issuer"],
            options={"require": ["exp", "iat", "iss", "aud", "sub"]},
        )["sub"]

    return verify


def joserfc():
    from joserfc import jwt
    from joserfc.jwk import KeySet

    with urllib.request.urlopen(given["jwks"]) as response:
        keys = KeySet.import_key_set(json.load(response))
    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": given["issuer"]}, aud={"essential": True, "value": given["audience"]},
        exp={"essential": True}, iat={"essential": True}, sub={"essential": True},
    )

    def verify(text):
        token = jwt.decode(text, keys, algorithms=["ES256"])
        registry.validate(token.claims)
        return token.claims["sub"]

    return verify


verify = {"pyjwt": pyjwt, "joserfc": joserfc}[sys.argv[1]]()
for token in given["tokens"]:
    try:
        print("yes", verify(token))
    except Exception as error:
        print("no", type(error).__name__, str(error).replace("\n", " "))
