"""The error tree. Every error a person sees says what happened, where, what was read and expected, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file a person edits. `line` and `column` count from 1."""

    file: str
    line: int = 1
    column: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class TrunklineError(Exception):
    """Base of every error Trunkline raises on purpose.

    `what` is one sentence. `where` is a Mark in a file, `read` what stood there, `expected` what would have been right,
    `near` the closest known name and `do` the next step for the person who reads it. All but `what` are optional.
    """

    def __init__(
        self,
        what: str,
        *,
        where: Mark | None = None,
        read: str | None = None,
        expected: str | None = None,
        near: str | None = None,
        do: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.read = read
        self.expected = expected
        self.near = near
        self.do = do

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        tail = [
            f"  {label} {text}"
            for label, text in (
                ("read:", self.read),
                ("expected:", self.expected),
                ("did you mean:", self.near),
                ("do:", self.do),
            )
            if text
        ]
        return "\n".join([head, *tail])


class ConfigError(TrunklineError):
    """A configuration file (gateway.yaml, agents.yaml, trunks) can't be used as it stands."""


class FlowError(TrunklineError):
    """A flow can't be used as it stands. `trunkline check` reports a list of these."""


class ModelMissing(TrunklineError):
    """A model, voice or native library is not installed or could not be fetched."""


class PortBusy(TrunklineError):
    """A UDP or TCP port is taken by another program."""


class MediaError(TrunklineError):
    """The media engine refused a command, or has no free leg or port."""


class SipError(TrunklineError):
    """A SIP message or SDP body can't be understood, or is not allowed in this state."""


class StoreError(TrunklineError):
    """A call record or recording can't be read or written."""


class Findings(TrunklineError):
    """Several errors found in one pass, most useful first by position. `items` holds them all."""

    def __init__(self, what: str, items: Iterable[TrunklineError]) -> None:
        self.items = sorted(items, key=lambda e: e.where or Mark("", 0, 0))
        super().__init__(what)

    def __str__(self) -> str:
        return "\n".join([*(str(item) for item in self.items), self.what])


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name a person probably meant by `name`, or None when nothing is close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None
