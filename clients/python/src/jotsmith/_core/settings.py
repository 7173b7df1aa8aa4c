"""How a client reaches its server: what the program sets, and the environment for the rest."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import grpc

from jotsmith._core.bearer import Bearer
from jotsmith._core.errors import SettingError
from jotsmith._core.lifetime import SECOND, Seconds, nanoseconds
from jotsmith._core.tls import TLS

if TYPE_CHECKING:
    from typing_extensions import Unpack

DEFAULT_ADDRESS = "unix:///run/jotsmith/jotsmith.sock"
"""Where connect looks for a server that nobody names."""


class Settings(TypedDict, total=False):
    """The settings of connect. What is not set comes from the environment, where it names a variable."""

    tls_ca: str | os.PathLike[str] | None
    """PEM file of the CAs of the server (JOTSMITH_TLS_CA). None: the system's, or
    where it has no file of them those that come with gRPC."""
    tls_cert: str | os.PathLike[str] | None
    """PEM file of the client certificate (JOTSMITH_TLS_CERT)."""
    tls_key: str | os.PathLike[str] | None
    """PEM file of its key (JOTSMITH_TLS_KEY)."""
    tls_server_name: str | None
    """The name in the server's certificate, if it is not the host (JOTSMITH_TLS_SERVER_NAME)."""
    bearer: str | None
    """A token that makes the caller known, as of Kubernetes or a CI system."""
    bearer_file: str | os.PathLike[str] | None
    """A file with one, read again for each call (JOTSMITH_BEARER_FILE)."""
    plaintext_loopback: bool
    """The server at 127.0.0.1:PORT or [::1]:PORT has no TLS there: whoever listens there
    is taken for it (JOTSMITH_PLAINTEXT_LOOPBACK=true)."""
    timeout: Seconds | None
    """How long a call takes at most, in seconds, retries included. None: 10."""
    max_kept: int | None
    """How many different requests have their tokens kept. None: 1024."""


@dataclass
class _Chosen:
    """Settings with their defaults; a setting that there is not is a TypeError."""

    tls_ca: Any = None
    tls_cert: Any = None
    tls_key: Any = None
    tls_server_name: Any = None
    bearer: Any = field(default=None, repr=False)
    bearer_file: Any = None
    plaintext_loopback: bool = False
    timeout: Any = None
    max_kept: Any = None

    def fill(self, *, unix: bool) -> None:
        """Set what is not set.

        A Unix socket takes nothing of TLS from the environment, which may be there for
        another server.
        """
        if not unix:
            self._take("tls_ca", "JOTSMITH_TLS_CA")
            if not self.tls_cert and not self.tls_key:
                self._take("tls_cert", "JOTSMITH_TLS_CERT")
                self._take("tls_key", "JOTSMITH_TLS_KEY")
            self._take("tls_server_name", "JOTSMITH_TLS_SERVER_NAME")
        if not self.bearer:
            self._take("bearer_file", "JOTSMITH_BEARER_FILE")
        if os.environ.get("JOTSMITH_PLAINTEXT_LOOPBACK") == "true":
            self.plaintext_loopback = True

    def _take(self, name: str, variable: str) -> None:
        setattr(self, name, getattr(self, name) or os.environ.get(variable))

    @property
    def tls(self) -> bool:
        """Whether anything of TLS is set."""
        return any(getattr(self, each.name) for each in fields(self) if each.name.startswith("tls_"))


@dataclass(frozen=True)
class Server:
    """Where a server is, and how it is called."""

    target: str
    """As gRPC has it."""
    credentials: grpc.ChannelCredentials | None
    """Of the connection; None for plaintext, and where tls has them."""
    tls: TLS | None
    bearer: Bearer | None
    options: tuple[tuple[str, Any], ...]
    timeout: float
    """Of a call, in seconds."""
    max_kept: int


def server(address: str | None, **settings: Unpack[Settings]) -> Server:
    """Return the server that settings and environment say. A SettingError says what is wrong."""
    chosen = _Chosen(**settings)
    address = address or os.environ.get("JOTSMITH_ADDRESS") or DEFAULT_ADDRESS
    chosen.fill(unix=address.startswith("unix:"))
    target, credentials, tls, options = _transport(address, chosen)
    bearer = None
    if chosen.bearer or chosen.bearer_file:
        bearer = Bearer(chosen.bearer, Path(chosen.bearer_file) if chosen.bearer_file else None)
        bearer.read()  # which is better said before anybody is called
    timeout = nanoseconds(chosen.timeout) / SECOND if chosen.timeout else 10.0
    if timeout <= 0:
        raise SettingError("the timeout is no time")
    return Server(target, credentials, tls, bearer, (*_OPTIONS, *options), timeout, chosen.max_kept or 1024)


_OPTIONS = (
    ("grpc.primary_user_agent", "jotsmith-python"),
    ("grpc.enable_retries", 0),  # the library's own know of RetryInfo
    ("grpc.service_config_disable_resolution", 1),
    # A connection of its own: another client in the program may have other certificates.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 45_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # by its name; it is how long a connection may take to be made
    ("grpc.max_reconnect_backoff_ms", 5_000),
)

_NO_PROXY = ("grpc.enable_http_proxy", 0)

_Transport = tuple[str, grpc.ChannelCredentials | None, TLS | None, tuple[tuple[str, Any], ...]]


def _transport(address: str, chosen: _Chosen) -> _Transport:
    if chosen.plaintext_loopback:
        return _loopback(address, chosen), None, None, (_NO_PROXY,)
    if address.startswith("unix:"):
        if chosen.tls:
            raise SettingError(f"the TLS settings are for HOST:PORT; {address} is a Unix socket, which has no TLS")
        # They fail on a connection of TCP.
        local = grpc.local_channel_credentials(grpc.LocalConnectionType.UDS)
        return address, local, None, (_NO_PROXY,)
    host, _, port = address.rpartition(":")
    if not host or not port or "/" in address or (":" in host and not (host[0] == "[" and host[-1] == "]")):
        raise SettingError(f"address {address!r} is neither unix:///PATH nor HOST:PORT")
    ca, cert, key = (Path(path) if path else None for path in (chosen.tls_ca, chosen.tls_cert, chosen.tls_key))
    tls = TLS(ca, cert, key, chosen.tls_server_name)
    tls.read()
    if not chosen.tls_cert and not chosen.bearer and not chosen.bearer_file:
        raise SettingError(
            "a server at HOST:PORT wants a client certificate or a token; set tls_cert and tls_key, or bearer_file"
        )
    name = (("grpc.ssl_target_name_override", tls.server_name),) if tls.server_name else ()
    return f"dns:///{address}", None, tls, name


def _loopback(address: str, chosen: _Chosen) -> str:
    """Return the target of an address that plaintext may go to."""
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ipaddress.ip_address(host[1:-1] if bracketed else host)
        loopback = ip.is_loopback and (ip.version == 6) == bracketed and "%" not in host  # noqa: PLR2004
        mapped = isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None
    except ValueError:
        loopback, mapped = False, False
    if not loopback or mapped or not (port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise SettingError(f"plaintext is for 127.0.0.1:PORT or [::1]:PORT, not for {address!r}")
    if chosen.tls:
        raise SettingError("the TLS settings and plaintext exclude each other")
    if chosen.bearer or chosen.bearer_file:
        raise SettingError("a bearer is not sent in plaintext")
    # By whatever name or proxy, it goes to no other machine.
    return f"ipv{ip.version}:{address}"
