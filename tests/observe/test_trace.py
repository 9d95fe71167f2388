"""SIP messages of each call: which belong to it, what is kept of them, and what never reaches a file."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import StoreError
from gateway.observe.mask import masked
from gateway.observe.trace import CALL_MESSAGES, LOOSE, LOOSE_MESSAGES, Tracer
from gateway.observe.trace_files import TraceFiles, find, read

Peer = namedtuple("Peer", ("ip", "port", "transport"))
PHONE = Peer("10.0.0.9", 5060, "udp")


def message(start: str = "INVITE sip:8000@10.0.0.2", call_id: str = "a1", *headers: str, body: str = "") -> bytes:
    lines = [f"{start} SIP/2.0", f"Call-ID: {call_id}", *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def tracer(calls: int = 5) -> Tracer:
    return Tracer(calls, Clock())


def test_a_call_has_the_messages_of_all_its_dialogs_in_order() -> None:
    found = tracer()
    found.message(message(), PHONE, False)
    found.dialog("h1", "a1")
    found.joined("h1", "call-1")
    found.message(message("SIP/2.0 200 OK"), PHONE, True)
    found.dialog("h2", "b2")  # the agent's phone: its dialog is told before anything is sent
    found.joined("h2", "call-1")
    found.message(message("INVITE sip:anna@10.0.0.7", "b2"), PHONE, True)
    found.dialog("h2", "b3")  # and a second one, once the first was refused
    found.message(message("INVITE sip:anna@10.0.0.8", "b3"), PHONE, True)
    found.message(message("BYE sip:x@y"), PHONE, False)
    found.message(message("INVITE sip:stranger@10.0.0.2", "zz"), PHONE, False)
    found.finished("call-1")
    found.message(message("SIP/2.0 200 OK", "a1", "CSeq: 2 BYE"), PHONE, True)
    (trace,) = found.take(9, 0.0)
    assert trace.call == "call-1"
    assert [m.data.split()[0] for m in trace.messages] == [
        b"INVITE",
        b"SIP/2.0",
        b"INVITE",
        b"INVITE",
        b"BYE",
        b"SIP/2.0",
    ]
    assert [m.sent for m in trace.messages] == [False, True, True, True, False, True]
    assert found.take(9, 0.0) == []
    found.message(message("BYE sip:x@y"), PHONE, False)
    assert not found._by_dialog
    assert not found._by_handle


def test_a_call_is_taken_when_it_has_been_over_for_a_while() -> None:
    found = tracer()
    found.joined("h", "c")
    found.finished("c")
    assert found.take(9, 2.0) == []
    found.now.now += 2.0
    assert [t.call for t in found.take(9, 2.0)] == ["c"]


@pytest.mark.parametrize("header", ["Call-ID: a1", "call-id:a1", "i: a1", "I : a1  ", "CALL-ID:\ta1"])
def test_a_call_id_is_found_however_it_is_written(header: str) -> None:
    found = tracer()
    found.message(f"INVITE sip:x@y SIP/2.0\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode(), PHONE, False)
    found.dialog("h", "a1")
    found.joined("h", "c")
    found.finished("c")
    assert len(found.take(1, 0.0)[0].messages) == 1


def test_memory_is_bounded_whatever_comes() -> None:
    found = tracer()
    for n in range(3 * LOOSE):
        for _ in range(LOOSE_MESSAGES + 5):
            found.message(message(call_id=f"scan-{n}"), PHONE, False)
        found.message(message("REGISTER sip:x", f"reg-{n}"), PHONE, False)
        found.dialog(f"h{n}", f"scan-{n}")
    assert len(found._loose) <= LOOSE
    assert len(found._dialogs) <= LOOSE
    assert max(len(each) for each in found._loose.values()) <= LOOSE_MESSAGES
    found.joined("mine", "c")
    found.dialog("mine", "long")
    for _ in range(CALL_MESSAGES + 50):
        found.message(message("INFO sip:x", "long"), PHONE, False)
    found.finished("c")
    for n in range(20):
        found.joined(f"k{n}", f"late-{n}")
        found.finished(f"late-{n}")
    assert found.dropped == 16
    assert len(found.take(99, 0.0)) == 5
    assert not found._by_dialog
    assert not found._live


def test_a_call_of_too_many_messages_says_how_many_it_lost() -> None:
    found = tracer()
    found.joined("h", "c")
    found.dialog("h", "long")
    for _ in range(CALL_MESSAGES + 50):
        found.message(message("INFO sip:x", "long"), PHONE, False)
    found.finished("c")
    (trace,) = found.take(1, 0.0)
    assert (len(trace.messages), trace.missed) == (CALL_MESSAGES, 50)


def test_nothing_is_kept_where_nothing_is_wanted() -> None:
    found = tracer(0)
    found.message(message(), PHONE, False)
    found.dialog("h", "a1")
    found.joined("h", "c")
    found.finished("c")
    assert found.take(1, 0.0) == []
    assert not found._loose


# --- what never reaches a file ------------------------------------------------------------------------------------

SECRETS = {
    "password": (
        message(
            "REGISTER sip:x", "a", 'Authorization: Digest username="ann", uri="sip:x", response="0123456789abcdef"'
        ),
        b"0123456789abcdef",
    ),
    "proxy password": (
        message("INVITE sip:x", "a", "proxy-authorization: Digest response=ABCDEF0123, username=ann"),
        b"ABCDEF0123",
    ),
    "folded": (
        message("INVITE sip:x", "a", 'Authorization: Digest username="ann",\r\n  response="fedcba98"'),
        b"fedcba98",
    ),
    "media key": (
        message(
            "INVITE sip:x",
            "a",
            "Content-Type: application/sdp",
            body="v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:S3cretKeyS3cretKeyS3cretKey|2^20|1:4\r\n",
        ),
        b"S3cretKey",
    ),
    "old media key": (message("INVITE sip:x", "a", body="v=0\r\nk=clear:topsecret\r\n"), b"topsecret"),
    "ICE password": (message("INVITE sip:x", "a", body="v=0\r\na=ice-pwd:hunter2hunter2\r\n"), b"hunter2"),
    "key": (
        message("INFO sip:x", "a", "Content-Type: application/dtmf-relay", body="Signal=7\r\nDuration=160\r\n"),
        b"Signal=7",
    ),
    "bare key": (message("INFO sip:x", "a", "Content-Type: application/dtmf", body="7"), b"\r\n\r\n7"),
    "text": (message("MESSAGE sip:x", "a", body="my pin is four"), b"four"),
    "story": (message("INVITE sip:x", "a", "X-Trunkline-Heard: my number is 4929 1234"), b"4929"),
}


@pytest.mark.parametrize("name", SECRETS)
def test_secrets_are_masked_and_nothing_changes_its_length(name: str) -> None:
    data, secret = SECRETS[name]
    assert secret in data
    shown = masked(data)
    assert secret not in shown
    assert len(shown) == len(data)
    assert shown.count(b"\n") == data.count(b"\n")


def test_what_explains_a_call_is_shown() -> None:
    data = message(
        "INVITE sip:8000@10.0.0.2",
        "a1",
        'Authorization: Digest username="ann", nonce="abc", uri="sip:x", response="00ff", nc=00000001',
        "X-Trunkline-Call: 0197f0c1-2222-7000-8000-123456789abc",
        "X-Trunkline-Queue: cards",
        body="v=0\r\nm=audio 4000 RTP/AVP 0\r\na=crypto:1 AES_80 inline:abcd|2^20\r\na=rtpmap:0 PCMU/8000\r\n",
    )
    shown = masked(data)
    for kept in (b'nonce="abc"', b"nc=00000001", b"0197f0c1-2222-7000-8000-123456789abc", b"cards", b"PCMU", b"|2^20"):
        assert kept in shown
    assert b'response="xxxx"' in shown
    assert b"inline:xxxx|" in shown


@given(st.binary(max_size=400), st.sampled_from([b"INFO ", b"INVITE ", b"SIP/2.0 ", b"MESSAGE ", b""]))
def test_anything_can_be_masked(data: bytes, start: bytes) -> None:
    assert len(masked(start + data)) == len(start + data)


BREAKS = st.sampled_from(["\r\n", "\n"])
BLANKS = st.sampled_from(["", " ", "\t", "  \t"])
SECRET = st.text("0123456789abcdef", min_size=12, max_size=40).map(lambda text: f"5ec{text}")


@st.composite
def spelled(draw: st.DrawFn, name: str) -> str:
    """A header's name and colon in any case, with blanks before the colon."""
    cased = "".join(draw(st.sampled_from((c.lower(), c.upper()))) for c in name)
    return f"{cased}{draw(BLANKS)}:{draw(BLANKS)}"


@st.composite
def gap(draw: st.DrawFn, line: str) -> str:
    """Blanks, or a fold."""
    return draw(BLANKS) + draw(st.sampled_from(["", line + " ", line + "\t  "]))


@st.composite
def logins(draw: st.DrawFn, line: str, secret: str) -> str:
    name = draw(st.sampled_from(["Authorization", "Proxy-Authorization", "Authentication-Info"]))
    between = draw(gap(line))
    quote = draw(st.sampled_from(['"', ""]))
    proof = draw(st.sampled_from(["response", "RESPONSE", "rspauth"]))
    proof += f"{draw(BLANKS)}={draw(gap(line))}{quote}{secret}{quote}"
    whole = {
        "Authorization": ["Basic " + between + secret + "==", f"Bearer{line} {secret}", secret, f"Digest x{secret}=1"],
        "Proxy-Authorization": ["bAsIc " + between + secret, f'Digest username="a, {proof}', f"NTLM {secret}"],
        "Authentication-Info": [proof],
    }[name]
    digest = "" if name == "Authentication-Info" else f"Digest{draw(BLANKS)} "
    parts = draw(st.permutations(['username="ann, b"', "nc=00000001", 'uri="sip:x"', proof]))
    whole = [*whole, digest + between + f"{between},{between}".join(parts)]
    return draw(spelled(name)) + draw(st.sampled_from(whole))


@given(st.data())
def test_a_login_is_never_shown_however_it_is_spelled(data: st.DataObject) -> None:
    line, secret = data.draw(BREAKS), data.draw(SECRET)
    empty = line * data.draw(st.integers(0, 3))
    heads = ["Call-ID: a", "X: y", data.draw(logins(line, secret))]
    start = data.draw(st.sampled_from(["REGISTER sip:x SIP/2.0", "invite sip:x SIP/2.0", "SIP/2.0 200 OK", "nonsense"]))
    whole = empty + line.join([start, *data.draw(st.permutations(heads)), "", ""])
    shown = masked(whole.encode())
    assert secret.encode() not in shown
    assert len(shown) == len(whole)
    assert shown.count(b"\n") == whole.count("\n")


BODIES = {
    "INVITE": "v=0{line}a=crypto:1 AES_80 {inline}:{blanks}{secret}|2^20|1:4{line}{k}={blanks}clear:{secret}",
    "INFO": "{signal}{blanks}={blanks}{secret}{line}Duration=160{line}",
    "info": "{secret}",
    "MESSAGE": "my pin is{line}{secret}",
    "ACK": "{line}a=ice-pwd:{secret}{line}a=key-mgmt:mikey {secret}",
    "NOTIFY": "SIP/2.0 200 OK{line}authorization :{blanks}Basic{line} {secret}{line}",
}


@given(st.data(), st.sampled_from(sorted(BODIES)))
def test_a_key_is_never_shown_however_its_body_is_spelled(data: st.DataObject, method: str) -> None:
    line, secret = data.draw(BREAKS), data.draw(SECRET)
    empty = line * data.draw(st.integers(0, 3))
    body = BODIES[method].format(
        line=line,
        secret=secret,
        blanks=data.draw(BLANKS),
        inline=data.draw(st.sampled_from(["inline", "INLINE"])),
        signal=data.draw(st.sampled_from(["Signal", "signal", " SIGNAL"])),
        k=data.draw(st.sampled_from("kK")),
    )
    whole = empty + line.join([f"{method} sip:x SIP/2.0", "Call-ID: a", "", body])
    shown = masked(whole.encode())
    assert secret.encode() not in shown
    assert len(shown) == len(whole)


@pytest.mark.parametrize("unit", [b"sip:", b"nc=,", b'response="', b"\r\n ", b" ", b"k=", b"a=,\\", b"authorization:"])
def test_a_long_message_of_one_thing_is_masked_too(unit: bytes) -> None:
    head = b"INVITE sip:x SIP/2.0\r\nAuthorization: Digest "
    data = head + unit * (32_768 // len(unit))
    assert len(masked(data)) == len(data)


def test_a_password_in_an_address_is_masked() -> None:
    shown = masked(message("INVITE sip:x", "a", "Contact: <sip:ann:pa55w0rd@10.0.0.9:5060>, <sip:10.0.0.9:5061>"))
    assert b"<sip:ann:xxxxxxxx@10.0.0.9:5060>, <sip:10.0.0.9:5061>" in shown


@pytest.mark.parametrize("before", [b"\r\n", b"\r\n\r\n", b"\n"])
def test_a_call_that_begins_with_an_empty_line_is_traced(before: bytes) -> None:
    found = tracer()
    found.message(before + message(), PHONE, False)
    found.dialog("h", "a1")
    found.joined("h", "c")
    found.finished("c")
    assert len(found.take(1, 0.0)[0].messages) == 1


# --- files --------------------------------------------------------------------------------------------------------


def files(folder: Path, keep: int = 3) -> TraceFiles:
    return TraceFiles(folder, keep, lambda peer: ("10.0.0.2", 5060))


def ended(found: Tracer, call: str) -> None:
    found.dialog(call, f"dialog-{call}")
    found.joined(call, call)
    body = "v=0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:S3cret|1:4\r\n\xe4"
    found.message(message(call_id=f"dialog-{call}", body=body), PHONE, False)
    found.finished(call)


def names(folder: Path) -> list[str]:
    return sorted(path.name.partition(".")[0] for path in folder.iterdir())


async def test_calls_that_are_over_are_on_disk_and_the_oldest_go(tmp_path: Path) -> None:
    found = tracer(20)
    kept = files(tmp_path).follow(found)
    (tmp_path / "c1.pcap").write_bytes(b"")  # somebody looked at it
    for n in range(5):
        ended(found, f"c{n}")
    await kept.close()
    assert names(tmp_path) == ["c2", "c3", "c4"]
    again = files(tmp_path).follow(found)  # the next run counts what lies there
    ended(found, "c9")
    await again.close()
    assert names(tmp_path) == ["c3", "c4", "c9"]
    written = read(find(tmp_path, "last"))
    assert (written.call, written.missed) == ("c9", 0)
    (line,) = written.lines
    assert (line.sent, line.transport, line.peer, line.local) == (False, "udp", ("10.0.0.9", 5060), ("10.0.0.2", 5060))
    assert b"S3cret" not in line.data
    assert line.data.endswith("\xe4".encode())
    assert find(tmp_path, "last").stat().st_mode & 0o077 == 0


async def test_a_folder_that_can_not_be_written_costs_nothing_but_the_traces(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = tracer()
    kept = files(tmp_path / "file" / "traces").follow(found)
    ended(found, "c1")
    await kept.close()
    await asyncio.sleep(0)


def test_a_trace_is_found_by_either_end_of_its_id(tmp_path: Path) -> None:
    for name in ("0197aa-1", "0197aa-2", "0197bb-1"):
        (tmp_path / f"{name}.sip.gz").write_bytes(b"")
    assert find(tmp_path, "0197bb").name == "0197bb-1.sip.gz"
    assert find(tmp_path, "aa-2").name == "0197aa-2.sip.gz"
    assert find(tmp_path, "last").name == "0197bb-1.sip.gz"
    for text, said in (("0197aa", "2 traces begin or end"), ("zz", "no trace of a call zz")):
        with pytest.raises(StoreError, match=said):
            find(tmp_path, text)
    for folder, said in ((tmp_path / "nowhere", "No such file"), (tmp_path / "0197bb-1.sip.gz", "Not a directory")):
        with pytest.raises(StoreError, match="folder of traces can't be read") as raised:
            find(folder, "last")
        assert raised.value.read is not None
        assert raised.value.read.startswith(f"{folder}: {said}")


@pytest.mark.parametrize("seed", range(30))
def test_a_broken_file_is_said_to_be_one(tmp_path: Path, seed: int) -> None:
    found = tracer()
    ended(found, "c1")
    path = files(tmp_path).write(found.take(1, 0.0)[0])
    data = bytearray(path.read_bytes())
    rng = random.Random(seed)
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data[: rng.randrange(1, len(data) + 1)]))
    with contextlib.suppress(StoreError):  # and nothing else; a bit may be flipped where it tells nothing
        read(path)
