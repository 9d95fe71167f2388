"""`trunkline why CALL`: a call's record told to a person: heard, understood, decided, offered to whom, and why."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Mapping
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.core.errors import StoreError
from gateway.store.record import CallHead, CallRecord, Event

Data = Mapping[str, object]
Line = tuple[str, Text]
"""A word for the left column, and what happened."""


TOOK = (("ended", "endpoint_ms"), ("recognized", "decode_ms"), ("understood", "understand_ms"))
"""Work done for an utterance, and the field that holds its milliseconds."""

FLAGS = ("sensitive", "redacted")
"""Fields that explain a mask; the mask is enough for a person."""


class Records(Protocol):
    """Where calls are read from."""

    def record(self, call: str) -> CallRecord: ...

    def find(self, text: str) -> list[str]: ...


def show(records: Records, call: str, out: Console, *, as_json: bool = False) -> None:
    """Print the call whose id begins with `call` (`last`: the newest). Raises StoreError where none or several do."""
    record = records.record(the_one(records, call))
    if as_json:
        print(json.dumps(record.as_json(), ensure_ascii=False), file=out.file)
        return
    for part in tell(record):
        out.print(part, highlight=False, soft_wrap=isinstance(part, Text))


def the_one(records: Records, text: str) -> str:
    """The one call meant by `text`. Raises StoreError, naming the newest candidates where there are several."""
    found = records.find(text)
    if not found:
        raise StoreError(f"no call begins with {text}", do="use 'last', or an id as it stands in the log")
    if len(found) > 1 and text not in found:
        some = ", ".join(found[:5])
        raise StoreError(f"{len(found)} calls begin with {text}", near=some, do="give more of the id, or its end")
    return text if text in found else found[0]


def tell(record: CallRecord) -> list[Text | Table]:
    """The record as renderables: a heading, the timeline, and the sums at its foot."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right", style="dim", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for event in record.events:
        for n, (word, text) in enumerate(_lines(event)):
            table.add_row("" if n else f"{record.at(event):.2f} s", Text(_clean(word)), text)
    if record.head.ended is not None and not record.of("ended"):
        seconds = record.head.seconds or 0.0
        table.add_row(f"{seconds:.2f} s", "ended", Text(record.head.reason))
    return [*_heading(record.head), table, *_foot(record)]


def _heading(head: CallHead) -> list[Text]:
    length = f"{head.seconds:.1f} s" if head.seconds is not None else "not over yet"
    flow = f"flow {head.flow}{' ' + head.flow_version if head.flow_version else ''}"
    started = head.started.utc.strftime("%Y-%m-%d %H:%M:%S UTC")
    parties = f"from {head.caller or '?'} to {head.dialled or '?'}"
    about = f"{started}, {length}, {parties}, {flow}, {head.language}, {head.node}"
    first = Text.assemble(("Call ", "bold"), (head.id, "bold"), "\n", _clean(about))
    if head.outcome == "lost":
        first.append(f"\n{head.reason}: what follows is what was on disk", "red")
    return [first]


def _foot(record: CallRecord) -> list[Text]:
    rows = [("path", " > ".join(record.path)), ("slots", ", ".join(f"{k} {v}" for k, v in record.slots.items()))]
    if delays := sorted(record.latencies_ms):
        middle = delays[len(delays) // 2] if len(delays) % 2 else sum(delays[len(delays) // 2 - 1 :][:2]) / 2
        rows.append(("replies", f"{len(delays)}, median {middle:.0f} ms, longest {delays[-1]:.0f} ms after the caller"))
    rows += [(f"sound of the {e.data.get('party', '')}", _sound(e.data)) for e in record.of("media")]
    if record.recording:
        rows.append(("recording", f"{record.recording} (left: caller, right: what the caller heard)"))
    return [Text.assemble((f"{name}: ", "dim"), _clean(value)) for name, value in rows if value]


# --- one event, in words --------------------------------------------------------------------------------------------


def _lines(event: Event) -> list[Line]:
    teller = _TELL.get(event.kind)
    if teller is None:
        return [(event.kind, Text(_rest(event.data), "dim"))]
    return teller(event.data)


def _sound(data: Data) -> str:
    """A leg's media quality in one line."""
    parts = [(f"MOS {_of(data, 'mos')}", "mos"), (f"{_of(data, 'loss')} % lost", "loss")]
    parts += [(f"jitter {_of(data, 'jitter_ms')} ms", "jitter_ms"), (f"round trip {_of(data, 'rtt_ms')} ms", "rtt_ms")]
    parts += [(f"{_of(data, 'remote_loss')} % lost on the way there", "remote_loss")]
    parts += [(f"encrypted ({_of(data, 'srtp')})", "srtp")]
    return ", ".join([_of(data, "codec"), *(text for text, field in parts if field in data)])


def _said(data: Data) -> list[Line]:
    return [("said", Text.assemble((f"“{_of(data, 'text')}”", "cyan"), (f"  {_of(data, 'prompt')}", "dim")))]


def _heard(data: Data) -> list[Line]:
    """The words, and beneath them what they were taken for, with scores and band."""
    words = _of(data, "text")
    nothing = "(not kept: sensitive)" if data.get("redacted") else "(nothing)"
    quote = Text(f"“{words}”", "green") if words else Text(nothing)
    asr = data.get("asr_score")
    if isinstance(asr, int | float):
        quote.append(f"  recognizer {asr:.2f}", "dim")
    lines = [("heard", quote)]
    if intent := _of(data, "intent"):
        band, runner = _of(data, "band"), _of(data, "runner_up")
        text = Text.assemble((intent, "bold"), f" {_score(data.get('score', data.get('intent_score')))}")
        text.append(f", {band}" if band else "")
        text.append(f"; next {runner} {_score(data.get('runner_up_score'))}" if runner else "", "dim")
        took = [f"{verb} after {data[key]} ms" for verb, key in TOOK if key in data]
        text.append(f"; {', '.join(took)}" if took else "", "dim")
        lines.append(("  understood", text))
    return lines


def _matched(data: Data) -> list[Line]:
    """What the flow took the words or the key for, and how sure it was."""
    text = Text()
    if band := _of(data, "band"):
        text.append(_of(data, "intent"), "bold").append(f" {_score(data.get('score'))}, {band}")
    elif "answer" in data:
        text.append(f"answer {_of(data, 'answer')}")
    else:
        named = [f"{name} {_of(data, name)}" for name in ("key", "wish", "target") if data.get(name)]
        text.append(", ".join(named))
    return [("taken for", text)]


def _message(data: Data) -> list[Line]:
    seconds = data.get("seconds")
    length = f"{seconds} s" if seconds is not None else "until the caller hung up"
    return [("message", Text(f"left for queue {_of(data, 'queue')}: {length}"))]


def _key(data: Data) -> list[Line]:
    return [("key", Text(_of(data, "digit") or _of(data, "digits"), "green"))]


def _offered(data: Data) -> list[Line]:
    """The choice, and a line for each agent who was not chosen."""
    head = Text.assemble((_of(data, "agent"), "bold"), f" for queue {_of(data, 'queue')}: {_of(data, 'why')}")
    return [("offered", head), *_candidates(data)]


def _nobody(data: Data) -> list[Line]:
    return [("nobody", Text(_of(data, "why"), "red")), *_candidates(data)]


def _candidates(data: Data) -> list[Line]:
    found = data.get("candidates")
    rows = [row for row in found if isinstance(row, Mapping)] if isinstance(found, list) else []
    return [
        ("", Text(f"not {_of(row, 'agent')}: {_of(row, 'rejected')}", "dim")) for row in rows if row.get("rejected")
    ]


def _arrived(data: Data) -> list[Line]:
    text = Text.assemble("by ", (_of(data, "from"), "bold"))
    text.append(f", asserted as {_of(data, 'asserted')}" if data.get("asserted") else "", "dim")
    found = data.get("diverted")
    diverted = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return [
        ("arrived", text),
        *[("diverted", Text(f"from {_of(each, 'number')}: {_of(each, 'reason')}")) for each in diverted],
    ]


def _queued(data: Data) -> list[Line]:
    text = Text.assemble((_of(data, "queue"), "bold"))
    text.append(f" for {_of(data, 'intent')}" if data.get("intent") else "")
    text.append(" as an emergency" if data.get("emergency") else "", "red")
    text.append(f": {_of(data, 'reason')}" if data.get("reason") else "")
    return [("queued", text)]


def _position(data: Data) -> list[Line]:
    wait = data.get("wait_s")
    expected = f", about {wait:.0f} s to wait" if isinstance(wait, int | float) else ""
    why = f" ({_of(data, 'why')})" if data.get("why") else ""
    return [("position", Text(f"{_of(data, 'position')}{expected}{why}"))]


def _plain(word: str, form: str, style: str = "") -> Callable[[Data], list[Line]]:
    """Tells an event by filling `form` with its fields; those it does not name follow, dimmed."""
    named = {name for _, name, _, _ in string.Formatter().parse(form) if name}

    def tell_it(data: Data) -> list[Line]:
        text = Text(form.format(**{name: _of(data, name) for name in named}), style)
        if rest := _rest({k: v for k, v in data.items() if k not in named}):
            text.append(f"  {rest}", "dim")
        return [(word, text)]

    return tell_it


_TELL: Mapping[str, Callable[[Data], list[Line]]] = {
    "said": _said,
    "media": lambda data: [],
    "heard": _heard,
    "key": _key,
    "arrived": _arrived,
    "queued": _queued,
    "offered": _offered,
    "nobody": _nobody,
    "position": _position,
    "answered": _plain("answered", "the gateway took the call"),
    "entered": _plain("menu", "{menu}", "bold"),
    "filled": _plain("slot", "{slot} = {value}"),
    "interrupted": _plain("interrupted", "prompt {prompt} by {by}"),
    "unheard": _plain("not heard", "{reason}", "red"),
    "replied": _plain("replied", "{latency_ms} ms after the caller's turn", "dim"),
    "withdrawn": _plain("withdrawn", "{agent} is no longer rung: {why}"),
    "not_answered": _plain("not taken", "by {agent}: {reason}"),
    "agent_lost": _plain("agent lost", "{agent}: {reason}", "red"),
    "bridged": _plain("bridged", "with {agent}", "bold"),
    "emergency": _plain("emergency", "{intent}: {phrase}", "red"),
    "message_wanted": _plain("message", "asked for, queue {queue}: {reason}"),
    "message": _message,
    "matched": _matched,
    "no_match": _plain("no match", "{text}{reason}", "yellow"),
    "no_input": _plain("silence", "time {count}", "yellow"),
    "confirmed": _plain("confirmed", "{intent}{slot} by {by}"),
    "rejected": _plain("rejected", "{intent}{slot} by {by}", "yellow"),
    "language": _plain("language", "{language}"),
    "escalated": _plain("escalated", "{reason}", "yellow"),
    "action": _plain("action", "{name}{action}", "bold"),
    "recording": _plain("recording", "{state}", "dim"),
    "recovered": _plain("recovered", "{reason}", "red"),
    "ended": _plain("ended", "{reason}", "bold"),
}


def _of(data: Data, name: str) -> str:
    value = data.get(name)
    return "" if value is None else _clean(str(value))


def _score(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, int | float) else ""


def _rest(data: Data) -> str:
    shown = {k: v for k, v in data.items() if k not in FLAGS and v not in (None, "", [], {}, False)}
    texts = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False, default=str) for k, v in shown.items()}
    return _clean(", ".join(f"{k} {v}" for k, v in texts.items()))


def _clean(text: str) -> str:
    """What came from the network must not drive the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
