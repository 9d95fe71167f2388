"""`trunkline trace CALL`: the SIP messages of a call as a ladder, and as a file for Wireshark."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gateway.core.errors import StoreError
from gateway.lab.pcap import pcap
from gateway.observe.trace_files import Address, Line, Written, beside, find, read

WIDTH = 40
"""Characters between two columns."""
_TIME = 11
_CSEQ = re.compile(rb"^cseq[ \t]*:[ \t]*\d+[ \t]+([^\s]+)", re.I | re.M)
_SDP = re.compile(rb"^(?:content-type|c)[ \t]*:[ \t]*application/sdp", re.I | re.M)
_MEDIA = re.compile(rb"^m=(\w+) (\d+) ([^\r\n]*)", re.M)
_WAY = re.compile(rb"^a=(sendonly|recvonly|inactive)\r?$", re.M)


@dataclass(frozen=True, slots=True)
class Step:
    """One arrow. `peer`: the column of the other end, from 1 on; `again`: the same message as before."""

    at_ms: float
    sent: bool
    peer: int
    text: str
    again: bool = False


@dataclass(frozen=True, slots=True)
class Ladder:
    """`parties`: names of the columns, ours first."""

    parties: tuple[str, ...]
    steps: tuple[Step, ...]


def ladder(lines: Sequence[Line]) -> Ladder:
    """Who said what to whom: the gateway's column, and one for each address it talked with."""
    peers: list[tuple[Address, str]] = []
    seen: set[tuple[bool, Address, bytes]] = set()
    steps = []
    for line in lines:
        key = line.peer, line.transport
        if key not in peers:
            peers.append(key)
        same = line.sent, line.peer, line.data
        steps.append(
            Step((line.at - lines[0].at) * 1000, line.sent, peers.index(key) + 1, short(line.data), same in seen)
        )
        seen.add(same)
    names = [_shown(address, transport) for address, transport in peers]
    return Ladder(("gateway", *names), tuple(steps))


def _shown(address: Address, transport: str) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{host}:{address[1]}" + ("" if transport == "udp" else f" {transport}")


def short(data: bytes) -> str:
    """A message in a few words: its method and target, or its status and what it answers; then what media it holds."""
    start = data.split(b"\n", 1)[0].decode("utf-8", "replace").strip()
    head, _, body = data.partition(b"\r\n\r\n")
    if start.startswith("SIP/2.0 "):
        found = _CSEQ.search(head)
        method = found[1].decode("ascii", "replace") if found else "?"
        text = start[8:] if method == "INVITE" else f"{start[8:]} ({method})"
    else:
        method, _, rest = start.partition(" ")
        target = rest.removesuffix(" SIP/2.0").partition(";")[0]
        text = f"{method} {target}" if method in ("INVITE", "REFER", "SUBSCRIBE") else method
    return _clean(text) + (_media(body) if _SDP.search(head) else "")


def _media(body: bytes) -> str:
    """What a session description says of its first stream."""
    found = _MEDIA.search(body)
    if not found:
        return " [SDP]"
    way = _WAY.search(body)
    return f" [{found[1].decode()} {found[2].decode()}{' ' + way[1].decode() if way else ''}]"


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def draw(found: Ladder) -> list[Text]:
    """The ladder as lines of text."""
    columns = len(found.parties)
    lines = [_heading(found.parties)]
    for step in found.steps:
        line = Text(f"{step.at_ms:>{_TIME - 3}.1f}   ", "dim")
        style = "dim" if step.again else _style(step.text)
        for column in range(columns - 1):
            line.append("┼" if 0 < column < step.peer else "│", "dim")
            if column < step.peer:
                line.append_text(_arrow(step, column, style))
            else:
                line.append(" " * WIDTH)
        line.append("│", "dim")
        lines.append(line)
    return lines


def _arrow(step: Step, column: int, style: str) -> Text:
    """A column's part of an arrow: its label stands in the one next to the gateway."""
    first, last = column == 0, column == step.peer - 1
    left, right = "<" if first and not step.sent else "─", ">" if last and step.sent else "─"
    room = WIDTH - 4
    label = f"again {step.text}" if step.again else step.text
    label = f" {label if len(label) <= room - 2 else label[: room - 3] + '…'} " if first else ""
    return Text(f"{left}─{label}{'─' * (WIDTH - 3 - len(label))}{right}", style)


def _style(text: str) -> str:
    if text[:1] in "456" and text[:3].isdigit():
        return "red"
    return "green" if text[:1] == "2" and text[:3].isdigit() else ""


def _heading(parties: Sequence[str]) -> Text:
    line = " " * _TIME
    for n, party in enumerate(parties):
        start = max(0, _TIME + n * (WIDTH + 1) - (len(party) // 2 if n else 0))
        line = line.ljust(start) + (" " if len(line) > start else "") + party
    return Text(line, "bold")


def show(folder: Path, call: str, out: Console, file: Path | None = None) -> Path:
    """Prints the ladder of a call of the gateway whose data lies in `folder`, and writes its pcap: to `file`, or beside
    the trace. Gives the file. Raises StoreError."""
    path = find(folder / "traces", call)
    written = read(path)
    for line in tell(written):
        out.print(line, highlight=False, soft_wrap=True)
    target = file or beside(path)
    _write(target, pcap(written.lines))
    out.print(f"\n{target}", highlight=False, soft_wrap=True)
    return target


def _write(file: Path, data: bytes) -> None:
    """For its owner alone, as the trace is. Raises StoreError."""
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            os.fchmod(out.fileno(), 0o600)
            out.write(data)
    except OSError as error:
        raise StoreError(
            "the pcap can't be written",
            read=f"{file}: {error.strerror}",
            do="name a file in a folder that you may write to with --pcap",
        ) from None


def tell(written: Written) -> list[Text]:
    """A heading, the ladder, and what is missing."""
    lines = [
        Text.assemble(("Call ", "bold"), (written.call, "bold"), f", {len(written.lines)} messages; times in ms"),
        Text(),
    ]
    lines += draw(ladder(written.lines))
    if written.missed:
        lines.append(Text(f"{written.missed} more messages were not kept", "yellow"))
    return lines
