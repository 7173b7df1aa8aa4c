"""The connection, and another when the files of TLS have changed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from jotsmith._core import errors
from jotsmith.v1 import key_service_pb2_grpc, token_service_pb2_grpc

if TYPE_CHECKING:
    from jotsmith._core.runtime import Runtime
    from jotsmith._core.settings import Server
    from jotsmith._core.tls import Files


class Lease:
    """A channel while calls go over it."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.users = 0
        self.tokens: Any = token_service_pb2_grpc.TokenServiceStub(channel)
        self.keys: Any = key_service_pb2_grpc.KeyServiceStub(channel)


class Channels:
    """The channel of now. Safe for use by several threads.

    gRPC takes certificates with a channel and not anew for each connection, as the
    library has to. So there is another channel once the files hold something else that
    can be used. Calls that are under way stay with the old one, which is closed by the
    last of them. What cannot be read, because it is being written just then, leaves
    what was read before.
    """

    def __init__(self, server: Server, runtime: Runtime) -> None:
        self._server, self._runtime = server, runtime
        self._lock = threading.Lock()
        self._current: Lease | None = None
        self._closed = False
        self._files: Files | None = server.tls.read() if server.tls else None
        self._seen: tuple[object, ...] | None = None

    async def take(self) -> Lease:
        """Return the channel for a call; give it back after it."""
        retired = None
        with self._lock:
            if self._closed:
                raise errors.closed()
            lease = self._current
            if self._changed() or lease is None:
                retired, lease = lease, Lease(self._open())
                self._current = lease
            lease.users += 1
            if retired is not None and retired.users > 0:
                retired = None  # its last call closes it
        if retired is not None:
            await self._runtime.shut(retired.channel)
        return lease

    async def give(self, lease: Lease) -> None:
        """Give back a channel. The last call of an old one closes it."""
        with self._lock:
            lease.users -= 1
            idle = lease.users == 0 and lease is not self._current
        if idle:
            await self._runtime.shut(lease.channel)

    async def close(self) -> None:
        """Close the channel. Those that are old are closed by their calls, which end now."""
        with self._lock:
            self._closed = True
            current, self._current = self._current, None
            busy = current is not None and current.users > 0
        if current is not None and not busy:
            await self._runtime.shut(current.channel)

    def _open(self) -> Any:
        credentials = self._files.credentials() if self._files else self._server.credentials
        return self._runtime.open(self._server.target, credentials, self._server.options)

    def _changed(self) -> bool:
        """Say whether the files hold something else than the channel was made with."""
        tls = self._server.tls
        if tls is None:
            return False
        seen = tls.seen()
        if seen == self._seen:
            return False
        try:
            files = tls.read()
        except errors.SettingError:
            return False
        self._seen = seen
        changed, self._files = files != self._files, files
        return changed
