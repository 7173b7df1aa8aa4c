"""The calls of a client, written once for both libraries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc import status_pb2

from jotsmith._core import errors
from jotsmith._core.channels import Channels, Lease
from jotsmith._core.errors import Error
from jotsmith._core.keeper import Keeper
from jotsmith._core.lifetime import SECOND, Clock, Seconds, nanoseconds
from jotsmith._core.request import Request
from jotsmith._core.retry import Waits
from jotsmith._core.runtime import Caller, Metadata, Runtime
from jotsmith._core.secret import Token
from jotsmith._core.signals import Cancellation, Signal
from jotsmith.v1 import key_service_pb2, token_service_pb2

if TYPE_CHECKING:
    from jotsmith._core.settings import Server

_LITTLE = 0.1
"""How many seconds the server may see a deadline earlier than it is here. It ends the call
then as one that was given up."""


@dataclass(frozen=True)
class Decision:
    """Where one header parameter or claim comes from."""

    name: str
    """The claim's, or `header.` and the parameter's."""
    rule: str
    doc: str
    """The document of the verifier that demands the rule."""
    present: bool
    """Whether the token would have it."""


@dataclass(frozen=True)
class Explanation:
    """What a token would be, or why there would be none."""

    grant: str
    """The grant that lets the caller have it."""
    refusals: tuple[Error, ...]
    """All reasons why token would fail. None where it would not."""
    header: str
    """A JSON object."""
    claims: str
    """A JSON object; random values are examples."""
    decisions: tuple[Decision, ...]
    ttl: float
    """For how many seconds it would be valid; 0 where it would not expire."""
    limits: tuple[str, ...]
    """The profile's, in words."""
    generation: str
    """The configuration that answered."""


@dataclass(frozen=True)
class Key:
    """The public half of a key that signs tokens."""

    kid: str
    algorithm: str
    spki: bytes
    """A DER SubjectPublicKeyInfo (RFC 5280)."""
    jwk: str
    """A JSON Web Key (RFC 7517)."""
    profiles: tuple[str, ...]
    """Those that the caller may mint."""


class Calls:
    """What a client does, as coroutines."""

    def __init__(self, server: Server, runtime: Runtime, clock: Clock) -> None:
        self.runtime, self.clock, self.timeout = runtime, clock, server.timeout
        self.closed = Signal()
        self._bearer = server.bearer
        self._channels = Channels(server, runtime)
        self.kept = Keeper(self._mint, runtime, self.caller(), server.timeout, server.max_kept, clock)

    def caller(self, timeout: Seconds | None = None, cancellation: Cancellation | None = None) -> Caller:
        """Return who waits at most so many seconds, and until he cancels."""
        until = None if timeout is None else self.runtime.now() + nanoseconds(timeout) / SECOND
        return Caller(self.runtime, self.closed, until, (cancellation.signal,) if cancellation else ())

    async def batch(self, requests: Iterable[Request], caller: Caller) -> list[Token | Error]:
        """Ask for several tokens at once."""
        message = token_service_pb2.BatchMintTokensRequest(requests=[request.message() for request in requests])
        asked = self.clock()

        async def once(lease: Lease, caller: Caller) -> Any:
            nonlocal asked
            asked = self.clock()
            return await self._unary(lease.tokens.BatchMintTokens, message, caller)

        response = await self._call(once, caller)
        if len(response.results) != len(message.requests):
            raise errors.error(
                grpc.StatusCode.INTERNAL, f"{len(response.results)} results for {len(message.requests)} requests"
            )
        return [
            Token(result.token, asked) if result.HasField("token") else errors.from_status(result.error)
            for result in response.results
        ]

    async def explain(self, request: Request, caller: Caller) -> Explanation:
        """Ask what a token would be."""
        message = token_service_pb2.ExplainTokenRequest(request=request.message())

        async def once(lease: Lease, caller: Caller) -> Any:
            return await self._unary(lease.tokens.ExplainToken, message, caller)

        response: token_service_pb2.ExplainTokenResponse = await self._call(once, caller)
        refusals: Iterable[status_pb2.Status] = response.refusals
        return Explanation(
            grant=response.grant,
            refusals=tuple(errors.from_status(refusal) for refusal in refusals),
            header=response.header,
            claims=response.claims,
            decisions=tuple(Decision(d.name, d.rule, d.doc, d.present) for d in response.decisions),
            ttl=response.ttl.ToNanoseconds() / SECOND,
            limits=tuple(response.limits),
            generation=response.config_generation,
        )

    async def keys(self, profile: str, caller: Caller) -> list[Key]:
        """Ask for the public keys."""
        message = key_service_pb2.ListKeysRequest(profile=Request(profile).message().profile)

        async def once(lease: Lease, caller: Caller) -> Any:
            return await self._unary(lease.keys.ListKeys, message, caller)

        response: key_service_pb2.ListKeysResponse = await self._call(once, caller)
        return [Key(k.kid, k.algorithm, k.spki, k.jwk, tuple(k.profiles)) for k in response.keys]

    async def close(self) -> None:
        """End what is under way and the connection."""
        self.closed.happen()
        await self.kept.close()
        await self._channels.close()

    async def open(self) -> Lease:
        """Return the channel for a stream, which shut gives back."""
        return await self._channels.take()

    async def shut(self, lease: Lease) -> None:
        """Give back the channel of a stream."""
        await self._channels.give(lease)

    def metadata(self) -> Metadata:
        """Return what a call carries. An Error says why there is no bearer."""
        if self._bearer is None:
            return ()
        try:
            return (("authorization", "Bearer " + self._bearer.read()),)
        except errors.SettingError as wrong:
            raise errors.error(grpc.StatusCode.UNAUTHENTICATED, str(wrong)) from None

    async def _mint(
        self, message: token_service_pb2.MintTokenRequest, caller: Caller
    ) -> token_service_pb2.MintTokenResponse:
        async def once(lease: Lease, caller: Caller) -> Any:
            return await self._unary(lease.tokens.MintToken, message, caller)

        response: token_service_pb2.MintTokenResponse = await self._call(once, caller)
        return response

    async def _call(self, once: Callable[[Lease, Caller], Awaitable[Any]], caller: Caller) -> Any:
        """Call until it succeeds, fails with anything but UNAVAILABLE, or would have to wait past the deadline.

        What is RESOURCE_EXHAUSTED is not tried again: each try would add to the load, or
        to the quota, that is the trouble.
        """
        caller = caller.within(self.timeout)
        waits = Waits()
        while True:
            caller.check()
            lease = await self._channels.take()
            try:
                return await once(lease, caller)
            except Error as failed:
                if failed.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
                wait = waits.next(failed.retry_after)
                left = caller.left()
                if left is not None and left <= wait:
                    raise
            finally:
                await self._channels.give(lease)
            await self.runtime.wait(caller.stops, wait)

    async def _unary(self, method: Callable[..., Any], message: Any, caller: Caller) -> Any:
        left = caller.left()
        try:
            return await self.runtime.unary(
                method, message, self.metadata(), self.timeout if left is None else max(left, 0), caller.stops
            )
        except grpc.RpcError as failed:
            error = errors.from_rpc(failed)
            left = caller.left()
            if error.code is grpc.StatusCode.CANCELLED and left is not None and left < _LITTLE:
                await self.runtime.wait(caller.stops, left)
                caller.check()
            raise error from failed
        except errors.Cancelled:
            caller.check()  # which says whether the client was closed
            raise
