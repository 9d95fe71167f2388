"""SIP messages of each call, kept while it lives: what `trunkline trace` shows of it afterwards."""

from __future__ import annotations

import re
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

LOOSE = 512
"""INVITEs' dialogs that belong to no call yet, or never will."""
LOOSE_MESSAGES = 24
CALL_MESSAGES = 400
CALL_BYTES = 512 << 10
LINGER_S = 2.0
"""What comes so long after a call's end still belongs to it: the answer to a BYE, repeated messages."""

_NAMED = re.compile(rb"\n(?:call-id|i)[ \t]*:[ \t]*([^\r\n]*)", re.I)


class Peer(Protocol):
    """Where a message came from or went."""

    @property
    def ip(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def transport(self) -> str: ...


class Message(NamedTuple):
    """`at`: seconds of UTC since 1970."""

    at: float
    sent: bool
    peer: Peer
    data: bytes


@dataclass(slots=True)
class Trace:
    """A call's messages in order. `missed`: those there was no room for."""

    call: str
    messages: list[Message] = field(default_factory=list)
    missed: int = 0
    size: int = 0
    ended: float = 0.0
    dialogs: list[bytes] = field(default_factory=list)
    handles: list[str] = field(default_factory=list)

    def add(self, message: Message) -> None:
        if len(self.messages) >= CALL_MESSAGES or self.size >= CALL_BYTES:
            self.missed += 1
            return
        self.messages.append(message)
        self.size += len(message.data)


class Tracer:
    """Told of every message, of the dialogs of a SIP call, of the call it is part of and of its end; `take` gives those
    that are over. A dialog is known by its Call-ID. At most `calls` that are over wait to be taken, older ones are
    dropped; 0 traces nothing."""

    def __init__(self, calls: int = 500, now: Callable[[], float] = time.time) -> None:
        self.calls = calls
        self.now = now
        self.dropped = 0
        self._loose: OrderedDict[bytes, list[Message]] = OrderedDict()
        self._dialogs: OrderedDict[str, list[bytes]] = OrderedDict()
        self._by_dialog: dict[bytes, Trace] = {}
        self._by_handle: dict[str, Trace] = {}
        self._live: dict[str, Trace] = {}
        self._over: deque[Trace] = deque()

    def message(self, data: bytes, peer: Peer, sent: bool) -> None:
        """One message, in or out."""
        name = _call_id(data)
        trace = self._by_dialog.get(name)
        if trace is not None:
            trace.add(Message(self.now(), sent, peer, data))
            return
        loose = self._loose.get(name)
        if loose is None:
            if not self.calls or not data.lstrip(b"\r\n").startswith(b"INVITE "):
                return
            loose = self._loose[name] = []
            if len(self._loose) > LOOSE:
                self._loose.popitem(last=False)
        if len(loose) < LOOSE_MESSAGES:
            loose.append(Message(self.now(), sent, peer, data))

    def dialog(self, handle: str, call_id: str) -> None:
        """The SIP call `handle` has a dialog, or is about to."""
        if not self.calls:
            return
        name = call_id.encode("utf-8", "surrogateescape")
        trace = self._by_handle.get(handle)
        if trace:
            self._claim(trace, name)
            return
        self._dialogs.setdefault(handle, []).append(name)
        if len(self._dialogs) > LOOSE:
            self._dialogs.popitem(last=False)

    def joined(self, handle: str, call: str) -> None:
        """The SIP call `handle` is part of a call of ours."""
        if not self.calls:
            return
        trace = self._live.setdefault(call, Trace(call))
        trace.handles.append(handle)
        self._by_handle[handle] = trace
        for name in self._dialogs.pop(handle, ()):
            self._claim(trace, name)

    def finished(self, call: str) -> None:
        """A call of ours is over."""
        trace = self._live.pop(call, None)
        if trace:
            trace.ended = self.now()
            self._over.append(trace)
            while len(self._over) > self.calls:
                self._forget(self._over.popleft())
                self.dropped += 1

    def take(self, most: int, linger_s: float = LINGER_S) -> list[Trace]:
        """Up to `most` traces of calls that were over `linger_s` seconds ago, oldest first."""
        taken: list[Trace] = []
        until = self.now() - linger_s
        while self._over and len(taken) < most and self._over[0].ended <= until:
            taken.append(self._over.popleft())
            self._forget(taken[-1])
        return taken

    def _claim(self, trace: Trace, name: bytes) -> None:
        self._by_dialog[name] = trace
        trace.dialogs.append(name)
        for message in self._loose.pop(name, ()):
            trace.add(message)

    def _forget(self, trace: Trace) -> None:
        for name in trace.dialogs:
            self._by_dialog.pop(name, None)
        for handle in trace.handles:
            self._by_handle.pop(handle, None)
        trace.messages.sort(key=lambda message: message.at)


def _call_id(data: bytes) -> bytes:
    """The Call-ID's value, however its name is written; empty where there is none."""
    at = data.find(b"\nCall-ID: ")
    if at >= 0:
        end = data.find(b"\n", at + 10)
        return data[at + 10 : end].rstrip() if end >= 0 else b""
    found = _NAMED.search(data)
    return found[1].rstrip() if found else b""
