"""A token that is always fresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from jotsmith._core import errors
from jotsmith._core.errors import Error
from jotsmith._core.lifetime import SECOND, Reading
from jotsmith._core.retry import FIRST, Waits
from jotsmith._core.secret import Token
from jotsmith._core.signals import Signal
from jotsmith.v1.token_service_pb2 import WatchTokenRequest

if TYPE_CHECKING:
    from jotsmith._core.calls import Calls
    from jotsmith._core.channels import Lease
    from jotsmith._core.request import Request

_LIVED = 10 * SECOND
"""How long a stream has been quiet, at least, where its end says nothing about how the
server is."""


class Tokens:
    """One watch: next is for one task or thread at a time, stop for any."""

    def __init__(self, calls: Calls, request: Request) -> None:
        self._calls = calls
        self._message = WatchTokenRequest(request=request.message())
        self._stopped = Signal()
        self._stops = (calls.closed, self._stopped)
        self._last: Token | None = None
        self._until: float | None = None  # when a token must have come
        self._waits = Waits()
        self._stream: Any = None
        self._lease: Lease | None = None
        self._came = False  # a message, in the stream that is open or was the last
        self._asked: Reading = calls.clock()
        self._over = False

    def stop(self) -> None:
        """End it. Whoever waits for a token is told that there are no more."""
        self._stopped.happen()

    async def end(self) -> None:
        """End it, and its stream. Not while next runs."""
        self.stop()
        self._over = True
        await self._shut()

    async def next(self) -> Token | None:
        """Return the next token, or None when the caller has stopped. An Error is the end, too."""
        if self._over:
            return None
        if self._until is None:
            self._until = self._calls.runtime.now() + self._calls.timeout
        going = False
        try:
            token = await self._next()
            going = token is not None
            return token
        except Error:
            if self._stopped.happened:
                return None
            raise
        finally:
            if not going:
                await self.end()

    async def _next(self) -> Token | None:
        while not self._stopped.happened:
            try:
                token = await self._receive()
            except Error as failed:
                await self._shut()
                if self._asked.age(self._calls.clock()) >= _LIVED:  # of the newest message, or of the call
                    self._waits = Waits()
                await self._go_on(failed)
                continue
            # A new stream begins with the token that the old one ended with.
            same = self._last is not None and token.reveal() == self._last.reveal()
            self._last = token
            if not same:
                return token
        return None

    async def _receive(self) -> Token:
        """Return what comes next over the stream that is open, or a new one."""
        runtime, clock = self._calls.runtime, self._calls.clock
        now, until = runtime.now(), self._until or 0
        if self._stream is None:
            self._came, self._asked = False, clock()
            self._lease = await self._calls.open()
            method = self._lease.tokens.WatchToken
            self._stream = runtime.stream(method, self._message, self._calls.metadata())
        # The stream itself has no deadline, but its first message has. Afterwards the
        # server says itself when it has no more to bring.
        seconds = None if self._came else max(until - now, 0)
        try:
            response = await runtime.read(self._stream, seconds, self._stops)
        except grpc.RpcError as failed:
            raise errors.from_rpc(failed) from failed
        if response is None:  # a server ends a watch with a reason, and this one was cut short
            raise errors.error(grpc.StatusCode.UNAVAILABLE, "the server ended the watch")
        if self._came:  # it came when it was made, and its life counts from about now
            self._asked = clock()
        self._came = True
        token = Token(response.token, self._asked)
        margin = (token.life.margin() - self._asked.age(clock())) / SECOND
        self._until = runtime.now() + max(margin, self._calls.timeout)
        return token

    async def _go_on(self, failed: Error) -> None:
        """Wait until the next stream may begin, or raise the Error that ends the watch."""
        if self._calls.closed.happened:
            raise errors.closed()
        away = failed.code is grpc.StatusCode.UNAVAILABLE
        if not away and failed.code is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise failed
        # The server that stops, or that closes a connection because it is old, had
        # served until then: another one, or the same, is asked at once, but not over
        # and over.
        if self._came and self._waits.last == 0 and away and failed.reason in ("", "DRAINING"):
            self._waits.last = FIRST / 2
            return
        wait = self._waits.next(failed.retry_after)
        if (self._until or 0) - self._calls.runtime.now() <= wait:
            raise failed
        await self._calls.runtime.wait(self._stops, wait)

    async def _shut(self) -> None:
        stream, self._stream = self._stream, None
        lease, self._lease = self._lease, None
        if stream is not None:
            stream.cancel()
        if lease is not None:
            await self._calls.shut(lease)
