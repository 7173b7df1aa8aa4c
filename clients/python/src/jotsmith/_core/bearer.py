"""A token that makes the caller known to the server."""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path

from jotsmith._core.errors import SettingError

_MOST = 8 << 10
"""The longest token that the server reads, in bytes."""


@dataclass(frozen=True)
class Bearer:
    """A text, or a file, which whoever wrote it may replace at any time, as Kubernetes does."""

    token: str | None = field(repr=False)
    path: Path | None

    def read(self) -> str:
        """Return the token of now. A SettingError says why there is none."""
        if self.path is None:
            if not _alone(self.token or ""):
                raise SettingError("bearer: not a token alone")
            return self.token or ""
        try:
            if not stat.S_ISREG(self.path.stat().st_mode):  # a pipe could be read only once
                raise SettingError(f"bearer file: {self.path} is not a regular file")
            with self.path.open("rb") as file:
                data = file.read(_MOST + 2)
        except OSError as wrong:
            raise SettingError(f"bearer file: {wrong}") from wrong
        if len(data) > _MOST + 1:
            raise SettingError(f"bearer file: {self.path} is longer than a token can be")
        token = data.strip().decode("latin-1")
        if not _alone(token):
            raise SettingError(f"bearer file: {self.path} does not hold a token alone")
        return token


def _alone(token: str) -> bool:
    """Say whether a text can be a token and nothing else."""
    return token != "" and all(" " < character <= "~" for character in token)
