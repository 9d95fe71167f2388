"""What a SIP message costs: bytes read and checked, an answer or a forwarded request made and written, SDP read.

    trunkline bench sip-messages --messages 5000 --rounds 5

Every message is another one: branch, tags, Call-ID, numbers, addresses and ports differ, so that nothing is remembered
that a real stream of calls would not repeat. `scan` is the least that any reader does in Python: lines split, names
parted from values. The times are CPU time of the thread, median of all messages; the smallest median of the rounds is
told, with its p99, and its ratio to the scan of the same messages.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from gateway.sip import sdp
from gateway.sip.config import SipConfig
from gateway.sip.endpoint import Endpoint
from gateway.sip.message import Request, parse, respond
from gateway.sip.place import Place
from gateway.sip.stack import Stack
from gateway.sip.trunks import Trunk

PROXY, SOURCE = Place("192.0.2.1", 5060), Place("198.51.100.7", 5060)


def description(rng: random.Random) -> str:
    number, host = rng.randrange(10**6, 10**7), f"198.51.100.{rng.randrange(1, 255)}"
    return (
        f"v=0\r\no=- {number} {number} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
        f"m=audio {rng.randrange(2000, 30000) * 2} RTP/AVP 8 0 9 101\r\n"
        "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
        "a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
    )


def invite(rng: random.Random) -> bytes:
    """A typical one: twelve headers and a description."""
    number, host = rng.randrange(10**6, 10**7), f"198.51.100.{rng.randrange(1, 255)}"
    port, body = rng.randrange(1024, 65535), description(rng)
    head = (
        "INVITE sip:8000@gateway.example.com SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{rng.getrandbits(64):016x};rport",
        "Max-Forwards: 70",
        f'From: "Caller {number}" <sip:+4930{number}@example.com>;tag={rng.getrandbits(64):016x}',
        "To: <sip:8000@gateway.example.com>",
        f"Call-ID: {rng.getrandbits(96):024x}@{host}",
        f"CSeq: {rng.randrange(1, 9999)} INVITE",
        f"Contact: <sip:+4930{number}@{host}:{port};transport=udp>",
        "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY, PRACK",
        "Supported: replaces, timer, 100rel",
        "User-Agent: ExamplePhone/4.2.1",
        "Content-Type: application/sdp",
        f"Content-Length: {len(body)}",
    )
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode()


def answered(rng: random.Random) -> bytes:
    """A 200 to such an INVITE."""
    request = parse(invite(rng))
    assert isinstance(request, Request)
    headers = [("Contact", "<sip:8000@192.0.2.1:5060>"), ("Content-Type", "application/sdp")]
    return respond(
        request, 200, tag=f"{rng.getrandbits(64):016x}", headers=headers, body=description(rng).encode()
    ).encode()


def scan(data: bytes) -> None:
    for line in data.split(b"\r\n"):
        line.partition(b":")


def answer(data: bytes) -> None:
    """An INVITE read, checked, and answered with 200 and a description."""
    request = parse(data)
    assert isinstance(request, Request)
    headers = (("Contact", "<sip:trunkline@192.0.2.1:5060>"), ("Content-Type", "application/sdp"))
    respond(request, 200, tag="0123456789abcdef", headers=headers, body=ANSWER).encode()


def forwarder() -> Callable[[bytes], None]:
    """An INVITE read, checked, given our Via in place of those that came, and written."""
    stack = Stack(SipConfig(domain="gateway.example.com", host=PROXY.ip, port=5060), random.Random(1))

    def forward(data: bytes) -> None:
        request = parse(data)
        assert isinstance(request, Request)
        stack.via(request, PROXY).encode()

    return forward


def receiver() -> Callable[[bytes], None]:
    """The whole endpoint: transaction, checks by RFC 3261 8.2, offer read, call offered, refused, ACK taken."""
    config = SipConfig(
        domain="gateway.example.com",
        host=PROXY.ip,
        port=5060,
        trunks=(Trunk("bench", ("198.51.100.0/24",)),),
        destinations=("8000",),
    )
    endpoint, now = Endpoint(config, random.Random(1)), 1.0

    def receive(data: bytes) -> None:
        nonlocal now
        now += 0.05
        endpoint.receive(data, SOURCE, now)
        endpoint.reject(endpoint.take_events()[-1].call, 486, now=now)  # type: ignore[union-attr]
        head = data.partition(b"\r\nContact: ")[0].replace(b" INVITE\r\n", b" ACK\r\n")
        refused = endpoint.take_messages()[-1][0]
        to = refused[refused.index(b"To: ") :].partition(b"\r\n")[0]
        ack = b"ACK" + head[6:].replace(b"To: <sip:8000@gateway.example.com>", to) + b"\r\nContent-Length: 0\r\n\r\n"
        endpoint.receive(ack.replace(b" INVITE", b" ACK"), SOURCE, now)
        endpoint.tick(now)

    return receive


ANSWER = description(random.Random(0)).encode()
Work = tuple[str, Callable[[random.Random], bytes], Callable[[], Callable[[bytes], object]]]
WORK: Sequence[Work] = (
    ("INVITE: scan", invite, lambda: scan),
    ("INVITE: parse and check", invite, lambda: parse),
    ("INVITE: parse, check, build 200 with SDP", invite, lambda: answer),
    ("INVITE: parse, check, forward", invite, forwarder),
    ("200 to INVITE: parse and check", answered, lambda: parse),
    ("SDP: parse", lambda rng: description(rng).encode(), lambda: sdp.parse),
    ("INVITE and ACK: endpoint, offered, refused", invite, receiver),
)


def measure(
    make: Callable[[random.Random], bytes], work: Callable[[bytes], object], count: int, seed: int
) -> list[float]:
    """Microseconds of each message."""
    rng = random.Random(seed)
    messages = [make(rng) for _ in range(count)]
    took = []
    for data in messages:
        began = time.thread_time_ns()
        work(data)
        took.append((time.thread_time_ns() - began) / 1000)
    return took


def run(count: int, rounds: int) -> list[dict[str, Any]]:
    """The figures of each kind of work; the kinds take turns within a round."""
    found: dict[str, list[list[float]]] = {name: [] for name, _, _ in WORK}
    for number in range(rounds):
        for name, make, prepare in WORK:
            found[name].append(measure(make, prepare(), count, number))
    best = {name: min(each, key=statistics.median) for name, each in found.items()}
    least = statistics.median(best[WORK[0][0]])
    rows = []
    for name, took in best.items():
        middle = statistics.median(took)
        rows.append(
            {
                "what": name,
                "n": count * rounds,
                "median_us": round(middle, 2),
                "p99_us": round(statistics.quantiles(took, n=100)[98], 2) if count >= 1000 else None,
                "ratio_to_scan": round(middle / least, 2),
            }
        )
    return rows


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=5000, help="messages a round (2 to 1,000,000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures there")
    chosen = parser.parse_args()
    if not 2 <= chosen.messages <= 1_000_000 or chosen.rounds < 1:
        parser.error("--messages is 2 to 1,000,000, --rounds at least 1")
    with figures.progress("messages are read and written"):
        rows = run(chosen.messages, chosen.rounds)
    columns = ("what", "n", "median us", "p99 us", "ratio to scan")
    figures.table("SIP messages, one thread", columns, [list(row.values()) for row in rows])
    figures.write_json(chosen.json, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
