"""What is kept of tokens, and when the server is asked for another."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from jotsmith._core import errors
from jotsmith._core.lifetime import SECOND, Clock, Reading, nanoseconds
from jotsmith._core.request import Place, Request, place
from jotsmith._core.secret import Token
from jotsmith._core.signals import Signal

if TYPE_CHECKING:
    from jotsmith._core.runtime import Caller, Runtime
    from jotsmith.v1.token_service_pb2 import MintTokenRequest, MintTokenResponse

_PATIENCE = 1.0
"""How many seconds whoever could have the old token waits for the new one."""
_PAUSE = 1.0
"""How many seconds the server is left alone, at least, after it could not renew a token."""
_YOUNGEST = 15 * SECOND
"""The age from which a token is made anew because its consumer refused it. A younger one
was not refused for its age."""

Ask = Callable[["MintTokenRequest", "Caller"], Awaitable["MintTokenResponse"]]


@dataclass(eq=False)
class _Flight:
    """One call that several wait for. What it found is there when done has happened."""

    done: Signal = field(default_factory=Signal)
    token: Token | None = None
    error: errors.Error | None = None
    taken: bool = False
    """A token that is for one use has its user."""


@dataclass(eq=False)
class _Entry:
    """What is known of one place."""

    at: Place
    token: Token | None = None
    one_time: bool = False
    """Its tokens are, as far as is known."""
    flights: dict[int, _Flight] = field(default_factory=dict)
    failed: Reading | None = None
    """When the server could not renew the token."""
    pause: int = 0

    def left_alone(self, now: Reading) -> bool:
        """Say whether the server wants to be left alone."""
        return self.failed is not None and self.failed.age(now) < self.pause


class Keeper:
    """Keeps tokens. Safe for use by several threads."""

    def __init__(self, ask: Ask, runtime: Runtime, caller: Caller, timeout: float, most: int, clock: Clock) -> None:
        """Keep what ask gets, of so many requests at most.

        caller is who waits for the calls that several wait for: nobody but the client.
        timeout is that of a call, in seconds.
        """
        self._ask, self._runtime, self._nobody = ask, runtime, caller
        self._timeout, self._most, self._clock = timeout, most, clock
        # Of everything below. A task may begin before spawn returns, in its thread.
        self._lock = threading.RLock()
        self._places: OrderedDict[Place, _Entry] = OrderedDict()  # the one that was asked for last at its end
        self._flights: set[_Flight] = set()
        self._closed = False

    async def token(self, request: Request, caller: Caller) -> Token:
        """Return a kept token or a new one."""
        message = request.message()
        at = place(message)
        least = nanoseconds(request.min_remaining or 0)
        flight = None
        with self._lock:
            if self._closed:
                raise errors.closed()
            now = self._clock()
            entry = self._entry(at)
            old = entry.token
            spare = old if old is not None and old.life.usable(now, least) else None
            if old is not None and old.life.fresh(now, least):
                return old
            if spare is not None and entry.left_alone(now):
                return spare
            if not entry.one_time:
                flight = entry.flights.get(least) or self._start(message, entry, least)
        if flight is None:
            return await self._alone(message, entry, caller)
        token = await self._wait(flight, spare, least, caller)
        return token or await self._alone(message, entry, caller)

    async def _wait(self, flight: _Flight, old: Token | None, least: int, caller: Caller) -> Token | None:
        """Wait for a flight.

        The old token, where there is one, is what the caller gets while the server is
        away. Of a token that is for one use all but one of those who waited get None.
        """
        seconds = caller.left()
        if old is not None:
            seconds = _PATIENCE if seconds is None else min(_PATIENCE, seconds / 2)
        await self._runtime.wait((flight.done, *caller.stops), seconds)
        if not flight.done.happened:
            caller.check()
            if old is None:
                raise errors.deadline_exceeded()
            return old
        if flight.error is not None:
            if old is not None and flight.error.retryable and old.life.usable(self._clock(), least):
                return old
            raise _copy(flight.error)
        token = flight.token
        if token is not None and token.one_time:
            with self._lock:
                mine, flight.taken = not flight.taken, True
            return token if mine else None
        return token

    def _start(self, message: MintTokenRequest, entry: _Entry, least: int) -> _Flight:
        """Start a flight.

        It goes on without whoever came first, and ends with the timeout or the client.
        The lock is held.
        """
        flight = _Flight()
        entry.flights[least] = flight
        self._flights.add(flight)
        try:
            self._runtime.spawn(self._fly(flight, message, entry, least))
        except RuntimeError:  # no thread is to be had
            self._landed(flight, entry, least)
            raise
        return flight

    async def _fly(self, flight: _Flight, message: MintTokenRequest, entry: _Entry, least: int) -> None:
        asked = self._clock()
        # What stands if it ends by anything else, as a loop that is stopped makes it.
        flight.error = errors.given_up()
        try:
            response = await self._ask(message, self._nobody.within(self._timeout))
            flight.token, flight.error = Token(response, asked), None
        except errors.Error as failed:
            flight.error = failed
        except Exception as failed:
            flight.error = errors.error(grpc.StatusCode.INTERNAL, f"the library failed: {type(failed).__name__}")
            raise
        finally:
            with self._lock:
                self._landed(flight, entry, least)
                self._keep(entry, flight.token, flight.error)
            flight.done.happen()

    def _landed(self, flight: _Flight, entry: _Entry, least: int) -> None:
        self._flights.discard(flight)
        del entry.flights[least]

    async def _alone(self, message: MintTokenRequest, entry: _Entry, caller: Caller) -> Token:
        """Ask for a token that nobody else gets."""
        asked = self._clock()
        token = Token(await self._ask(message, caller.within(self._timeout)), asked)
        with self._lock:
            self._keep(entry, token, None)
        return token

    def _keep(self, entry: _Entry, token: Token | None, failed: errors.Error | None) -> None:
        """Take up what the server answered.

        A refusal is as good as an answer: the token before it is not handed out any
        more. The lock is held.
        """
        if token is not None:
            entry.one_time, entry.token, entry.failed = token.one_time, None if token.one_time else token, None
            return
        if failed is not None and failed.retryable:
            entry.failed = self._clock()
            entry.pause = nanoseconds(max(failed.retry_after, _PAUSE))
        elif failed is not None and failed.code not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.CANCELLED):
            # Of the two the request was wrong, or nobody asked any more.
            entry.token = None
        if entry.token is None and not entry.flights:
            self._drop(entry)

    def _entry(self, at: Place) -> _Entry:
        """Return the place's, new where there is none.

        Where there are too many, the one that was not asked for the longest goes. The
        lock is held.
        """
        entry = self._places.get(at)
        if entry is not None:
            self._places.move_to_end(at)
            return entry
        if len(self._places) >= self._most:
            self._places.popitem(last=False)
        entry = self._places[at] = _Entry(at)
        return entry

    def _drop(self, entry: _Entry) -> None:
        """Forget a place.

        Its flights find their way to those who wait, and nobody else. The lock is held.
        """
        if self._places.get(entry.at) is entry:
            del self._places[entry.at]

    def invalidate(self, profile: str) -> None:
        """Forget the places of a profile."""
        with self._lock:
            for at in [at for at in self._places if at.profile == profile]:
                del self._places[at]

    async def renew(self, request: Request, refused: Token, caller: Caller) -> Token | None:
        """Return another token than one that its consumer has refused, or None where there is none.

        The server makes a new one instead of the same only where its profile lets
        callers ask for a longer life.
        """
        if refused.one_time:
            return None
        with self._lock:
            entry = self._places.get(place(request.message()))
            # Otherwise another's renewal has come between, or is under way and is joined.
            if entry is not None and entry.token is not None and entry.token.reveal() == refused.reveal():
                self._drop(entry)
        longer, now = request, self._clock()
        if refused.life.expire is not None and refused.life.asked.age(now) >= _YOUNGEST:
            # Whole seconds, five more than it has.
            least = max(nanoseconds(request.min_remaining or 0) / SECOND, refused.life.remaining(now) // SECOND + 5)
            longer = Request(request.profile, request.claims, request.ttl, least)
        try:
            try:
                token = await self.token(longer, caller)
            except errors.Error as failed:
                if failed.code is not grpc.StatusCode.INVALID_ARGUMENT or longer is request:
                    raise
                token = await self.token(request, caller)
        except errors.Error:
            return None
        return token if token.reveal() != refused.reveal() else None

    async def close(self) -> None:
        """Take no more calls, and wait for those under way; the client's end has ended them."""
        with self._lock:
            self._closed = True
            flights = list(self._flights)
        for flight in flights:
            await self._runtime.wait((flight.done,), None)


def _copy(failed: errors.Error) -> errors.Error:
    """Return an Error for one of several who get it, each with a traceback of his own."""
    copy = errors.error(failed.code, failed.message, failed.reason, failed.retry_after, failed.violations)
    copy.__cause__ = failed.__cause__
    return copy
