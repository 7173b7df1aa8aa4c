"""Tokens for the requests of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar

from jotsmith._core.request import Claims, Request
from jotsmith._core.threads import run

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

    from jotsmith._core.lifetime import Seconds
    from jotsmith._core.secret import Token
    from jotsmith.client import Client

__all__ = ["Auth"]

_UNAUTHORIZED = 401


class Auth(AuthBase):
    """Puts a token into the Authorization of each request.

        requests.get(url, auth=Auth(jotsmith.connect(), "asc"))
        session.auth = Auth(client, "asc")

    Where the answer is 401 it asks for another token and repeats the request once, if
    the server has another, the body can be sent again and the profile's tokens are not
    for one use. A redirect to another scheme, host or port gets no token. An error of
    Jotsmith's is the jotsmith.Error that it is.
    """

    def __init__(
        self,
        client: Client,
        profile: str,
        claims: Claims | None = None,
        *,
        ttl: Seconds | None = None,
        min_remaining: Seconds | None = None,
    ) -> None:
        """Take tokens of a profile; the arguments are Request's."""
        self._client = client
        self._request = Request(profile, claims, ttl, min_remaining)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Put a token into a request."""
        calls = self._client.calls
        token = run(calls.kept.token(self._request, calls.caller()))
        request.headers["Authorization"] = _header(token)
        request.register_hook("response", _Exchange(self._client, self._request, token, request).answered)  # type: ignore[no-untyped-call]
        return request


class _Exchange:
    """One request and its answers, those of its redirects too."""

    def __init__(self, client: Client, request: Request, token: Token, sent: PreparedRequest) -> None:
        self._calls, self._request, self._token = client.calls, request, token
        self._repeated = False
        self._body: Any = sent.body
        self._position = _position(sent.body)

    def answered(self, response: Response, *_: object, **how: Any) -> Response:
        """Look at an answer, which requests returns or follows a redirect of."""
        sent = response.request
        if response.status_code == _UNAUTHORIZED and sent.headers.get("Authorization") == _header(self._token):
            response = self._again(response, how)
        # Before requests copies what is to be sent there. It drops the header itself, but
        # for a redirect from http to https.
        if response.is_redirect and _elsewhere(sent.url or "", response.headers["location"]):
            sent.headers.pop("Authorization", None)
        return response

    def _again(self, response: Response, how: dict[str, Any]) -> Response:
        """Return the answer to the request with another token, or the one that there is."""
        sent = response.request
        if self._repeated or not self._replayable(sent):
            return response
        other = run(self._calls.kept.renew(self._request, self._token, self._calls.caller()))
        if other is None:
            return response
        self._repeated = True
        if self._position is not None:
            self._body.seek(self._position)
        response.close()
        again = sent.copy()
        # What requests does with an answer that it goes on from.
        extract_cookies_to_jar(again._cookies, sent, response.raw)  # type: ignore[no-untyped-call,attr-defined] # noqa: SLF001
        again.prepare_cookies(again._cookies)  # type: ignore[attr-defined] # noqa: SLF001
        # In both, because a redirect of the answer is made of the first.
        again.headers["Authorization"] = sent.headers["Authorization"] = _header(other)
        repeated: Response = response.connection.send(again, **how)
        repeated.history.append(response)
        repeated.request = sent
        return repeated

    def _replayable(self, sent: PreparedRequest) -> bool:
        if sent.body is None or isinstance(sent.body, bytes | str):
            return True
        return sent.body is self._body and self._position is not None


def _position(body: Any) -> int | None:
    """Return where a file stands that can be read from there again."""
    try:
        position = body.tell()
        body.seek(position)
    except (AttributeError, OSError, ValueError):
        return None
    return int(position)


def _elsewhere(url: str, location: str) -> bool:
    """Say whether a redirect leads to another scheme, host or port."""
    try:
        return _origin(urlsplit(url)) != _origin(urlsplit(urljoin(url, location)))
    except ValueError:
        return True


def _origin(url: SplitResult) -> tuple[str, str | None, int | None]:
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _header(token: Token) -> str:
    return "Bearer " + token.reveal()
