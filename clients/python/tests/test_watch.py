import asyncio

import grpc
import pytest
from scripted import Client, failure, now, virtually

from jotsmith import Cancelled, DeadlineExceeded, Error
from jotsmith._core.request import Request
from jotsmith._core.watch import Tokens

draining = failure("UNAVAILABLE", "DRAINING")


def watching(*streams, timeout=2):
    client = Client(timeout=timeout)
    client.server.streams = list(streams)
    return client, Tokens(client.calls, Request("p"))


async def text(tokens):
    token = await tokens.next()
    return token and token.reveal()


@virtually
async def test_it_follows_a_server_that_stops():
    client, tokens = watching((["a", "b"], draining), (["b"], draining), ([], draining), (["b", "c"], None))
    assert [await text(tokens) for _ in range(3)] == ["a", "b", "c"]
    began = client.server.began
    assert len(began) == 4
    assert began[1] == began[0]
    assert began[2] - began[1] >= 0.1
    assert began[3] - began[2] >= 0.2


@virtually
async def test_a_stream_that_has_lived_says_nothing_about_the_server():
    client, tokens = watching((["a"], None), (["b"], None), (["c"], None))
    assert await text(tokens) == "a"
    for expected in ("b", "c"):
        await asyncio.sleep(11)
        tokens._stream.end = draining
        assert await text(tokens) == expected
    assert client.server.began == [0, 11, 22]


@virtually
async def test_it_ends_when_there_can_be_no_token():
    _, tokens = watching((["a"], failure("PERMISSION_DENIED")))
    assert await text(tokens) == "a"
    with pytest.raises(Error) as failed:
        await tokens.next()
    assert failed.value.code is grpc.StatusCode.PERMISSION_DENIED
    assert await tokens.next() is None


@virtually
async def test_it_ends_when_no_first_token_comes():
    _, tokens = watching(([], None))
    with pytest.raises(DeadlineExceeded):
        await tokens.next()
    assert now() == 2


@virtually
async def test_it_ends_when_the_server_stays_away_past_the_margin():
    _, tokens = watching((["a"], draining), *[([], draining)] * 1000)
    assert await text(tokens) == "a"
    with pytest.raises(Error) as failed:
        await tokens.next()
    assert failed.value.reason == "DRAINING"
    assert 495 < now() <= 500


@virtually
async def test_a_caller_who_stops_gets_no_error():
    _, tokens = watching((["a"], None))
    assert await text(tokens) == "a"
    asyncio.get_running_loop().call_later(5, tokens.stop)
    assert await tokens.next() is None
    assert now() == 5


@virtually
async def test_it_ends_with_its_client():
    client, tokens = watching((["a"], None))
    assert await text(tokens) == "a"
    asyncio.get_running_loop().call_later(5, client.calls.closed.happen)
    with pytest.raises(Cancelled, match="closed"):
        await tokens.next()
