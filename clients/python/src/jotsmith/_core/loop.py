"""The Runtime of programs with asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import grpc
import grpc.aio

from jotsmith._core import errors
from jotsmith._core.runtime import Metadata, raise_stopped
from jotsmith._core.signals import Signal


class Loop:
    """The Runtime of asyncio's running loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()  # a loop itself keeps none alive

    def now(self) -> float:
        """Return the loop's seconds."""
        return asyncio.get_running_loop().time()

    async def wait(self, signals: Sequence[Signal], seconds: float | None) -> None:
        """Wait for a signal or until the seconds have passed."""
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        for signal in signals:
            signal.listen(wake)
        try:
            await asyncio.wait((woken,), timeout=None if seconds is None else max(seconds, 0))
        finally:
            for signal in signals:
                signal.forget(wake)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in a task of its own."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def open(self, target: str, credentials: Any, options: Sequence[tuple[str, Any]]) -> grpc.aio.Channel:
        """Return a channel of the running loop."""
        if credentials is None:
            return grpc.aio.insecure_channel(target, options)
        return grpc.aio.secure_channel(target, credentials, options)

    async def shut(self, channel: grpc.aio.Channel) -> None:
        """Close a channel."""
        await channel.close()

    async def unary(
        self, method: Callable[..., Any], message: Any, metadata: Metadata, seconds: float, stops: Sequence[Signal]
    ) -> Any:
        """Make a call."""
        raise_stopped(stops)
        return await self._until(self._answer(method, message, metadata, seconds), None, stops)

    async def _answer(self, method: Callable[..., Any], message: Any, metadata: Metadata, seconds: float) -> Any:
        try:
            return await method(message, timeout=seconds, metadata=metadata)
        except grpc.aio.UsageError:  # of a channel that was closed meanwhile
            raise errors.closed() from None

    def stream(self, method: Callable[..., Any], message: Any, metadata: Metadata) -> Any:
        """Begin a call."""
        try:
            return method(message, metadata=metadata)
        except grpc.aio.UsageError:
            raise errors.closed() from None

    async def read(self, stream: Any, seconds: float | None, stops: Sequence[Signal]) -> Any | None:
        """Return the next answer."""
        try:
            answer = await self._until(stream.read(), seconds, stops)
        except BaseException:
            stream.cancel()
            raise
        return None if answer is grpc.aio.EOF else answer

    async def _until(self, work: Coroutine[Any, Any, Any], seconds: float | None, stops: Sequence[Signal]) -> Any:
        """Wait for work, which is a task so that no cancellation of the caller's is mistaken for its own."""
        task = asyncio.get_running_loop().create_task(work)
        done = Signal()

        def ended(task: asyncio.Task[Any]) -> None:
            if not task.cancelled():
                task.exception()  # or asyncio complains where nobody waits for it any more
            done.happen()

        task.add_done_callback(ended)
        try:
            await self.wait((done, *stops), seconds)
        finally:
            if not task.done():
                task.cancel()
        if task.done() and not task.cancelled():
            return task.result()
        await asyncio.wait((task,))
        raise_stopped(stops)
        raise errors.deadline_exceeded() if seconds is not None else errors.given_up()
