"""Tokens for the requests of httpx."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from jotsmith import aio
from jotsmith._core.request import Claims, Request
from jotsmith._core.secret import Token
from jotsmith._core.threads import run
from jotsmith.client import Client

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from jotsmith._core.lifetime import Seconds

__all__ = ["Auth"]


class Auth(httpx.Auth):
    """Puts a token into the Authorization of each request.

        httpx.Client(auth=Auth(jotsmith.connect(), "asc"))
        httpx.AsyncClient(auth=Auth(jotsmith.aio.connect(), "asc"))

    Where the answer is 401 it asks for another token and repeats the request once, if
    the server has another, the body is in memory and the profile's tokens are not for
    one use. A redirect to another scheme, host or port gets no token; httpx makes one
    exception, from http to https of the same host, both without a port. An error of
    Jotsmith's is the jotsmith.Error that it is.
    """

    def __init__(
        self,
        client: Client | aio.Client,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
    ) -> None:
        """Take tokens of a profile; the arguments are Request's."""
        self._client = client
        self._request = Request(profile, claims, ttl, min_remaining)

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send a request of a httpx.Client."""
        if not isinstance(self._client, Client):
            raise TypeError("httpx.Client takes tokens of a jotsmith.Client")
        exchange = _Exchange(self._client, self._request)
        response = yield run(exchange.first(request))
        again = run(exchange.again(response))
        if again is not None:
            yield again

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send a request of a httpx.AsyncClient."""
        if not isinstance(self._client, aio.Client):
            raise TypeError("httpx.AsyncClient takes tokens of a jotsmith.aio.Client")
        exchange = _Exchange(self._client, self._request)
        response = yield await aio.awaited(exchange.first(request))
        again = await aio.awaited(exchange.again(response))
        if again is not None:
            yield again


class _Exchange:
    """One request and its answers."""

    def __init__(self, client: Client | aio.Client, request: Request) -> None:
        self._calls, self._request = client.calls, request
        self._token: Token | None = None

    async def first(self, request: httpx.Request) -> httpx.Request:
        """Put a token into the request."""
        self._token = await self._calls.kept.token(self._request, self._calls.caller())
        request.headers["Authorization"] = _header(self._token)
        return request

    async def again(self, response: httpx.Response) -> httpx.Request | None:
        """Return the request to repeat with another token, if there is one.

        It may be that of a redirect. One that has no token was sent elsewhere, and its
        401 is not about the token.
        """
        request, token = response.request, self._token
        if response.status_code != httpx.codes.UNAUTHORIZED or token is None:
            return None
        if request.headers.get("Authorization") != _header(token) or not isinstance(request.stream, httpx.ByteStream):
            return None
        other = await self._calls.kept.renew(self._request, token, self._calls.caller())
        if other is None:
            return None
        request.headers["Authorization"] = _header(other)
        return request


def _header(token: Token) -> str:
    return "Bearer " + token.reveal()
