"""A client whose server and clock are a test's: an hour passes in no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from jotsmith._core import errors
from jotsmith._core.calls import Calls
from jotsmith._core.errors import Error
from jotsmith._core.lifetime import SECOND, Reading
from jotsmith._core.loop import Loop
from jotsmith._core.request import Request
from jotsmith._core.runtime import Metadata
from jotsmith._core.secret import Token
from jotsmith._core.settings import server
from jotsmith._core.signals import Signal
from jotsmith.v1.token_service_pb2 import MintTokenResponse, WatchTokenResponse

EPOCH = 1_800_000_000 * SECOND


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    """Where it would wait for the time, the time passes."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout > 0:
            self.passed += timeout
        return super().select(0 if timeout is not None else None)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.selector = _Selector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.passed


def virtually(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test in a loop whose time is its own."""

    def run() -> None:
        loop = _VirtualLoop()
        try:
            loop.run_until_complete(asyncio.wait_for(test(), 1e6))
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    run.__name__ = test.__name__
    return run


def now() -> float:
    return asyncio.get_running_loop().time()


def clock() -> Reading:
    moment = round(now() * SECOND)
    return Reading(moment, EPOCH + moment)


def failure(code: str, reason: str = "", retry_after: float = 0.0) -> Error:
    return errors.error(grpc.StatusCode[code], "told", reason, retry_after)


class Channel:
    """One that knows nothing but what is called."""

    def unary_unary(self, path: str, **_: Any) -> str:
        return path.rpartition("/")[2]

    unary_stream = unary_unary


class Scripted(Loop):
    """A server whose tokens live ten minutes, whose clock is off, and that fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.skew = 0.0
        self.one_time = False
        self.endless = False
        self.timeless = False
        self.same = False
        self.takes = 0.0
        self.fail: Error | None = None
        self.last: Any = None
        self.streams: list[tuple[list[str], Error | None]] = []
        self.began: list[float] = []

    def open(self, target: str, credentials: Any, options: Sequence[tuple[str, Any]]) -> Any:
        return Channel()

    async def shut(self, channel: Any) -> None:
        pass

    def response(self, text: str) -> MintTokenResponse:
        def at(seconds: float) -> Timestamp:
            stamp = Timestamp()
            stamp.FromNanoseconds(clock().wall + round((self.skew + seconds) * SECOND))
            return stamp

        response = MintTokenResponse(token=text, kid="kid", answer_time=at(0), issue_time=at(-60))
        if self.timeless:
            response.ClearField("answer_time")
        if not self.endless:
            response.expire_time.CopyFrom(at(600))
        if not self.one_time:
            response.refresh_time.CopyFrom(at(400))
        return response

    async def unary(
        self, method: Any, message: Any, metadata: Metadata, seconds: float, stops: Sequence[Signal]
    ) -> Any:
        assert method == "MintToken"
        self.calls += 1
        number = 1 if self.same else self.calls
        self.last = message
        await self.wait(stops, min(self.takes, seconds))
        if any(stop.happened for stop in stops):
            raise errors.given_up()
        if self.takes >= seconds:
            raise errors.deadline_exceeded()
        if self.fail is not None:
            raise self.fail
        return self.response(f"token-{number}")

    def stream(self, method: Any, message: Any, metadata: Metadata) -> Any:
        self.began.append(now())
        return _Stream(*self.streams.pop(0))

    async def read(self, stream: Any, seconds: float | None, stops: Sequence[Signal]) -> Any:
        if stream.tokens:
            return WatchTokenResponse(token=self.response(stream.tokens.pop(0)))
        if stream.end is not None:
            raise stream.end
        await self.wait(stops, seconds)
        if any(stop.happened for stop in stops):
            raise errors.given_up()
        raise errors.deadline_exceeded()


class _Stream:
    def __init__(self, tokens: list[str], end: Error | None) -> None:
        self.tokens, self.end = tokens, end

    def cancel(self) -> None:
        self.tokens = []


class Client:
    """What a test asks."""

    def __init__(self, script: Scripted | None = None, **settings: Any) -> None:
        self.server = script or Scripted()
        self.calls = Calls(server("unix:///nowhere", **{"max_kept": 8} | settings), self.server, clock)

    async def token(self, profile: str = "p", timeout: float | None = None, **request: Any) -> str:
        return (await self.whole(profile, timeout, **request)).reveal()

    async def whole(self, profile: str = "p", timeout: float | None = None, **request: Any) -> Token:
        return await self.calls.kept.token(Request(profile, **request), self.calls.caller(timeout))

    async def fails(self, reason: str, profile: str = "p", timeout: float | None = None, **request: Any) -> Error:
        try:
            token = await self.token(profile, timeout, **request)
        except Error as failed:
            assert failed.reason == reason
            return failed
        raise AssertionError(f"got {token}, not {reason}")

    async def renew(self, refused: Token, profile: str = "p") -> str | None:
        token = await self.calls.kept.renew(Request(profile), refused, self.calls.caller())
        return token and token.reveal()


def seconds(duration: Duration) -> float:
    return duration.ToNanoseconds() / SECOND
