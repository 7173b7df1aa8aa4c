import datetime
import json

import pytest

from jotsmith import Error, Request
from jotsmith._core.canonical import canonical


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        (None, ""),
        ('{"n": 9007199254740991}', '{"n": 9007199254740991}'),
        ('{"n":1e2}', '{"n":1e2}'),
        (b"{}", "{}"),
        ({"z": 9007199254740993, "a": "é\u2028<&>"}, '{"z":9007199254740993,"a":"é\u2028<&>"}'),
        ({"n": 123456789012345678901234567890, "f": 1.0}, '{"n":123456789012345678901234567890,"f":1.0}'),
        ({"list": ["日本", None, True]}, '{"list":["日本",null,true]}'),
    ],
)
def test_claims_stay_as_they_are_written(claims, text):
    assert Request("p", claims).message().claims == text


@pytest.mark.parametrize(
    "request_",
    [
        Request("p", {"a": object()}),
        Request("p", {"a": float("nan")}),
        Request("p", {"a": "\ud800"}),
        Request("p", '{"a": "\ud800"}'),
        Request("p", b"\xff"),
        Request("\udcff"),
        Request("p", ttl=float("inf")),
        Request("p", min_remaining=1e30),
    ],
)
def test_what_cannot_be_sent_is_an_error_of_the_request(request_):
    with pytest.raises(Error) as failed:
        request_.message()
    assert failed.value.reason == "INVALID_REQUEST"
    assert len(failed.value.violations) == 1


def test_durations_are_exact():
    message = Request("p", ttl=datetime.timedelta(minutes=5), min_remaining=1.5).message()
    assert (message.ttl.seconds, message.ttl.nanos) == (300, 0)
    assert (message.min_remaining.seconds, message.min_remaining.nanos) == (1, 500_000_000)
    assert not Request("p", min_remaining=0).message().HasField("min_remaining")
    assert not Request("p").message().HasField("ttl")
    assert Request("p", ttl=10**9).message().ttl.seconds == 10**9


@pytest.mark.parametrize(
    "texts",
    [
        ["", "{}", " { } "],
        ['{"a":1,"b":[1,{"d":null,"c":true}]}', '{ "b" : [1,{"c":true,"d":null}],\n"a":1}'],
        ['{"a":"é"}', '{"a":"\\u00e9"}', '{"\\u0061":"\\u00E9"}'],
        ['{"a":"🗝"}', '{"a":"\\ud83d\\udddd"}'],
    ],
)
def test_claims_that_differ_in_their_spelling_share_a_place(texts):
    assert len({canonical(text) for text in texts}) == 1


def test_no_others_do():
    deep = '{"a":' * 17 + "1" + "}" * 17
    texts = [
        *(
            "{}",
            '{"a":1}',
            '{"a":1,}',
            '{"a":1,"a":1}',
            '{"a":2,"a":1}',
            '{"a":1} x',
            '{"a":1}{}',
            '{"a":"1"}',
            '{"a":1.0}',
        ),
        *('{"a":[1]}', '{"a":[[1]]}', '{"a":9007199254740993}', '{"a":9007199254740992}', '{"a":"\\ud800"}'),
        *(
            '{"a":"\\udc00"}',
            '{"a":"\\ufffd"}',
            '{"A":1}',
            "null",
            "[]",
            '"a"',
            "{",
            '{"a":1e2}',
            '{"a":100}',
            '{"a":-0}',
        ),
        *('{"a":0}', '{"a":NaN}', '{"a":Infinity}', "\ufeff{}", '{"a":"\t"}', '{"a":"\\t"}', '{"a":01}', '{"a":"{}"}'),
        *(
            "[" * 100_000,
            deep,
            " " + deep,
            '{"a":{}}',
            '{"a":[]}',
            '{"a":{"b":1}}',
            '{"a":[["b",1]]}',
            '{"a":' + "9" * 5000 + "}",
        ),
    ]
    assert len({canonical(text) for text in texts}) == len(texts)


def test_what_shares_a_place_is_the_same_to_a_json_reader():
    first, second = '{"a":1,"b":{"c":[1,2.50,"x"]}}', '{"b":{"c":[1,2.50,"x"]},"a":1}'
    assert canonical(first) == canonical(second)
    assert json.loads(first) == json.loads(second)
