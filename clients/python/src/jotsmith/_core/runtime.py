"""What the library needs from whatever runs it: threads, or asyncio's loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from jotsmith._core import errors
from jotsmith._core.signals import Signal

Metadata = tuple[tuple[str, str], ...]


class Runtime(Protocol):
    """What waits, runs and calls. Nothing of it raises another error than gRPC's and Error."""

    def now(self) -> float:
        """Return the seconds of a clock that nobody sets."""
        ...

    async def wait(self, signals: Sequence[Signal], seconds: float | None) -> None:
        """Return when one of the signals has happened or the seconds have passed."""
        ...

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside what runs."""
        ...

    def open(self, target: str, credentials: Any, options: Sequence[tuple[str, Any]]) -> Any:
        """Return a channel with credentials, or in plaintext where there are none."""
        ...

    async def shut(self, channel: Any) -> None:
        """Close a channel; calls that are under way end."""
        ...

    async def unary(
        self, method: Callable[..., Any], message: Any, metadata: Metadata, seconds: float, stops: Sequence[Signal]
    ) -> Any:
        """Make a call, and cancel it when one of the stops happens."""
        ...

    def stream(self, method: Callable[..., Any], message: Any, metadata: Metadata) -> Any:
        """Begin a call whose answers read returns. It ends with its cancel."""
        ...

    async def read(self, stream: Any, seconds: float | None, stops: Sequence[Signal]) -> Any | None:
        """Return the next answer, or None at the end of the stream.

        It cancels the call, and raises the Error for it, when a stop happens or the
        seconds have passed.
        """
        ...


@dataclass(frozen=True)
class Caller:
    """Who waits for an answer: until when, and what makes him give up."""

    runtime: Runtime
    closed: Signal
    until: float | None = None
    gives_up: tuple[Signal, ...] = field(default=())

    @property
    def stops(self) -> tuple[Signal, ...]:
        """What ends his calls."""
        return (self.closed, *self.gives_up)

    def left(self) -> float | None:
        """Return the seconds to his deadline; None where he has none."""
        return None if self.until is None else self.until - self.runtime.now()

    def within(self, seconds: float) -> Caller:
        """Return the same one with a deadline that comes so soon at least."""
        until = self.runtime.now() + seconds
        return Caller(self.runtime, self.closed, until if self.until is None else min(until, self.until), self.gives_up)

    def check(self) -> None:
        """Raise the Error of why he does not wait any more, if he does not."""
        raise_stopped(self.stops, self.closed)
        left = self.left()
        if left is not None and left <= 0:
            raise errors.deadline_exceeded()


def raise_stopped(stops: Sequence[Signal], closed: Signal | None = None) -> None:
    """Raise the Error of the stop that has happened, if one has."""
    for stop in stops:
        if stop.happened:
            raise errors.closed() if stop is closed else errors.given_up()
