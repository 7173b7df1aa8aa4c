import copy
import dataclasses
import json
import logging
import pickle
import pprint
import traceback
from concurrent import futures

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

import jotsmith
from jotsmith import Cancelled, DeadlineExceeded, Error, Violation
from jotsmith._core import errors
from jotsmith._core.bearer import Bearer
from jotsmith._core.lifetime import SECOND, Lifetime, Reading
from jotsmith._core.secret import Token
from jotsmith.v1.token_service_pb2 import MintTokenResponse

SECRET = "eyJ.secret.sig"


@dataclasses.dataclass
class Holder:
    token: Token


def test_a_token_is_never_printed(caplog):
    token = Token(MintTokenResponse(token=SECRET, kid="kid"), Reading(0, 0))
    with caplog.at_level(logging.INFO):
        logging.getLogger("x").info("%s %r %s", token, token, {"t": token})
    try:
        raise RuntimeError(token)
    except RuntimeError as failed:
        raised = "".join(traceback.TracebackException.from_exception(failed, capture_locals=True).format())
    holder = Holder(token)
    texts = [
        str(token),
        repr(token),
        f"{token}",
        "%s" % token,
        pprint.pformat([token]),
        repr(holder),
        raised,
        caplog.text,
    ]
    texts += [json.dumps({"t": token}, default=str), repr(dataclasses.asdict(holder)), repr(copy.deepcopy(holder))]
    texts += [repr(Bearer(SECRET, None))]
    assert not [text for text in texts if "secret" in text]
    assert all("redacted" in text for text in texts[:-1])
    assert not hasattr(token, "__dict__")
    assert SECRET not in repr([getattr(token, name) for name in Token.__slots__])
    with pytest.raises(TypeError):
        json.dumps(token)
    with pytest.raises(TypeError, match="disk"):
        pickle.dumps(token)
    assert token.reveal() == SECRET


def test_an_error_says_all_that_the_server_said():
    status = status_pb2.Status(code=3, message="request refused: ttl is too long")
    for detail in (
        error_details_pb2.ErrorInfo(reason="INVALID_REQUEST", domain="jotsmith"),
        error_details_pb2.RetryInfo(retry_delay={"nanos": 150_000_000}),
        error_details_pb2.BadRequest(field_violations=[{"field": "ttl", "description": "is too long"}]),
        status_pb2.Status(),
    ):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    status.details.append(Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff"))
    failed = errors.from_status(status)
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (failed.reason, failed.retry_after) == ("INVALID_REQUEST", 0.15)
    assert failed.violations == (Violation("ttl", "is too long"),)
    assert not failed.retryable
    assert str(failed) == "jotsmith: INVALID_REQUEST: request refused: ttl is too long"


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_an_error_is_one_type_and_the_languages_own(code):
    failed = errors.error(code, "m", "R", 1.5)
    assert isinstance(failed, Error)
    assert isinstance(failed, TimeoutError) is (code is grpc.StatusCode.DEADLINE_EXCEEDED)
    assert isinstance(failed, futures.CancelledError) is (code is grpc.StatusCode.CANCELLED)
    assert failed.retryable is (code.name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"))
    again = pickle.loads(pickle.dumps(failed))
    assert (type(again), again.code, again.message, again.reason, again.retry_after) == (
        type(failed),
        code,
        "m",
        "R",
        1.5,
    )
    assert str(failed) == "jotsmith: R: m"


def test_the_names_are_there():
    assert issubclass(DeadlineExceeded, Error)
    assert issubclass(Cancelled, Error)
    assert all(hasattr(jotsmith, name) for name in jotsmith.__all__)


def test_age_is_the_longer_of_both_clocks():
    start = Reading(5 * SECOND, 100 * SECOND)
    assert start.age(Reading(5 * SECOND, 3700 * SECOND)) == 3600 * SECOND  # a sleep
    assert start.age(Reading(65 * SECOND, 0)) == 60 * SECOND  # a clock that was set


def test_margins():
    def at(seconds):
        return Reading(seconds * SECOND, seconds * SECOND)

    life = Lifetime(at(0), 400 * SECOND, 600 * SECOND)
    assert life.margin() == 500 * SECOND
    assert life.fresh(at(399))
    assert not life.fresh(at(400))
    assert life.usable(at(499))
    assert not life.usable(at(500))
    assert not life.usable(at(450), 160 * SECOND)
    assert life.remaining(at(450)) == 150 * SECOND
    assert life.remaining(at(700)) == 0
    endless = Lifetime(at(0), 400 * SECOND, None)
    assert endless.margin() == 400 * SECOND
    assert not endless.usable(at(400))
    assert not endless.fresh(at(0), 1)
    assert Lifetime(at(0), 700 * SECOND, 600 * SECOND).margin() == 700 * SECOND
    assert not Lifetime(at(0), None, 600 * SECOND).fresh(at(0))
