"""How long tokens last, by the server's times and this machine's two clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

SECOND = 1_000_000_000
"""A second, in the nanoseconds that all durations in here are counted in."""

Seconds = float | timedelta
"""A duration as callers give it: seconds or a timedelta."""


def nanoseconds(duration: Seconds) -> int:
    """Return a duration in nanoseconds, of a timedelta or of whole seconds exactly."""
    if isinstance(duration, timedelta):
        return (duration // timedelta(microseconds=1)) * 1000
    return duration * SECOND if isinstance(duration, int) else round(duration * SECOND)


@dataclass(frozen=True)
class Reading:
    """A moment by both clocks of this machine, in nanoseconds."""

    monotonic: int
    wall: int

    def age(self, now: Reading) -> int:
        """Return how long before now this was.

        The monotonic clock cannot be set, and stands still while a laptop sleeps; the
        other runs on, and can be set. The longer of the two is never too short, unless
        a clock is set back in its sleep.
        """
        return max(now.monotonic - self.monotonic, now.wall - self.wall)


Clock = Callable[[], Reading]


def read_clock() -> Reading:
    """Read both clocks."""
    return Reading(time.monotonic_ns(), time.time_ns())


@dataclass(frozen=True)
class Lifetime:
    """How long a token lasts, in durations of the server's since it was asked for.

    That was before the server answered. refresh is None for a token that nobody keeps,
    expire for one without an end.
    """

    asked: Reading
    refresh: int | None
    expire: int | None

    def fresh(self, now: Reading, at_least: int = 0) -> bool:
        """Say that the token is the one to have, with at_least of its life left."""
        return self.refresh is not None and self.asked.age(now) < self.refresh and self._lasts(now, at_least)

    def margin(self) -> int:
        """Return until when a token may be used that the server cannot replace.

        It is the middle of the time between its refresh and its end, so that as a rule
        a sixth of its life is left. Of a token without end nobody knows how long its
        consumer takes it, so it has none.
        """
        if self.refresh is None or self.expire is None:
            return self.refresh or 0
        return self.refresh + max(self.expire - self.refresh, 0) // 2

    def usable(self, now: Reading, at_least: int = 0) -> bool:
        """Say that the token may stand in while the server is away."""
        return self.refresh is not None and self.asked.age(now) < self.margin() and self._lasts(now, at_least)

    def remaining(self, now: Reading) -> int:
        """Return how long the token is still valid: 0 when it has expired or has no end."""
        return 0 if self.expire is None else max(self.expire - self.asked.age(now), 0)

    def _lasts(self, now: Reading, at_least: int) -> bool:
        """Say whether at_least of its life is left; 0 asks for nothing."""
        return at_least <= 0 or (self.expire is not None and self.expire - self.asked.age(now) >= at_least)
