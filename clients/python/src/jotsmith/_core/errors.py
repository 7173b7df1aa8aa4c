"""The one type of error of every call."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_RETRYABLE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Violation:
    """What is wrong with one field of a request."""

    field: str
    """As in `ttl` or `claims.sub`."""
    description: str


class Error(Exception):
    """Why there is no answer. Every error of a call is one."""

    code: grpc.StatusCode
    """gRPC's."""
    reason: str
    """One of docs/errors.md. Empty where the server was not reached."""
    message: str
    """For people. It holds no token and no value of a claim."""
    retry_after: float
    """The seconds after which the server asks to be asked again. 0: it did not say."""
    violations: tuple[Violation, ...]
    """What is wrong with the request."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: str = "",
        retry_after: float = 0.0,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        # Not super(): OSError, which TimeoutError is, would read a number of errno here.
        Exception.__init__(self, code, message, reason, retry_after, violations)
        self.code, self.message, self.reason = code, message, reason
        self.retry_after, self.violations = retry_after, violations

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.code in _RETRYABLE

    def __str__(self) -> str:
        return f"jotsmith: {self.reason or self.code.name}: {self.message}"

    def __reduce__(self) -> tuple[type[Error], tuple[Any, ...]]:
        return type(self), (self.code, self.message, self.reason, self.retry_after, self.violations)


class DeadlineExceeded(Error, TimeoutError):
    """The Error of a deadline that has passed, here or at the server."""


class Cancelled(Error, concurrent.futures.CancelledError):
    """The Error of a call that was given up, or whose client is closed.

    A task of asyncio that is cancelled gets asyncio's own CancelledError instead, as
    asyncio wants it; this is then its cause.
    """


class SettingError(ValueError):
    """Why there can be no client with these settings and files."""


def error(code: grpc.StatusCode, message: str, *rest: Any) -> Error:
    """Return the Error of a code; rest is that of Error's arguments."""
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(code, message, *rest)
    if code is grpc.StatusCode.CANCELLED:
        return Cancelled(code, message, *rest)
    return Error(code, message, *rest)


def from_status(status: status_pb2.Status) -> Error:
    """Return the Error that a status says."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _detailed(code, status.message, status.details)


def from_rpc(failed: grpc.RpcError) -> Error:
    """Return the Error of a call that failed."""
    if not isinstance(failed, grpc.Call | grpc.aio.AioRpcError):
        return error(grpc.StatusCode.UNKNOWN, "gRPC does not say why")
    code, message = failed.code() or grpc.StatusCode.UNKNOWN, failed.details() or ""
    for name, value in failed.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            try:
                return _detailed(code, message, status_pb2.Status.FromString(value).details)
            except DecodeError:
                break
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:  # by the clock here
        return deadline_exceeded()
    return error(code, message)


def _detailed(code: grpc.StatusCode, message: str, details: Iterable[Any]) -> Error:
    reason, retry_after = "", 0.0
    violations: list[Violation] = []
    for detail in details:
        info, retry, bad = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo(), error_details_pb2.BadRequest()
        try:
            if detail.Unpack(info):
                reason = info.reason
            elif detail.Unpack(retry):
                retry_after = max(retry.retry_delay.ToNanoseconds() / 1e9, 0.0)
            elif detail.Unpack(bad):
                violations += [Violation(v.field, v.description) for v in bad.field_violations]
        except DecodeError:
            continue  # the code and the message stand
    return error(code, message, reason, retry_after, tuple(violations))


def deadline_exceeded() -> Error:
    """Return the Error of a deadline that has passed here."""
    return error(grpc.StatusCode.DEADLINE_EXCEEDED, "the deadline has passed", "DEADLINE_EXCEEDED")


def given_up() -> Error:
    """Return the Error of a call that was given up here."""
    return error(grpc.StatusCode.CANCELLED, "the call was given up", "CANCELLED")


def closed() -> Error:
    """Return the Error of a call whose client is closed."""
    return error(grpc.StatusCode.CANCELLED, "the client is closed")


def refused(field: str, description: str) -> Error:
    """Return the Error of a request that is not sent."""
    return error(
        grpc.StatusCode.INVALID_ARGUMENT,
        f"request refused: {field} {description}",
        "INVALID_REQUEST",
        0.0,
        (Violation(field, description),),
    )
