"""The type of a token."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NoReturn

from jotsmith._core.lifetime import SECOND, Lifetime, Reading, read_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.timestamp_pb2 import Timestamp
    from typing_extensions import Self

    from jotsmith.v1.token_service_pb2 import MintTokenResponse


class Token:
    """A minted token.

    Printing it, logging it and formatting it show what it is about and never the token
    itself, which reveal returns. It cannot be pickled. Its times are by the server's
    clock; to decide anything by them is what remaining and fresh are for.
    """

    __slots__ = (
        "_reveal",
        "expire_time",
        "generation",
        "issue_time",
        "kid",
        "life",
        "public_key",
        "refresh_time",
        "reused",
    )

    kid: str
    """The key that signed it."""
    issue_time: datetime | None
    expire_time: datetime | None
    """None for a token without exp."""
    refresh_time: datetime | None
    """When to ask for another. None for a token that is for one use."""
    generation: str
    """The configuration that the server decided under."""
    reused: bool
    """The server had made it for an earlier request."""
    public_key: str
    """What VAPID's Authorization header carries as k. Most profiles leave it empty."""
    life: Lifetime
    """How long it lasts, counted here."""
    _reveal: Callable[[], str]

    def __init__(self, response: MintTokenResponse, asked: Reading) -> None:
        """Make a Token of an answer to what was asked at a time."""
        text = response.token
        self._reveal = lambda: text  # a function, because debuggers' printers look into strings
        self.kid, self.generation = response.kid, response.config_generation
        self.reused, self.public_key = response.reused, response.public_key

        def after(stamp: Timestamp | None) -> int | None:
            # Without the server's time nobody knows how long that is: it is then kept by nobody.
            if stamp is None or not response.HasField("answer_time"):
                return None
            return stamp.ToNanoseconds() - response.answer_time.ToNanoseconds()

        refresh = response.refresh_time if response.HasField("refresh_time") else None
        expire = response.expire_time if response.HasField("expire_time") else None
        self.issue_time = _time(response.issue_time) if response.HasField("issue_time") else None
        self.expire_time = _time(expire) if expire else None
        self.refresh_time = _time(refresh) if refresh else None
        self.life = Lifetime(asked, after(refresh), after(expire))

    def reveal(self) -> str:
        """Return the token in its compact serialization, for the header that it goes into and nothing else."""
        return self._reveal()

    @property
    def one_time(self) -> bool:
        """Whether the token is for one use."""
        return self.life.refresh is None

    @property
    def remaining(self) -> float:
        """For how many seconds the token is still valid.

        Counted from when it was asked for and by the server's times, so that a wrong
        clock here changes nothing. 0 for an expired token and for one without exp.
        """
        return self.life.remaining(read_clock()) / SECOND

    @property
    def fresh(self) -> bool:
        """Whether the server's refresh time has not come."""
        return self.life.fresh(read_clock())

    def __repr__(self) -> str:
        return f"<token of key {self.kid} (redacted)>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("a live token does not belong on a disk")


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(timezone.utc)
