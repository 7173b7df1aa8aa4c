import asyncio

import grpc
import pytest
from scripted import Client, Scripted, failure, now, seconds, virtually

from jotsmith import Cancelled, DeadlineExceeded, Error


@virtually
async def test_a_token_is_kept_until_its_refresh_time_whatever_the_clocks_say():
    for skew in (0, 34, -34, 86400, -86400):
        client = Client()
        client.server.skew = skew
        assert await client.token() == "token-1"
        await asyncio.sleep(399.99)
        assert await client.token() == "token-1"
        await asyncio.sleep(0.02)
        assert await client.token() == "token-2"


@virtually
async def test_an_old_token_serves_while_the_server_is_away_and_never_past_its_margin():
    client = Client()
    await client.token()
    client.server.fail = failure("RESOURCE_EXHAUSTED", "OVERLOADED", 5)
    await asyncio.sleep(400)
    assert await client.token() == "token-1"
    calls = client.server.calls
    assert await client.token() == "token-1"
    await asyncio.sleep(4.9)
    assert await client.token() == "token-1"
    assert client.server.calls == calls  # the server said when to come again
    await asyncio.sleep(0.1)
    assert await client.token() == "token-1"
    assert client.server.calls == calls + 1
    await asyncio.sleep(94.9)
    assert await client.token() == "token-1"
    await asyncio.sleep(0.2)
    failed = await client.fails("OVERLOADED")
    assert failed.retryable
    assert failed.retry_after == 5
    client.server.fail = None
    assert await client.token() == f"token-{client.server.calls}"


@virtually
async def test_a_refused_renewal_is_not_ignored():
    for code in ("PERMISSION_DENIED", "FAILED_PRECONDITION", "UNAUTHENTICATED", "INTERNAL"):
        client = Client()
        await client.token()
        client.server.fail = failure(code, "SAID_NO")
        await asyncio.sleep(400)
        await client.fails("SAID_NO")
        client.server.fail = failure("RESOURCE_EXHAUSTED", "AWAY")
        await client.fails("AWAY")  # the old one is gone


@virtually
async def test_a_wrong_wish_forgets_nothing():
    client = Client()
    await client.token()
    client.server.fail = failure("INVALID_ARGUMENT", "INVALID_REQUEST")
    await asyncio.sleep(400)
    await client.fails("INVALID_REQUEST")
    client.server.fail = failure("RESOURCE_EXHAUSTED", "AWAY")
    assert await client.token() == "token-1"


@virtually
async def test_a_silent_server_delays_an_old_token_by_a_second_at_most():
    client = Client()
    await client.token()
    await asyncio.sleep(400)
    client.server.takes = 3600
    begun = now()
    assert await client.token() == "token-1"
    assert now() - begun == pytest.approx(1)
    begun = now()
    assert await client.token(timeout=0.1) == "token-1"
    assert now() - begun == pytest.approx(0.05)


@virtually
async def test_a_hundred_callers_are_one_request():
    client = Client()
    client.server.takes = 1
    tokens = await asyncio.gather(*(client.token(claims={"b": 1, "a": "é"}) for _ in range(100)))
    assert set(tokens) == {"token-1"}
    assert await client.token(claims='{ "a":"\\u00e9", "b":1 }') == "token-1"
    assert client.server.calls == 1


@virtually
async def test_no_two_callers_get_a_token_that_is_for_one_use():
    client = Client()
    client.server.one_time, client.server.takes = True, 1
    tokens = await asyncio.gather(*(client.token() for _ in range(20)))
    tokens.append(await client.token())
    assert len(set(tokens)) == client.server.calls == 21
    client.server.one_time = False  # another configuration
    assert await client.token() == "token-22"
    assert await client.token() == "token-22"


@virtually
async def test_a_token_without_the_servers_time_is_not_kept():
    client = Client()
    client.server.timeless = True
    token = await client.whole()
    assert not token.fresh
    assert token.remaining == 0
    assert await client.token() == "token-2"


@virtually
async def test_a_token_without_end_has_no_margin():
    client = Client()
    client.server.endless = True
    await client.token()
    client.server.fail = failure("RESOURCE_EXHAUSTED", "AWAY")
    await asyncio.sleep(399.9)
    assert await client.token() == "token-1"
    await client.fails("AWAY", min_remaining=1)
    await asyncio.sleep(0.2)
    await client.fails("AWAY")


@virtually
async def test_min_remaining_is_kept():
    client = Client()
    assert await client.token() == "token-1"
    assert await client.token(min_remaining=540) == "token-1"
    await asyncio.sleep(60.1)
    assert await client.token(min_remaining=540) == "token-2"
    assert seconds(client.server.last.min_remaining) == 540
    await asyncio.sleep(120)
    client.server.fail = failure("RESOURCE_EXHAUSTED", "AWAY")
    assert await client.token() == "token-2"
    await client.fails("AWAY", min_remaining=540)  # the old one has less


@virtually
async def test_a_caller_who_gives_up_stops_nobody_else():
    client = Client()
    client.server.takes = 1
    first = asyncio.ensure_future(client.token())
    await asyncio.sleep(0.1)
    second = asyncio.ensure_future(client.token())
    await asyncio.sleep(0.1)
    first.cancel()
    assert await second == "token-1"
    assert first.cancelled()
    assert client.server.calls == 1


@virtually
async def test_a_call_has_a_deadline():
    client = Client()
    client.server.takes = 3600
    begun = now()
    failed = await client.fails("DEADLINE_EXCEEDED")
    assert now() - begun == pytest.approx(10)
    assert isinstance(failed, DeadlineExceeded)
    assert isinstance(failed, TimeoutError)
    assert failed.retryable
    begun = now()
    await client.fails("DEADLINE_EXCEEDED", timeout=1)
    assert now() - begun == pytest.approx(1)


@virtually
async def test_what_is_kept_is_bounded():
    client = Client()
    places = client.calls.kept._places
    for i in range(100):
        assert await client.token(claims={"n": i}) == f"token-{i + 1}"
    assert len(places) == 8
    assert await client.token(claims='{"n":92}') == "token-93"
    assert await client.token("q") == "token-101"
    assert await client.token(claims='{"n":92}') == "token-93"  # asked for since
    client.server.fail = failure("PERMISSION_DENIED", "NOT_GRANTED")
    for i in range(100):
        await client.fails("NOT_GRANTED", f"x{i}")
    assert len(places) == 7


def test_by_default_1024_requests_are_kept():
    @virtually
    async def fill():
        client = Client(max_kept=None)
        for i in range(1030):
            await client.token(claims={"n": i})
        assert len(client.calls.kept._places) == 1024

    fill()


@virtually
async def test_invalidate_forgets_what_is_under_way_too():
    client = Client()
    client.server.takes = 1
    first = asyncio.ensure_future(client.token())
    await asyncio.sleep(0.1)
    client.calls.kept.invalidate("p")
    assert await client.token() == "token-2"
    assert await first == "token-1"
    assert await client.token() == "token-2"
    client.calls.kept.invalidate("other")
    assert await client.token() == "token-2"


@virtually
async def test_a_refused_token_is_made_anew_once_it_is_old_enough():
    client = Client()
    first = await client.whole()
    assert await client.renew(first) == "token-2"
    assert not client.server.last.HasField("min_remaining")
    second = await client.whole()
    # Another caller who was refused the first token gets what is kept now.
    assert await client.renew(first) == "token-2"
    await asyncio.sleep(60)
    assert await client.renew(second) == "token-3"
    assert seconds(client.server.last.min_remaining) == 545


@virtually
async def test_the_same_token_again_is_no_other():
    client = Client()
    client.server.same = True
    assert await client.renew(await client.whole()) is None
    one_time = Client()
    one_time.server.one_time = True
    assert await one_time.renew(await one_time.whole()) is None
    assert one_time.server.calls == 1


@virtually
async def test_a_profile_that_allows_no_such_wish_is_asked_plainly():
    class Plain(Scripted):
        async def unary(self, method, message, *rest):
            if message.HasField("min_remaining"):
                self.calls += 1
                raise failure("INVALID_ARGUMENT", "INVALID_REQUEST")
            return await super().unary(method, message, *rest)

    client = Client(Plain())
    first = await client.whole()
    await asyncio.sleep(60)
    assert await client.renew(first) == "token-3"


@virtually
async def test_close_ends_what_is_under_way():
    client = Client()
    client.server.takes = 3600
    waiting = asyncio.ensure_future(client.token())
    await asyncio.sleep(0.1)
    await client.calls.close()
    with pytest.raises(Cancelled):
        await waiting
    with pytest.raises(Cancelled, match="closed"):
        await client.token()
    assert now() < 1


@virtually
async def test_unavailable_is_tried_again_when_the_server_says():
    class Twice(Scripted):
        async def unary(self, *call):
            self.fail = failure("UNAVAILABLE", "NOT_READY", 2) if self.calls < 2 else None
            return await super().unary(*call)

    client = Client(Twice())
    assert await client.token() == "token-3"
    assert 4 <= now() <= 4.8


@virtually
async def test_a_try_that_would_begin_after_the_deadline_is_not_waited_for():
    client = Client()
    client.server.fail = failure("UNAVAILABLE", "NOT_READY", 20)
    failed = await client.fails("NOT_READY")
    assert now() == 0
    assert failed.retry_after == 20


@virtually
async def test_waits_grow():
    client = Client()
    client.server.fail = failure("UNAVAILABLE")
    await client.fails("")
    # 0.1, 0.2, 0.4, 0.8, 1.6, 2, 2, 2, each up to a fifth longer, within ten seconds
    assert client.server.calls in (8, 9)


@virtually
async def test_nothing_else_is_tried_again():
    for code in ("RESOURCE_EXHAUSTED", "INTERNAL", "PERMISSION_DENIED"):
        client = Client()
        client.server.fail = failure(code, "R", 1)
        failed = await client.fails("R")
        assert failed.code is grpc.StatusCode[code]
        assert client.server.calls == 1


@virtually
async def test_each_caller_gets_an_error_of_his_own():
    client = Client()
    client.server.takes, client.server.fail = 1, failure("INTERNAL", "R")
    failed = await asyncio.gather(client.token(), client.token(), return_exceptions=True)
    assert client.server.calls == 1
    assert failed[0] is not failed[1]
    assert all(isinstance(each, Error) for each in failed)


@virtually
async def test_a_server_that_sees_the_deadline_first_is_not_one_who_gives_up():
    class Early(Scripted):
        async def unary(self, method, message, metadata, seconds, stops):
            await self.wait(stops, seconds - 0.01)
            raise grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, grpc.aio.Metadata(), grpc.aio.Metadata())

    client = Client(Early())
    await client.fails("DEADLINE_EXCEEDED")
    assert now() == pytest.approx(10)
