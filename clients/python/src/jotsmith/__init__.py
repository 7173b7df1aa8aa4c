"""Tokens of a Jotsmith server, always fresh and asked for no more often than must be.

    client = jotsmith.connect()
    header = "Bearer " + client.token("asc").reveal()

jotsmith.aio is the same for asyncio, jotsmith.requests and jotsmith.httpx put tokens
into requests, and Client.call_credentials into calls of gRPC. How all of it behaves
stands in docs/clients.md.
"""

from jotsmith._core.calls import Decision, Explanation, Key
from jotsmith._core.errors import Cancelled, DeadlineExceeded, Error, SettingError, Violation
from jotsmith._core.request import Claims, Request
from jotsmith._core.secret import Token
from jotsmith._core.settings import DEFAULT_ADDRESS, Settings
from jotsmith._core.signals import Cancellation
from jotsmith.client import Client, Watch, connect

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_ADDRESS",
    "Cancellation",
    "Cancelled",
    "Claims",
    "Client",
    "DeadlineExceeded",
    "Decision",
    "Error",
    "Explanation",
    "Key",
    "Request",
    "SettingError",
    "Settings",
    "Token",
    "Violation",
    "Watch",
    "connect",
]
