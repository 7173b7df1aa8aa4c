"""What the library gives, in the words of the protocol."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import pprint
from concurrent import futures
from datetime import datetime, timedelta
from typing import Any

import jwt
from joserfc import jwk, jws

import jotsmith


def seconds(milliseconds: int) -> timedelta:
    """Return a duration of the protocol's."""
    return timedelta(milliseconds=milliseconds)


def request(command: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a Request, of what is said and no more."""
    arguments = {name: command[name] for name in ("profile", "claims") if name in command}
    return arguments | {name: seconds(command[name]) for name in ("ttl", "min_remaining") if name in command}


def shape(token: jotsmith.Token) -> dict[str, Any]:
    """Return a token."""
    shaped = {"jwt": token.reveal(), "kid": token.kid, "reused": token.reused, "one_time": token.one_time}
    times = {"expire_time": token.expire_time, "refresh_time": token.refresh_time}
    return shaped | {name: _time(at) for name, at in times.items() if at is not None}


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def describe(failed: BaseException) -> dict[str, Any]:
    """Return an error."""
    native = ""
    if isinstance(failed, TimeoutError):
        native = "deadline"
    elif isinstance(failed, futures.CancelledError | asyncio.CancelledError):
        native = "cancelled"
    if isinstance(failed, asyncio.CancelledError) and isinstance(failed.__cause__, jotsmith.Error):
        failed = failed.__cause__
    if not isinstance(failed, jotsmith.Error):
        setting = isinstance(failed, jotsmith.SettingError)
        return {"native": "setting" if setting else native or type(failed).__name__, "message": str(failed)}
    return {
        "code": failed.code.name,
        "reason": failed.reason,
        "message": failed.message,
        "retryable": failed.retryable,
        "retry_after": round(failed.retry_after * 1000),
        "violations": [{"field": v.field, "description": v.description} for v in failed.violations],
        "native": native,
    }


def results(batch: list[jotsmith.Token | jotsmith.Error]) -> dict[str, Any]:
    """Return the answer of a batch."""
    return {
        "results": [
            {"error": describe(result)} if isinstance(result, jotsmith.Error) else {"token": shape(result)}
            for result in batch
        ]
    }


def explained(e: jotsmith.Explanation) -> dict[str, Any]:
    """Return the answer of an explain."""
    refusals = [describe(refusal) for refusal in e.refusals]
    told = {"grant": e.grant, "refusals": refusals, "header": e.header, "claims": e.claims}
    return told | {"ttl": round(e.ttl * 1000)}


def listed(keys: list[jotsmith.Key]) -> dict[str, Any]:
    """Return the answer of keys."""
    return {
        "keys": [{"kid": k.kid, "algorithm": k.algorithm, "jwk": k.jwk, "profiles": list(k.profiles)} for k in keys]
    }


def shown(token: jotsmith.Token) -> dict[str, Any]:
    """Return a token as Python prints it in each of its ways."""
    logged = io.StringIO()
    log = logging.getLogger("shown")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.handlers = [logging.StreamHandler(logged)]
    log.info("%s %r", token, token)
    log.error("in %s", {"token": [token]})
    encoded = json.dumps({"token": token}, default=str)
    ways = [str(token), repr(token), f"{token}", f"{token!r:>60}", pprint.pformat([token]), logged.getvalue(), encoded]
    return {"shown": "\n".join(ways)}


def verify(command: dict[str, Any]) -> dict[str, Any]:
    """Return what PyJWT and joserfc find in a token."""
    text = command["jwt"]
    found = jwt.PyJWS().decode_complete(text, jwt.PyJWK.from_json(command["jwk"]), algorithms=["ES256"])
    checked = jws.deserialize_compact(text, jwk.ECKey.import_key(json.loads(command["jwk"])), algorithms=["ES256"])
    return {
        "verified": [
            {"by": "PyJWT", "header": json.dumps(found["header"]), "payload": found["payload"].decode()},
            {"by": "joserfc", "header": json.dumps(checked.headers()), "payload": checked.payload.decode()},
        ]
    }
