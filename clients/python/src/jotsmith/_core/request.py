"""What a token is asked for with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.duration_pb2 import Duration

from jotsmith._core.canonical import canonical
from jotsmith._core.errors import refused
from jotsmith._core.lifetime import Seconds, nanoseconds
from jotsmith.v1.token_service_pb2 import MintTokenRequest

Claims: TypeAlias = str | bytes | Mapping[str, object]
"""A JSON object as text, which is sent as it is, or values that json writes."""


@dataclass(frozen=True)
class Request:
    """What a token is asked for with."""

    profile: str
    """The name of a profile of the server's."""
    claims: Claims | None = None
    """The claims that the profile takes from its callers. Numbers stay as they are."""
    ttl: Seconds | None = None
    """How long the token is to be valid, in whole seconds; None: the profile's default."""
    min_remaining: Seconds | None = None
    """The least time that the token must still be valid when it is handed out, in
    seconds; None: the server's, a third of its life."""

    def message(self) -> MintTokenRequest:
        """Return the request on the wire. An Error says what cannot be sent."""
        message = MintTokenRequest(profile=_utf8("profile", self.profile), claims=self._text())
        for field, value in (("ttl", self.ttl), ("min_remaining", self.min_remaining or None)):
            if value is not None:
                duration = Duration()
                try:
                    duration.FromNanoseconds(nanoseconds(value))
                except (ValueError, OverflowError):
                    raise refused(field, "is no duration") from None
                getattr(message, field).CopyFrom(duration)
        return message

    def _text(self) -> str:
        claims = self.claims
        if claims is None:
            return ""
        if isinstance(claims, str):
            return _utf8("claims", claims)
        if isinstance(claims, bytes):
            try:
                return claims.decode()
            except UnicodeDecodeError:
                raise refused("claims", "is not valid UTF-8") from None
        try:
            values = dict(claims) if isinstance(claims, Mapping) else claims
            text = json.dumps(values, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        except (TypeError, ValueError, RecursionError) as wrong:
            raise refused("claims", f"cannot be written as JSON: {type(wrong).__name__}") from None
        return _utf8("claims", text)


def _utf8(field: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refused(field, "is not valid UTF-8") from None
    return text


@dataclass(frozen=True)
class Place:
    """Where a token is kept: requests that differ in nothing else can have the same."""

    profile: str
    claims: str
    ttl: int | None


def place(message: MintTokenRequest) -> Place:
    """Return the place of a request."""
    ttl = message.ttl.ToNanoseconds() if message.HasField("ttl") else None
    return Place(message.profile, canonical(message.claims), ttl)
