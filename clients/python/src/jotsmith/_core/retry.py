"""How long to wait before another try."""

from __future__ import annotations

import random

FIRST = 0.1
_LAST = 2.0


class Waits:
    """Waits that grow longer from time to time, in seconds."""

    def __init__(self) -> None:
        self.last = 0.0

    def next(self, retry_after: float) -> float:
        """Return how long to wait: what the server asked for, and never what everybody else does."""
        self.last = min(max(2 * self.last, FIRST), _LAST)
        wait = max(self.last, retry_after)
        return wait * (1 + random.random() / 5)  # noqa: S311 # it keeps clients apart, and need not be a secret
