"""The commands of `import jotsmith.aio`: each is a task, and each caller has one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
from answers import describe, explained, listed, request, results, seconds, shape, shown

import jotsmith
import jotsmith.httpx
from jotsmith import aio
from jotsmith.v1 import key_service_pb2, key_service_pb2_grpc

connect = aio.connect
HTTP = ("httpx",)


async def close(client: aio.Client) -> None:
    """Close a client."""
    await client.close()


class Command:
    """One command."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []
        self._watch: aio.Watch | None = None

    def cancel(self) -> None:
        """Give it up."""
        if self._watch:
            self._watch.close()
        else:
            for task in self._tasks:
                task.cancel()

    async def do(self, client: aio.Client, command: dict[str, Any], say: Any) -> dict[str, Any]:
        """Do it."""
        spawn = asyncio.get_running_loop().create_task
        if command["op"] == "token":
            self._tasks = [spawn(self._token(client, command)) for _ in range(command.get("callers", 1))]
            return {"tokens": [shape(token) for token in await asyncio.gather(*self._tasks)]}
        task = spawn(getattr(self, command["op"])(client, command, say))
        self._tasks.append(task)
        answer: dict[str, Any] = await task
        return answer

    async def _token(self, client: aio.Client, command: dict[str, Any]) -> jotsmith.Token:
        timeout = seconds(command["timeout"]) if "timeout" in command else None
        return await client.token(**request(command), timeout=timeout)

    async def batch(self, client: aio.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Ask for several."""
        return results(await client.batch(command["requests"]))

    async def watch(self, client: aio.Client, command: dict[str, Any], say: Any) -> dict[str, Any]:
        """Say each token until it ends."""
        async with client.watch(**request(command)) as self._watch:
            try:
                async for token in self._watch:
                    say({"token": shape(token)})
            except jotsmith.Error as failed:
                return {"end": True, "error": describe(failed)}
        return {"end": True}

    async def explain(self, client: aio.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Explain."""
        return explained(await client.explain(**request(command)))

    async def keys(self, client: aio.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """List keys."""
        return listed(await client.keys(command.get("profile", "")))

    async def show(self, client: aio.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Print a token."""
        return shown(await self._token(client, command))

    async def close(self, client: aio.Client, _command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Close."""
        await client.close()
        return {}

    async def http(self, client: aio.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Send a request."""
        body = command.get("body", "").encode() or None
        async with httpx.AsyncClient(
            auth=jotsmith.httpx.Auth(client, **request(command)), follow_redirects=True, timeout=30
        ) as web:
            headers = command.get("headers")
            response = await web.request(command["method"], command["url"], content=body, headers=headers)
        return {"status": response.status_code, "body": response.text}

    async def grpc(self, client: aio.Client, command: dict[str, Any], _: Any) -> dict[str, Any]:
        """Call a gRPC service."""
        transport = grpc.ssl_channel_credentials(Path(command["tls_ca"]).read_bytes())
        credentials = grpc.composite_channel_credentials(transport, client.call_credentials(**request(command)))
        async with grpc.aio.secure_channel(command["address"], credentials) as channel:
            stub = key_service_pb2_grpc.KeyServiceStub(channel)
            try:
                await stub.ListKeys(key_service_pb2.ListKeysRequest(), timeout=30)
            except grpc.aio.AioRpcError as failed:
                return {"status": failed.code().name}
        return {"status": "OK"}
