"""The client of programs with asyncio: the same, but that calls are awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from jotsmith._core import errors
from jotsmith._core.calls import Calls, Explanation, Key
from jotsmith._core.lifetime import Seconds, read_clock
from jotsmith._core.loop import Loop
from jotsmith._core.request import Claims, Request
from jotsmith._core.settings import Settings, server
from jotsmith._core.watch import Tokens
from jotsmith.credentials import of_aio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable

    import grpc
    from typing_extensions import Self, Unpack

    from jotsmith._core.secret import Token

__all__ = ["Client", "Watch", "connect"]

T = TypeVar("T")


def connect(address: str | None = None, **settings: Unpack[Settings]) -> Client:
    """Return a client as jotsmith.connect does, for use in one loop of asyncio."""
    return Client(Calls(server(address, **settings), Loop(), read_clock))


class Client:
    """Gets tokens from a server, for the tasks of one loop; a program needs one for each server.

    connect makes it. Close it, or use it in an `async with`. Every error of a call is an
    Error. A call takes at most timeout seconds, or the client's, whichever ends first,
    all tries together. A task that is cancelled gets asyncio's CancelledError, whose
    cause is a Cancelled; asyncio.timeout is the caller's deadline as well.
    """

    def __init__(self, calls: Calls) -> None:
        """Make a client of what connect puts together."""
        self.calls = calls

    async def token(
        self,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
        timeout: Seconds | None = None,  # of the call, as the client has one
    ) -> Token:
        """Return a token of a profile, as jotsmith.Client.token does."""
        request = Request(profile, claims, ttl, min_remaining)
        return await awaited(self.calls.kept.token(request, self.calls.caller(timeout)))

    def invalidate(self, profile: str) -> None:
        """Forget the tokens of a profile. The next token asks the server, which may answer with the same one."""
        self.calls.kept.invalidate(profile)

    async def batch(
        self,
        requests: Iterable[Request],
        *,
        timeout: Seconds | None = None,
    ) -> list[Token | errors.Error]:
        """Ask for up to 256 tokens at once; return a token or an Error for each, in order. Nothing is kept."""
        return await awaited(self.calls.batch(requests, self.calls.caller(timeout)))

    def watch(
        self,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
    ) -> Watch:
        """Return an iterator over a token at once and each that replaces it, as jotsmith.Client.watch does."""
        return Watch(Tokens(self.calls, Request(profile, claims, ttl, min_remaining)))

    async def explain(
        self,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
        timeout: Seconds | None = None,
    ) -> Explanation:
        """Say what token would get from the server, and every reason why not. Nothing is signed or kept."""
        request = Request(profile, claims, ttl, min_remaining)
        return await awaited(self.calls.explain(request, self.calls.caller(timeout)))

    async def keys(self, profile: str = "", *, timeout: Seconds | None = None) -> list[Key]:
        """Return the public keys of the profiles that the caller may mint, of one alone where it is not empty."""
        return await awaited(self.calls.keys(profile, self.calls.caller(timeout)))

    def call_credentials(
        self,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
    ) -> grpc.CallCredentials:
        """Return credentials that put a token into each call of another gRPC service, over TLS alone.

        It has to be called in the client's loop.
        """
        return of_aio(self, Request(profile, claims, ttl, min_remaining))

    async def close(self) -> None:
        """End what is under way, with Cancelled, and the connection."""
        await self.calls.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Watch:
    """An iterator over the tokens of a watch, for one task.

    close, the end of an `async with`, or a wait that is cancelled ends it, and so does
    asyncio where nobody has it any more.
    """

    def __init__(self, tokens: Tokens) -> None:
        """Make an iterator of what Client.watch puts together."""
        self._tokens = tokens
        # Of a generator asyncio knows when nobody has it any more.
        self._each = _each(tokens)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Token:
        return await anext(self._each)

    def close(self) -> None:
        """End the watch. From another task it ends whoever waits for a token there."""
        self._tokens.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._each.aclose()


async def _each(tokens: Tokens) -> AsyncGenerator[Token, None]:
    try:
        while (token := await tokens.next()) is not None:
            yield token
    finally:
        await tokens.end()


async def awaited(work: Coroutine[Any, Any, T]) -> T:
    """Await a call, and say in asyncio's CancelledError which Error it stands for.

    It cannot be that Error: `except Exception` would catch it, and asyncio.timeout not.
    """
    try:
        return await work
    except asyncio.CancelledError as cancelled:
        raise cancelled from errors.given_up()
