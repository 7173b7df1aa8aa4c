"""Things that happen once, and that several can wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Signal:
    """Something that happens once. Safe for use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._happened = False
        self._listeners: list[Callable[[], object]] = []

    @property
    def happened(self) -> bool:
        """Whether it has happened."""
        return self._happened

    def happen(self) -> None:
        """Let it happen. Again, it does nothing."""
        with self._lock:
            self._happened = True
            listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener()

    def listen(self, listener: Callable[[], object]) -> None:
        """Have listener called when it happens, in whatever thread, or at once if it has."""
        with self._lock:
            if not self._happened:
                self._listeners.append(listener)
                return
        listener()

    def forget(self, listener: Callable[[], object]) -> None:
        """Take back a listen."""
        with self._lock:
            if listener in self._listeners:
                self._listeners.remove(listener)


class Cancellation:
    """How one thread gives up what another has asked for.

    A call that it was given to raises Cancelled as soon as cancel is called, and at
    once if it was called before.
    """

    def __init__(self) -> None:
        self.signal = Signal()

    def cancel(self) -> None:
        """Give up all calls that have this. May be called from any thread."""
        self.signal.happen()

    @property
    def cancelled(self) -> bool:
        """Whether cancel was called."""
        return self.signal.happened
