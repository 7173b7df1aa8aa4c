"""The client of programs without asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jotsmith._core.calls import Calls, Explanation, Key
from jotsmith._core.lifetime import Seconds, read_clock
from jotsmith._core.request import Claims, Request
from jotsmith._core.settings import Settings, server
from jotsmith._core.threads import Threads, run
from jotsmith._core.watch import Tokens
from jotsmith.credentials import of_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc
    from typing_extensions import Self, Unpack

    from jotsmith._core.errors import Error
    from jotsmith._core.secret import Token
    from jotsmith._core.signals import Cancellation


def connect(address: str | None = None, **settings: Unpack[Settings]) -> Client:
    """Return a client of the server at an address, `unix:///PATH` or `HOST:PORT`.

    None means what JOTSMITH_ADDRESS says, and DEFAULT_ADDRESS where that is empty too. A
    Unix socket is plaintext, and the kernel says who calls; TCP is TLS, but where
    plaintext_loopback says otherwise. Nobody is called yet: the first call makes the
    connection, and every later one mends it. A SettingError is about the settings and
    files.
    """
    return Client(Calls(server(address, **settings), Threads(), read_clock))


class Client:
    """Gets tokens from a server. Safe for use by several threads; a program needs one for each server.

    connect makes it. Close it, or use it in a `with`. Every error of a call is an Error.
    A call takes at most timeout seconds, or the client's, whichever ends first, all
    tries together; a cancellation gives it up from another thread.
    """

    def __init__(self, calls: Calls) -> None:
        """Make a client of what connect puts together."""
        self.calls = calls

    def token(
        self,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
        timeout: Seconds | None = None,
        cancellation: Cancellation | None = None,
    ) -> Token:
        """Return a token of a profile: the one that is kept, until its refresh time, or a new one.

        The arguments are Request's. The server is asked once however many ask for the
        same. While it is away the old token is returned as long as that has its margin,
        half of the time between its refresh and its end. A token that is for one use is
        never kept, and no two callers get the same.
        """
        request = Request(profile, claims, ttl, min_remaining)
        return run(self.calls.kept.token(request, self.calls.caller(timeout, cancellation)))

    def invalidate(self, profile: str) -> None:
        """Forget the tokens of a profile. The next token asks the server, which may answer with the same one."""
        self.calls.kept.invalidate(profile)

    def batch(
        self,
        requests: Iterable[Request],
        *,
        timeout: Seconds | None = None,
        cancellation: Cancellation | None = None,
    ) -> list[Token | Error]:
        """Ask for up to 256 tokens at once; return a token or an Error for each, in order. Nothing is kept."""
        return run(self.calls.batch(requests, self.calls.caller(timeout, cancellation)))

    def watch(
        self,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
    ) -> Watch:
        """Return an iterator over a token at once and each that replaces it.

        Where the server stops or the connection ends, it goes on with another. It ends
        with an Error when the server refuses, when no first token comes within the
        client's timeout, or when the server stays away until the last token has passed
        its margin; and without one when it is closed.
        """
        return Watch(Tokens(self.calls, Request(profile, claims, ttl, min_remaining)))

    def explain(
        self,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
        timeout: Seconds | None = None,
        cancellation: Cancellation | None = None,
    ) -> Explanation:
        """Say what token would get from the server, and every reason why not. Nothing is signed or kept."""
        request = Request(profile, claims, ttl, min_remaining)
        return run(self.calls.explain(request, self.calls.caller(timeout, cancellation)))

    def keys(
        self, profile: str = "", *, timeout: Seconds | None = None, cancellation: Cancellation | None = None
    ) -> list[Key]:
        """Return the public keys of the profiles that the caller may mint, of one alone where it is not empty."""
        return run(self.calls.keys(profile, self.calls.caller(timeout, cancellation)))

    def call_credentials(
        self,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
    ) -> grpc.CallCredentials:
        """Return credentials that put a token into each call of another gRPC service, over TLS alone."""
        return of_client(self, Request(profile, claims, ttl, min_remaining))

    def close(self) -> None:
        """End what is under way, with Cancelled, and the connection."""
        run(self.calls.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Watch:
    """An iterator over the tokens of a watch, for one thread. close, or the end of a `with`, ends it."""

    def __init__(self, tokens: Tokens) -> None:
        """Make an iterator of what Client.watch puts together."""
        self._tokens = tokens

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Token:
        token = run(self._tokens.next())
        if token is None:
            raise StopIteration
        return token

    def close(self) -> None:
        """End the watch. From another thread it ends whoever waits for a token there."""
        self._tokens.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        run(self._tokens.end())
