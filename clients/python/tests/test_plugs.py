"""What puts tokens into requests of HTTP and calls of gRPC."""

import asyncio
import io

import grpc
import httpx
import pytest
import requests
from served import Web, serving
from test_connections import SERVER, Authority

import jotsmith
import jotsmith.httpx
import jotsmith.requests
from jotsmith import Error, aio
from jotsmith.v1 import key_service_pb2, key_service_pb2_grpc


def by_requests(client, method, url, body=None):
    return requests.request(method, url, data=body, auth=jotsmith.requests.Auth(client, "p"), timeout=10)


def by_httpx(client, method, url, body=None):
    with httpx.Client(auth=jotsmith.httpx.Auth(client, "p"), follow_redirects=True) as web:
        return web.request(method, url, content=body)


def by_httpx_of_asyncio(client, method, url, body=None):
    async def ask():
        async with aio.connect(client.address) as other:
            if hasattr(client, "kept"):
                await other.token("p")
            client.ready()
            auth = jotsmith.httpx.Auth(other, "p")
            async with httpx.AsyncClient(auth=auth, follow_redirects=True) as web:
                return await web.request(method, url, content=body)

    return asyncio.run(ask())


@pytest.fixture(params=[by_requests, by_httpx, by_httpx_of_asyncio])
def send(request):
    return request.param


@pytest.fixture
def served():
    with serving() as (service, address), jotsmith.connect(address) as client, Web() as web, Web() as elsewhere:
        client.address, client.ready = address, lambda: None
        yield service, client, web, elsewhere


def rotated(service, client, web):
    """Let the server answer with token-1, which is kept, and then, as its consumer wants, with token-2."""
    service.generation = 1
    client.token("p")
    client.kept = True

    def ready():
        service.generation = 2

    client.ready = ready
    web.accepts = "token-2"


def test_a_request_carries_the_token(served, send):
    _, client, web, _ = served
    assert send(client, "GET", f"{web.url}/a").status_code == 200
    assert web.tokens == ["Bearer token-1"]


@pytest.mark.parametrize("body", [None, b"the body", "the body"])
def test_after_a_401_it_is_renewed_once_and_the_request_repeated(served, send, body):
    service, client, web, _ = served
    rotated(service, client, web)
    if send is not by_httpx_of_asyncio:
        client.ready()
    response = send(client, "POST", f"{web.url}/a", body)
    assert (response.status_code, response.text) == (200, "ok")
    assert web.tokens == ["Bearer token-1", "Bearer token-2"]
    assert {sent for _, _, _, sent in web.requests} == {b"the body" if body else b""}
    assert [each.status_code for each in response.history] == [401]


def test_the_same_token_again_lets_the_401_stand(served, send):
    service, client, web, _ = served
    service.generation, web.accepts = 1, "another"
    response = send(client, "GET", f"{web.url}/a")
    assert (response.status_code, response.text) == (401, "ok")
    assert web.tokens == ["Bearer token-1"]


def test_a_token_that_is_for_one_use_is_not_renewed(served, send):
    service, client, web, _ = served
    service.one_time, web.accepts = True, "another"
    assert send(client, "GET", f"{web.url}/a").status_code == 401
    assert len(web.requests) == 1


def test_it_is_renewed_once_alone(served, send):
    _, client, web, _ = served
    web.accepts = "another"
    assert send(client, "GET", f"{web.url}/a").status_code == 401
    assert web.tokens == ["Bearer token-1", "Bearer token-2"]


def test_a_body_that_is_gone_is_not_repeated(served, send):
    _, client, web, _ = served
    web.accepts = "another"

    async def later():
        yield b"the body"

    body = later() if send is by_httpx_of_asyncio else (part for part in [b"the body"])
    assert send(client, "POST", f"{web.url}/a", body).status_code == 401
    assert [sent for _, _, _, sent in web.requests] == [b"the body"]


def test_a_file_is_sent_again_from_where_it_stood(served):
    service, client, web, _ = served
    rotated(service, client, web)
    client.ready()
    body = io.BytesIO(b"not this, the body")
    body.seek(10)
    assert by_requests(client, "POST", f"{web.url}/a", body).status_code == 200
    assert [sent for _, _, _, sent in web.requests] == [b"the body"] * 2


def test_a_redirect_elsewhere_gets_no_token(served, send):
    _, client, web, elsewhere = served
    web.redirects = {"/here": "/there", "/away": f"{elsewhere.url}/", "/back": f"{elsewhere.url}/back"}
    elsewhere.redirects = {"/back": f"{web.url}/there"}
    assert send(client, "GET", f"{web.url}/here").status_code == 200
    assert len(web.tokens) == 2
    assert all(web.tokens)
    assert send(client, "GET", f"{web.url}/away").status_code == 200
    assert send(client, "GET", f"{web.url}/back").status_code == 200
    assert elsewhere.tokens == [None, None]
    assert web.tokens[-1] is None


def test_a_401_elsewhere_renews_nothing(served, send):
    service, client, web, elsewhere = served
    web.redirects, elsewhere.accepts = {"/away": f"{elsewhere.url}/"}, "another"
    assert send(client, "GET", f"{web.url}/away").status_code == 401
    assert (len(web.requests), len(elsewhere.requests)) == (1, 1)
    assert next(service.numbers) == 2


@pytest.mark.parametrize("away", [False, True])
def test_a_redirect_after_a_401_goes_on_with_the_other_token(served, send, away):
    service, client, web, elsewhere = served
    rotated(service, client, web)
    if send is not by_httpx_of_asyncio:
        client.ready()
    web.redirects = {"/here": f"{elsewhere.url}/" if away else "/there"}
    assert send(client, "GET", f"{web.url}/here").status_code == 200
    assert web.tokens == ["Bearer token-1", "Bearer token-2", *([] if away else ["Bearer token-2"])]
    assert elsewhere.tokens == ([None] if away else [])


def test_a_redirect_to_another_scheme_gets_no_token(served):
    _, client, _, _ = served
    auth = jotsmith.requests.Auth(client, "p")
    asked = auth(requests.Request("GET", "http://host.example/").prepare())
    answer = requests.Response()
    answer.request, answer.status_code, answer.headers["location"] = asked, 302, "https://host.example/"
    assert asked.headers["Authorization"] == "Bearer token-1"
    asked.hooks["response"][0](answer)
    assert "Authorization" not in asked.headers


def test_without_a_token_there_is_no_request(served, send):
    service, client, web, _ = served
    service.fail = grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(Error) as failed:
        send(client, "GET", f"{web.url}/a")
    assert failed.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert web.requests == []


def test_a_session_has_its_tokens_renewed(served):
    service, client, web, _ = served
    with requests.Session() as session:
        session.auth = jotsmith.requests.Auth(client, "p")
        assert session.get(f"{web.url}/a").ok
        web.accepts = "token-2"
        assert session.get(f"{web.url}/a").ok
        assert session.get(f"{web.url}/a").ok
    assert web.tokens == ["Bearer token-1", "Bearer token-1", "Bearer token-2", "Bearer token-2"]
    assert next(service.numbers) == 3


def test_the_other_librarys_client_is_a_mistake(served):
    _, client, web, _ = served
    auth = jotsmith.httpx.Auth(aio.connect(client.address), "p")
    with httpx.Client(auth=auth) as other, pytest.raises(TypeError):
        other.get(web.url)


def test_calls_of_another_service_carry_the_token(served):
    service, client, _, _ = served
    authority = Authority()
    with serving(grpc.ssl_server_credentials([authority.issue(SERVER)])) as (other, address):
        transport = grpc.ssl_channel_credentials(authority.pem())
        ask = key_service_pb2.ListKeysRequest()

        def credentials(client):
            return grpc.composite_channel_credentials(transport, client.call_credentials("p"))

        with grpc.secure_channel(address, credentials(client)) as channel:
            stub = key_service_pb2_grpc.KeyServiceStub(channel)
            stub.ListKeys(ask)
            client.invalidate("p")
            stub.ListKeys(ask)
            client.invalidate("p")
            service.fail = grpc.StatusCode.PERMISSION_DENIED
            with pytest.raises(grpc.RpcError):
                stub.ListKeys(ask)
        service.fail = None

        async def main():
            async with aio.connect(client.address) as own:
                channel = grpc.aio.secure_channel(address, credentials(own))
                stub = key_service_pb2_grpc.KeyServiceStub(channel)
                await stub.ListKeys(ask)
                service.fail = grpc.StatusCode.PERMISSION_DENIED
                own.invalidate("p")
                with pytest.raises(grpc.RpcError):
                    await stub.ListKeys(ask)
                await channel.close()

        asyncio.run(main())
        assert [sent["authorization"] for sent in other.sent] == [f"Bearer token-{n}" for n in (1, 2, 3)]
