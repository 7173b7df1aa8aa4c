"""Both clients against a real server."""

import asyncio
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import grpc
import pytest
from served import serving

import jotsmith
from jotsmith import Cancellation, Cancelled, DeadlineExceeded, Error, Request, aio


@pytest.fixture
def served():
    with serving() as (service, address):
        yield service, address


@pytest.fixture
def client(served):
    with jotsmith.connect(served[1]) as client:
        yield client


def test_a_hundred_threads_are_one_request(served, client):
    service, _ = served
    service.hold.clear()
    with ThreadPoolExecutor(100) as pool:
        callers = [pool.submit(client.token, "p", {"a": 1}) for _ in range(100)]
        service.waiting.acquire()
        time.sleep(0.1)
        service.hold.set()
        assert {caller.result().reveal() for caller in callers} == {"token-1"}
    assert client.token("p", '{"a": 1}').reveal() == "token-1"
    assert next(service.numbers) == 2


def test_no_two_threads_get_a_token_that_is_for_one_use(served, client):
    served[0].one_time = True
    with ThreadPoolExecutor(30) as pool:
        tokens = [caller.result() for caller in [pool.submit(client.token, "p") for _ in range(60)]]
    assert len({token.reveal() for token in tokens}) == 60
    assert all(token.one_time for token in tokens)


def test_a_thread_that_gives_up_stops_nobody_else(served, client):
    service, _ = served
    service.hold.clear()
    cancellation = Cancellation()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.token, "p", cancellation=cancellation)
        service.waiting.acquire()
        second = pool.submit(client.token, "p")
        cancellation.cancel()
        with pytest.raises(CancelledError):
            first.result(5)
        assert isinstance(first.exception(), Cancelled)
        service.hold.set()
        assert second.result(5).reveal() == "token-1"
    with pytest.raises(Cancelled):
        client.keys(cancellation=cancellation)
    assert cancellation.cancelled


@pytest.mark.parametrize("one_time", [False, True])
def test_a_deadline_ends_a_call(served, client, one_time):
    service, _ = served
    service.one_time = one_time
    client.token("q" if not one_time else "p")  # knows that it is for one use
    service.hold.clear()
    begun = time.monotonic()
    with pytest.raises(DeadlineExceeded) as failed:
        client.token("p", timeout=0.2)
    assert 0.15 < time.monotonic() - begun < 3
    assert failed.value.reason == "DEADLINE_EXCEEDED"


def test_a_call_alone_is_given_up_too(served, client):
    service, _ = served
    service.one_time = True
    client.token("p")
    service.hold.clear()
    cancellation = Cancellation()
    threading.Timer(0.2, cancellation.cancel).start()
    with pytest.raises(Cancelled):
        client.token("p", cancellation=cancellation)


def test_close_ends_what_is_under_way(served, client):
    service, _ = served
    service.hold.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.token, "p"), pool.submit(client.batch, [Request("p")])]
        service.waiting.acquire()
        service.waiting.acquire()
        client.close()
        for call in waiting:
            with pytest.raises(Cancelled):
                call.result(5)
    for call in (lambda: client.token("p"), client.keys, lambda: next(client.watch("p"))):
        with pytest.raises(Cancelled, match="closed"):
            call()


def test_a_watch_is_closed_from_another_thread(served, client):
    service, _ = served
    with client.watch("p") as tokens:
        assert next(tokens).reveal() == "token-1"
        service.more.set()
        assert next(tokens).reveal() == "token-2"
        threading.Timer(0.2, tokens.close).start()
        assert list(tokens) == []
    assert list(tokens) == []


def test_a_watch_without_a_first_token_ends_in_time(served):
    service, address = served
    service.hold.clear()
    with jotsmith.connect(address, timeout=0.3) as client, pytest.raises(DeadlineExceeded):
        next(client.watch("p"))


def test_nobody_is_there():
    with jotsmith.connect("unix:///nobody/is/here", timeout=0.3) as client, pytest.raises(Error) as failed:
        client.token("p")
    assert failed.value.code is grpc.StatusCode.UNAVAILABLE
    assert failed.value.reason == ""
    assert failed.value.retryable


def test_one_line_without_asyncio_in_a_running_loop(client):
    async def main():
        return client.token("p").reveal()

    assert asyncio.run(main()) == "token-1"


def test_everything_with_asyncio(served):
    service, address = served

    async def main():
        async with aio.connect(address) as client:
            service.hold.clear()
            callers = [asyncio.ensure_future(client.token("p", {"a": 1})) for _ in range(100)]
            await asyncio.to_thread(service.waiting.acquire)
            callers[0].cancel()
            await asyncio.sleep(0)
            service.hold.set()
            results = await asyncio.gather(*callers, return_exceptions=True)
            assert {token.reveal() for token in results[1:]} == {"token-1"}
            assert type(results[0]) is asyncio.CancelledError
            assert len(await client.batch([Request("p"), Request("q")])) == 2
            assert await client.keys() == []
            with pytest.raises(Error):
                await client.explain("p")
            async with client.watch("p") as tokens:
                first = await anext(tokens)
                service.more.set()
                assert (await anext(tokens)).reveal() != first.reveal()
                asyncio.get_running_loop().call_later(0.1, tokens.close)
                assert [token async for token in tokens] == []

    asyncio.run(main())


def test_asyncios_own_deadlines_and_cancellations(served):
    service, address = served

    async def main():
        async with aio.connect(address) as client:
            service.hold.clear()
            with pytest.raises(asyncio.TimeoutError) as timed_out:
                await asyncio.wait_for(client.token("p"), 0.1)
            assert not isinstance(timed_out.value, Error)
            with pytest.raises(DeadlineExceeded):
                await client.token("p", timeout=0.1)
            task = asyncio.ensure_future(client.keys())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            waiting = asyncio.ensure_future(client.token("p"))
            await asyncio.sleep(0.1)
        with pytest.raises(Cancelled):
            await waiting
        with pytest.raises(Cancelled, match="closed"):
            await client.token("p")

    asyncio.run(main())


def test_a_cancelled_call_says_which_error_it_is(served):
    service, address = served
    service.hold.clear()

    async def main():
        async with aio.connect(address) as client:

            async def ask():
                try:
                    await client.token("p")
                except asyncio.CancelledError as cancelled:
                    return cancelled.__cause__

            task = asyncio.ensure_future(ask())
            await asyncio.sleep(0.1)
            task.cancel()
            assert isinstance(await task, Cancelled)

    asyncio.run(main())


def test_a_client_of_asyncio_is_made_outside_of_any_loop(served):
    client = aio.connect(served[1])

    async def main():
        async with client:
            return (await client.token("p")).reveal()

    assert asyncio.run(main()) == "token-1"


def test_a_watch_that_nobody_has_any_more_ends(served, client):
    for token in client.watch("p"):
        assert token.fresh
        break
    assert served[0].left.acquire(timeout=5)


def test_a_watch_of_asyncio_that_nobody_has_any_more_ends(served):
    service, address = served

    async def main():
        async with aio.connect(address) as client:
            async for token in client.watch("p"):
                assert token.fresh
                break
            assert await asyncio.to_thread(service.left.acquire, timeout=5)

    asyncio.run(main())
