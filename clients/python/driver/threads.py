"""The commands of `import jotsmith`: each blocks a thread, and each caller has one."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import requests
from answers import describe, explained, listed, request, results, seconds, shape, shown

import jotsmith
import jotsmith.httpx
import jotsmith.requests
from jotsmith.v1 import key_service_pb2, key_service_pb2_grpc

connect = jotsmith.connect
HTTP = ("requests", "httpx")
_pool = ThreadPoolExecutor(1000)


async def close(client: jotsmith.Client) -> None:
    """Close a client."""
    client.close()


class Command:
    """One command."""

    def __init__(self) -> None:
        self._cancellation = jotsmith.Cancellation()
        self._watch: jotsmith.Watch | None = None

    def cancel(self) -> None:
        """Give it up."""
        self._cancellation.cancel()
        if self._watch:
            self._watch.close()

    async def do(self, client: jotsmith.Client, command: dict[str, Any], say: Any) -> dict[str, Any]:
        """Do it."""
        run = asyncio.get_running_loop().run_in_executor
        if command["op"] == "token":
            callers = [run(_pool, self._token, client, command) for _ in range(command.get("callers", 1))]
            return {"tokens": [shape(token) for token in await asyncio.gather(*callers)]}
        answer: dict[str, Any] = await run(_pool, getattr(self, command["op"]), client, command, say)
        return answer

    def _token(self, client: jotsmith.Client, command: dict[str, Any]) -> jotsmith.Token:
        timeout = seconds(command["timeout"]) if "timeout" in command else None
        return client.token(**request(command), timeout=timeout, cancellation=self._cancellation)

    def batch(self, client: jotsmith.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Ask for several."""
        return results(client.batch(command["requests"], cancellation=self._cancellation))

    def watch(self, client: jotsmith.Client, command: dict[str, Any], say: Any) -> dict[str, Any]:
        """Say each token until it ends."""
        with client.watch(**request(command)) as self._watch:
            if self._cancellation.cancelled:
                self._watch.close()
            try:
                for token in self._watch:
                    say({"token": shape(token)})
            except jotsmith.Error as failed:
                return {"end": True, "error": describe(failed)}
        return {"end": True}

    def explain(self, client: jotsmith.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Explain."""
        return explained(client.explain(**request(command), cancellation=self._cancellation))

    def keys(self, client: jotsmith.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """List keys."""
        return listed(client.keys(command.get("profile", ""), cancellation=self._cancellation))

    def show(self, client: jotsmith.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Print a token."""
        return shown(self._token(client, command))

    def close(self, client: jotsmith.Client, _command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Close."""
        client.close()
        return {}

    def http(self, client: jotsmith.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Send a request."""
        method, url, headers = command["method"], command["url"], command.get("headers")
        body = command.get("body", "").encode() or None
        if command["plug"] == "requests":
            auth = jotsmith.requests.Auth(client, **request(command))
            answered = requests.request(method, url, data=body, headers=headers, auth=auth, timeout=30)
            return {"status": answered.status_code, "body": answered.text}
        with httpx.Client(auth=jotsmith.httpx.Auth(client, **request(command)), follow_redirects=True) as web:
            response = web.request(method, url, content=body, headers=headers)
        return {"status": response.status_code, "body": response.text}

    def grpc(self, client: jotsmith.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Call a gRPC service."""
        transport = grpc.ssl_channel_credentials(Path(command["tls_ca"]).read_bytes())
        credentials = grpc.composite_channel_credentials(transport, client.call_credentials(**request(command)))
        with grpc.secure_channel(command["address"], credentials) as channel:
            try:
                key_service_pb2_grpc.KeyServiceStub(channel).ListKeys(key_service_pb2.ListKeysRequest(), timeout=30)
            except grpc.RpcError as failed:
                return {"status": failed.code().name}
        return {"status": "OK"}
