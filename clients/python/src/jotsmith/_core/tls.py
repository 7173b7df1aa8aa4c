"""The files of TLS, read again when they have changed."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from jotsmith._core.errors import SettingError

_TRIES = 3
"""How often files are read that are being replaced."""


@dataclass(frozen=True)
class Files:
    """What the files held when they were read; None where there is none."""

    ca: bytes | None
    cert: bytes | None
    key: bytes | None = field(repr=False)

    def credentials(self) -> grpc.ChannelCredentials:
        """Return gRPC's credentials of it."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.cert)


@dataclass(frozen=True)
class TLS:
    """The paths of PEM files: the CAs of the server, the client's certificate and its key."""

    ca: Path | None
    cert: Path | None
    key: Path | None
    server_name: str | None

    def __post_init__(self) -> None:
        """Refuse one of the client's two without the other."""
        if (self.cert is None) != (self.key is None):
            raise SettingError("a client certificate and its key go together")

    def seen(self) -> tuple[object, ...]:
        """Return what differs when a file has been written; reading it tells whether its content does."""
        found: list[object] = []
        for path in (self.ca, self.cert, self.key):
            try:
                status = path.stat() if path else None
            except OSError as wrong:
                found.append(wrong.errno)
            else:
                found.append(status and (status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def read(self) -> Files:
        """Read the files. A SettingError says what is wrong with them."""
        ca = _read("CA of the server", self.ca)
        if ca is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=ca.decode("latin-1"))
            except (ssl.SSLError, ValueError):
                raise SettingError(f"CA of the server: {self.ca} holds no PEM certificate") from None
        cert, key = self._pair()
        return Files(_system() if self.ca is None else ca, cert, key)

    def _pair(self) -> tuple[bytes | None, bytes | None]:
        """Read the client's certificate and key, and look whether they belong together.

        gRPC would say nothing of a key that is another certificate's. Python looks at
        files alone, which may have been replaced since they were read.
        """
        for _ in range(_TRIES):
            cert, key = _read("client certificate", self.cert), _read("client key", self.key)
            if self.cert is None:
                return None, None
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(self.cert, self.key, password=lambda: b"")
            except (OSError, ValueError) as wrong:
                raise SettingError(f"client certificate: {self.cert} with {self.key}: {wrong}") from None
            if (cert, key) == (_read("client certificate", self.cert), _read("client key", self.key)):
                return cert, key
        raise SettingError(f"client certificate: {self.cert} is being written")


def _read(what: str, path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as wrong:
        raise SettingError(f"{what}: {wrong}") from wrong


def _system() -> bytes | None:
    """Return the system's CAs, or None where it has no file of them: gRPC then takes its own."""
    paths = ssl.get_default_verify_paths()
    for path in (paths.cafile, paths.capath and Path(paths.capath, "ca-certificates.crt")):
        if path and Path(path).is_file():
            return Path(path).read_bytes()
    return None
