"""When the claims of two requests are the same."""

from __future__ import annotations

import json
from typing import Any

_DEEPEST = 16
"""How deep claims can be; the server refuses what is deeper."""


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


class _Members(list[tuple[str, Any]]):
    """An object as it was written."""


class _NoForm(ValueError):
    """There is no canonical form."""


def canonical(text: str) -> str:
    """Return the same text for JSON objects that differ in how they are spelt alone.

    That is white space, the order of names and the spelling of strings. Whatever a
    server may refuse, as it does a name that stands twice, is only itself: a token kept
    for one request must not answer another that would have got an error.
    """
    if text == "":
        return "{}"
    try:
        return _written(_decoder.decode(text), 0)
    except (ValueError, RecursionError):
        return "?" + text  # which no canonical form begins with


def _constant(name: str) -> Any:
    raise _NoForm(name)  # NaN and the infinities, which JSON does not have


_decoder = json.JSONDecoder(
    object_pairs_hook=_Members, parse_int=_Number, parse_float=_Number, parse_constant=_constant, strict=True
)


def _written(value: Any, depth: int) -> str:
    if depth > _DEEPEST:
        raise _NoForm
    if isinstance(value, _Number):
        if not value.isascii():
            raise _NoForm
        return value
    if isinstance(value, _Members):
        members = dict(value)
        if len(members) != len(value):
            raise _NoForm
        return "{" + ",".join(f"{_string(name)}:{_written(members[name], depth + 1)}" for name in sorted(members)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_written(item, depth + 1) for item in value) + "]"
    if isinstance(value, str):
        return _string(value)
    return json.dumps(value)


def _string(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _NoForm
    return json.dumps(text)
