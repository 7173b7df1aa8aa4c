"""The Runtime of programs without asyncio: whatever waits blocks its thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import grpc

from jotsmith._core import errors
from jotsmith._core.runtime import Metadata, raise_stopped
from jotsmith._core.signals import Signal

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine over Threads does, which never hands control back before its end."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("something of threads was awaited that does not block")


class Threads:
    """The Runtime of threads."""

    def now(self) -> float:
        """Return the seconds of a clock that nobody sets."""
        return time.monotonic()

    async def wait(self, signals: Sequence[Signal], seconds: float | None) -> None:
        """Block until a signal has happened or the seconds have passed."""
        woken = threading.Event()
        for signal in signals:
            signal.listen(woken.set)
        try:
            woken.wait(None if seconds is None else max(seconds, 0))
        finally:
            for signal in signals:
                signal.forget(woken.set)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in a thread that keeps no program from its end."""
        thread = threading.Thread(target=run, args=(work,), name="jotsmith", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            work.close()
            raise

    def open(self, target: str, credentials: Any, options: Sequence[tuple[str, Any]]) -> grpc.Channel:
        """Return a channel."""
        if credentials is None:
            return grpc.insecure_channel(target, options)
        return grpc.secure_channel(target, credentials, options)

    async def shut(self, channel: grpc.Channel) -> None:
        """Close a channel."""
        channel.close()

    async def unary(
        self, method: Callable[..., Any], message: Any, metadata: Metadata, seconds: float, stops: Sequence[Signal]
    ) -> Any:
        """Make a call."""
        raise_stopped(stops)
        try:
            call = method.future(message, timeout=seconds, metadata=metadata)  # type: ignore[attr-defined]
        except ValueError:  # of a channel that was closed meanwhile
            raise errors.closed() from None
        for stop in stops:
            stop.listen(call.cancel)
        try:
            return call.result()
        except grpc.FutureCancelledError:
            raise errors.given_up() from None
        except BaseException:
            call.cancel()  # as for Ctrl-C
            raise
        finally:
            for stop in stops:
                stop.forget(call.cancel)

    def stream(self, method: Callable[..., Any], message: Any, metadata: Metadata) -> Any:
        """Begin a call."""
        try:
            return method(message, metadata=metadata)
        except ValueError:
            raise errors.closed() from None

    async def read(self, stream: Any, seconds: float | None, stops: Sequence[Signal]) -> Any | None:
        """Return the next answer."""
        late = Signal()
        late.listen(stream.cancel)
        timer = None
        if seconds is not None:
            timer = threading.Timer(max(seconds, 0), late.happen)
            timer.daemon = True
            timer.start()
        for stop in stops:
            stop.listen(stream.cancel)
        try:
            answer = next(stream, None)
            if late.happened:  # and the stream has been cancelled
                raise errors.deadline_exceeded()
            return answer
        except grpc.RpcError:
            raise_stopped(stops)
            if late.happened:
                raise errors.deadline_exceeded() from None
            raise
        except BaseException:
            stream.cancel()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            for stop in stops:
                stop.forget(stream.cancel)
