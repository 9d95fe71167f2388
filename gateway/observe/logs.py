"""Structured logs: one JSON object a line for machines, or short lines for a person. Everything passes the Redactor."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO

from gateway.core.errors import TrunklineError
from gateway.observe.redact import Redactor

COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m", "DEBUG": "\x1b[2m"}


def set_up(
    style: Literal["json", "human"] = "human",
    *,
    level: str = "INFO",
    node: str = "",
    allow: Iterable[str] = (),
    stream: TextIO | None = None,
) -> logging.Handler:
    """Send every log line to `stream` (standard error by default) and return the handler.

    `allow` names fields that are shown in full. Lines of libraries below WARNING are left out. Raises nothing later: a
    line that can't be written is dropped by the standard library.
    """
    stream = stream or sys.stderr
    redactor = Redactor(allow)
    handler = logging.StreamHandler(stream)
    human = Human(redactor, colour=bool(getattr(stream, "isatty", lambda: False)()))
    handler.setFormatter(Json(redactor, node) if style == "json" else human)
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "trunkline", False):
            root.removeHandler(old)
    handler.trunkline = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("gateway").setLevel(level.upper())
    return handler


def _fields(record: logging.LogRecord, redactor: Redactor) -> dict[str, object]:
    fields = getattr(record, "fields", None)
    return redactor.fields(fields) if isinstance(fields, Mapping) else {}


def _message(record: logging.LogRecord, redactor: Redactor) -> str:
    try:
        return redactor.text(record.getMessage())
    except (TypeError, ValueError):
        return redactor.text(str(record.msg))


def _error(record: logging.LogRecord, redactor: Redactor) -> dict[str, object] | None:
    """What went wrong without what the caller said: an error of our own speaks for people, of others only type and
    place are shown, as their text may hold anything."""
    if not record.exc_info or record.exc_info[1] is None:
        return None
    error = record.exc_info[1]
    if isinstance(error, TrunklineError):
        return {"type": type(error).__name__, "text": redactor.text(str(error))}
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{f.filename.rpartition('site-packages/')[2]}:{f.lineno} {f.name}" for f in frames[-8:]]
    return {"type": type(error).__name__, "places": places}


class Json(logging.Formatter):
    """One JSON object: time (UTC, ISO 8601), level, logger, node, message, the fields, and an error if there is one."""

    def __init__(self, redactor: Redactor, node: str = "") -> None:
        super().__init__()
        self.redactor = redactor
        self.node = node

    def format(self, record: logging.LogRecord) -> str:
        """One line without a line break."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "node": self.node,
            "message": _message(record, self.redactor),
        }
        line.update({k if k not in line else f"field_{k}": v for k, v in _fields(record, self.redactor).items()})
        if error := _error(record, self.redactor):
            line["error"] = error
        return json.dumps(line, ensure_ascii=True, default=str)


class Human(logging.Formatter):
    """`12:00:01.250 call answered  call=0190 flow=bank` for a terminal; warnings and errors say so, in colour."""

    def __init__(self, redactor: Redactor, *, colour: bool = False) -> None:
        super().__init__()
        self.redactor = redactor
        self.colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """One line; errors of our own add their lines for people."""
        at = datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        fields = " ".join(f"{k}={_shown(v)}" for k, v in _fields(record, self.redactor).items())
        line = f"{at} {level}{_printable(_message(record, self.redactor))}{'  ' + fields if fields else ''}"
        if error := _error(record, self.redactor):
            places = error.get("places")
            detail = error.get("text") or " < ".join(reversed(places if isinstance(places, list) else []))
            line += f"\n  {error['type']}: {detail}"
        start = COLOURS.get(record.levelname, "") if self.colour else ""
        return f"{start}{line}\x1b[0m" if start else line


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = _printable(text)
    return f'"{text}"' if " " in text and isinstance(value, str) else text


def _printable(text: str) -> str:
    """A line break or control character from the network must not forge a line or drive the terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
