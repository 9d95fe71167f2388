"""The port of call records, and what a recovery gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.core.clock import Moment
from gateway.core.errors import StoreError
from gateway.store.record import CallHead, CallRecord


@dataclass(frozen=True, slots=True)
class Recovered:
    """A call that was open when the gateway died. `recording` is what was recorded of it, if anything was."""

    call: str
    recording: Path | None


class CallStore(Protocol):
    """Where calls are kept. One writer; every method may be called from the asyncio thread."""

    def begin(
        self,
        call: str,
        moment: Moment,
        *,
        caller: str = "",
        dialled: str = "",
        language: str = "",
        flow: str = "",
        flow_version: str = "",
        recording: Path | None = None,
        node: str | None = None,
        then: Callable[[StoreError | None], None] | None = None,
    ) -> None:
        """A call is to be answered. Returns when the row is on disk, or, where `then` is given, at once: it is called
        from another thread when the row is there or was refused. Raises StoreError."""
        ...

    def append(self, call: str, moment: Moment, kind: str, data: Mapping[str, object]) -> None:
        """One more event of the call. Never waits; on disk within a second."""
        ...

    def finish(
        self, call: str, moment: Moment, reason: str, *, outcome: str = "ended", recording: Path | None = None
    ) -> None:
        """The call is over. Never waits."""
        ...

    def record(self, call: str) -> CallRecord:
        """The whole call. Raises StoreError where it is unknown."""
        ...

    def recent(self, n: int = 20) -> list[CallHead]:
        """The newest `n` calls, newest first."""
        ...

    def find(self, text: str) -> list[str]:
        """Ids that begin (or else end) with `text`, newest first; `last` is the newest call."""
        ...

    def recover(self, now: Moment, recordings: Path | None = None) -> list[Recovered]:
        """Close the calls that this node left open when it died, and find their recordings under `recordings`."""
        ...

    def close(self) -> None:
        """Write what is left and let go of the file."""
        ...
