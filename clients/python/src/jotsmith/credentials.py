"""Tokens for the calls of other gRPC services."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

import grpc

from jotsmith._core.threads import run

if TYPE_CHECKING:
    from jotsmith import aio
    from jotsmith._core.request import Request
    from jotsmith._core.secret import Token
    from jotsmith.client import Client


def of_client(client: Client, request: Request) -> grpc.CallCredentials:
    """Return credentials with a client's tokens."""
    return grpc.metadata_call_credentials(_Plugin(lambda: _asked(client, request)), "jotsmith")


def of_aio(client: aio.Client, request: Request) -> grpc.CallCredentials:
    """Return credentials with the tokens of a client of the running loop."""
    loop = asyncio.get_running_loop()

    async def ask() -> Token:
        return await client.calls.kept.token(request, client.calls.caller())

    return grpc.metadata_call_credentials(_Plugin(lambda: asyncio.run_coroutine_threadsafe(ask(), loop)), "jotsmith")


def _asked(client: Client, request: Request) -> Future[Token]:
    """Return a future that is done: gRPC asks in a thread that may block."""
    done: Future[Token] = Future()
    try:
        done.set_result(run(client.calls.kept.token(request, client.calls.caller())))
    except Exception as failed:  # noqa: BLE001 # gRPC is told
        done.set_exception(failed)
    return done


class _Plugin(grpc.AuthMetadataPlugin):
    """What gRPC asks for each call, in a thread of its own. It sends it over TLS alone."""

    def __init__(self, ask: Callable[[], Future[Token]]) -> None:
        self._ask = ask

    def __call__(self, _context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback) -> None:
        def answered(asked: Future[Token]) -> None:
            try:
                token = asked.result()
            except Exception as failed:  # noqa: BLE001 # gRPC is told; a loop that has ended cancels
                callback((), failed)
            else:
                callback((("authorization", "Bearer " + token.reveal()),), None)

        self._ask().add_done_callback(answered)
