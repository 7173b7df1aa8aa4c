"""Plays the conformance scenarios with this library; it speaks what driver.md says.

`aio` as its argument makes it the library of asyncio.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import sys
from typing import Any, Protocol

import tasks
import threads
from answers import describe, request, seconds, verify

import jotsmith


class Commands(Protocol):
    """What a variant does for one command, which cancel gives up."""

    async def do(self, client: Any, command: dict[str, Any], say: Any) -> dict[str, Any]:
        """Do a command for a client; say answers before its end."""
        ...

    def cancel(self) -> None:
        """Give it up."""
        ...


class Driver:
    """The state between commands."""

    def __init__(self, variant: Any) -> None:
        self._variant = variant
        self._clients: dict[str, Any] = {}
        self._running: dict[int, Commands] = {}

    async def serve(self) -> None:
        """Read commands until the end of the input."""
        under_way: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.buffer.readline):
            command = json.loads(line)
            running = self._running[command["id"]] = self._variant.Command()
            task = loop.create_task(self._answer(command, running))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        for running in list(self._running.values()):
            running.cancel()
        if under_way:
            await asyncio.wait(under_way)
        for client in self._clients.values():
            await self._variant.close(client)

    async def _answer(self, command: dict[str, Any], running: Commands) -> None:
        def say(answer: dict[str, Any]) -> None:
            sys.stdout.write(json.dumps({"id": command["id"], **answer}) + "\n")
            sys.stdout.flush()

        try:
            answer = await self._do(command, running, say)
        except (Exception, asyncio.CancelledError) as failed:  # noqa: BLE001 # whatever it is, it is the answer
            answer = {"error": describe(failed)}
        del self._running[command["id"]]
        say(answer)

    async def _do(self, command: dict[str, Any], running: Commands, say: Any) -> dict[str, Any]:
        op = command["op"]
        if op == "hello":
            jose = [f"{name} {importlib.metadata.version(name)}" for name in ("PyJWT", "joserfc")]
            library = f"jotsmith {jotsmith.__version__}"
            language = f"Python {sys.version.split()[0]}"
            plugs = {"http": list(self._variant.HTTP), "grpc": ["call_credentials"]}
            return {"language": language, "library": library, "jose": jose, **plugs}
        if op == "verify":
            return verify(command)
        if op == "cancel":
            if command["of"] in self._running:
                self._running[command["of"]].cancel()
            return {}
        if op == "connect":
            settings = command.get("settings", {})
            if "timeout" in settings:
                settings["timeout"] = seconds(settings["timeout"])
            self._clients[command["client"]] = self._variant.connect(command.get("address"), **settings)
            return {}
        client = self._clients[command["client"]]
        if op == "invalidate":
            client.invalidate(command["profile"])
            return {}
        if op == "batch":
            command["requests"] = [jotsmith.Request(**request(each)) for each in command["requests"]]
        return await running.do(client, command, say)


if __name__ == "__main__":
    asyncio.run(Driver(tasks if sys.argv[1:] == ["aio"] else threads).serve())
