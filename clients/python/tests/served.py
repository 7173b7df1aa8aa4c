"""A gRPC server in the test's own process, and a web server, whose answers a test tells."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from typing_extensions import Self

from jotsmith._core.lifetime import SECOND
from jotsmith.v1 import key_service_pb2, key_service_pb2_grpc, token_service_pb2, token_service_pb2_grpc
from jotsmith.v1.token_service_pb2 import MintTokenResponse, WatchTokenResponse


class Service(token_service_pb2_grpc.TokenServiceServicer, key_service_pb2_grpc.KeyServiceServicer):
    """Answers with another token each time, and remembers who called."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.one_time = False
        self.generation: int | None = None  # what token-N is meanwhile
        self.hold = threading.Event()  # an answer waits for it
        self.hold.set()
        self.waiting = threading.Semaphore(0)
        self.fail: grpc.StatusCode | None = None
        self.callers: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.more = threading.Event()  # another token for the watches
        self.left = threading.Semaphore(0)  # watches that their callers have left

    def MintToken(self, _: Any, context: grpc.ServicerContext) -> MintTokenResponse:  # noqa: N802
        return self._answer(context)

    def BatchMintTokens(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        results = [token_service_pb2.BatchMintTokensResult(token=self._answer(context)) for _ in request.requests]
        return token_service_pb2.BatchMintTokensResponse(results=results)

    def WatchToken(self, _: Any, context: grpc.ServicerContext) -> Iterator[WatchTokenResponse]:  # noqa: N802
        context.add_callback(self.left.release)
        while context.is_active():
            yield WatchTokenResponse(token=self._answer(context))
            while context.is_active() and not self.more.wait(0.05):
                pass
            self.more.clear()

    def ListKeys(self, _: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        self._seen(context)
        return key_service_pb2.ListKeysResponse()

    def _seen(self, context: grpc.ServicerContext) -> None:
        self.callers += [name.decode() for name in context.auth_context().get("x509_common_name", [])]
        self.sent.append(dict(context.invocation_metadata()))

    def _answer(self, context: grpc.ServicerContext) -> MintTokenResponse:
        self._seen(context)
        self.waiting.release()
        self.hold.wait()
        if self.fail is not None:
            context.abort(self.fail, "told")
        number = next(self.numbers) if self.generation is None else self.generation
        response = MintTokenResponse(token=f"token-{number}", kid="kid")
        now = time.time_ns()
        response.answer_time.FromNanoseconds(now)
        response.expire_time.FromNanoseconds(now + 600 * SECOND)
        if not self.one_time:
            response.refresh_time.FromNanoseconds(now + 400 * SECOND)
        return response


@contextlib.contextmanager
def serving(credentials: grpc.ServerCredentials | None = None) -> Iterator[tuple[Service, str]]:
    """Serve over a Unix socket, or over TLS."""
    service = Service()
    pool = futures.ThreadPoolExecutor(64)
    server = grpc.server(pool)
    token_service_pb2_grpc.add_TokenServiceServicer_to_server(service, server)
    key_service_pb2_grpc.add_KeyServiceServicer_to_server(service, server)
    with tempfile.TemporaryDirectory() as directory:
        if credentials is None:
            address = f"unix://{Path(directory, 's')}"
            server.add_insecure_port(address)
        else:
            address = f"localhost:{server.add_secure_port('localhost:0', credentials)}"
        server.start()
        try:
            yield service, address
        finally:
            service.hold.set()
            server.stop(0).wait()
            pool.shutdown()


class Web:
    """A web server that takes one token alone, and remembers what came."""

    def __init__(self) -> None:
        self.accepts: str | None = None  # any
        self.requests: list[tuple[str, str, str | None, bytes]] = []
        self.redirects: dict[str, str] = {}
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else self._chunks()
                token = self.headers["Authorization"]
                web.requests.append((self.command, self.path, token, body))
                refused = web.accepts is not None and token != f"Bearer {web.accepts}"
                status = 401 if refused else 307 if self.path in web.redirects else 200
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", web.redirects[self.path])
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_POST = do_GET  # noqa: N815

            def _chunks(self) -> bytes:
                body = b""
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                return body

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def tokens(self) -> list[str | None]:
        return [token for _, _, token, _ in self.requests]
