"""A flood of REGISTER beside calls in progress: what re-INVITEs, BYEs and RTP notice of it.

    python bench/sip_flood.py --rate 20000 --seconds 10

The gateway is a process of its own with the shipped bank flow; the caller at 127.0.0.1 is a trunk, nobody is trusted
for being on this machine. Four times of `--seconds` are told apart: before, a flood from one address, one from 250
addresses, after. In each, ten times a second, a call that stands is changed by re-INVITE and a call is set up and ended
by BYE; told is how long each answer took at the caller, how late RTP left (the engine's own measure), and the gateway's
CPU. The flood comes from a process of its own, as many a second as the machine gives up to `--rate`.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import figures
from bench.sip_calls import figures as metrics
from bench.sip_calls import spent
from gateway.lab import stage

PHASES = ("before", "one address", "250 addresses", "after")
ADDRESSES = {"one address": 1, "250 addresses": 250}
EACH_S = 0.1
PATIENCE_S = 10.0
"""An answer that takes longer counts as none."""

REGISTER = (
    "REGISTER sip:trunkline.local SIP/2.0\r\nVia: SIP/2.0/UDP {ip}:5060;branch=z9hG4bK{token}\r\nMax-Forwards: 70\r\n"
    "From: <sip:{user}@trunkline.local>;tag={token}\r\nTo: <sip:{user}@trunkline.local>\r\nCall-ID: {token}@{ip}\r\n"
    "CSeq: 1 REGISTER\r\nContact: <sip:{user}@{ip}:5060>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
)
SDP = (
    "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
)


# --- the flood ------------------------------------------------------------------------------------------------------


def flood(port: int, addresses: int, rate: int, seconds: float) -> int:
    """Sends REGISTERs without credentials, each a new one; how many that was."""
    socks, packets = [], []
    for n in range(addresses):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((f"127.66.0.{n + 1}", 0))
        sock.connect(("127.0.0.1", port))
        socks.append(sock)
    for n in range(2000):
        ip, user = f"127.66.0.{n % addresses + 1}", 1000 + n
        packets.append(REGISTER.format(ip=ip, token=secrets.token_hex(8), user=user).encode())
    begin, sent = time.monotonic(), 0
    while (passed := time.monotonic() - begin) < seconds:
        for _ in range(min(int(passed * rate) - sent, 200)):
            with suppress(OSError):  # a full buffer: a flood does not care
                socks[sent % addresses].send(packets[sent % len(packets)])
            sent += 1
        if sent >= int((time.monotonic() - begin) * rate):
            time.sleep(0.0005)
    return sent


# --- the calls ------------------------------------------------------------------------------------------------------


class Caller:
    """A trunk's side of one call, as plain as it can be: one UDP socket, one request at a time."""

    def __init__(self, target: tuple[str, int], number: str = "1001") -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.media = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.media.bind(("127.0.0.1", 0))
        self.target, self.uri = target, f"sip:{number}@{target[0]}:{target[1]}"
        self.call_id, self.tag, self.to, self.cseq = secrets.token_hex(8), secrets.token_hex(4), "", 0

    def invite(self) -> float | None:
        """Sets the call up, or changes it where it stands. Seconds until the 200, None where none came."""
        body = SDP.format(version=self.cseq + 1, port=self.media.getsockname()[1])
        took = self._ask("INVITE", body)
        if took is not None:
            self._send("ACK", self.cseq)
        return took

    def bye(self) -> float | None:
        """Ends it, likewise."""
        took = self._ask("BYE", "")
        self.sock.close()
        self.media.close()
        return took

    def _ask(self, method: str, body: str) -> float | None:
        self.cseq += 1
        begin = time.monotonic()
        for wait in (0.5, 1.0, 2.0, 4.0, PATIENCE_S - 7.5):
            self._send(method, self.cseq, body)
            limit = time.monotonic() + wait
            while (left := limit - time.monotonic()) > 0:
                self.sock.settimeout(left)
                try:
                    answer = self.sock.recv(65535).decode()
                except TimeoutError:
                    break
                if f"CSeq: {self.cseq} {method}" in answer and answer.startswith("SIP/2.0 2"):
                    self.to = next(line for line in answer.split("\r\n") if line.startswith("To:"))[3:].strip()
                    return time.monotonic() - begin
        return None

    def _send(self, method: str, cseq: int, body: str = "") -> None:
        ip, port = self.sock.getsockname()
        via = f"SIP/2.0/UDP {ip}:{port};branch=z9hG4bK{self.call_id}{cseq}{method[0]};rport"
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = (
            f"{method} {self.uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\n"
            f"From: <sip:caller@{ip}>;tag={self.tag}\r\n"
            f"To: {self.to or f'<{self.uri}>'}\r\nCall-ID: {self.call_id}\r\nCSeq: {cseq} {method}\r\n"
            f"Contact: <sip:caller@{ip}:{port}>\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.sock.sendto(text.encode(), self.target)


# --- the phases -----------------------------------------------------------------------------------------------------


@dataclass
class Phase:
    """What one phase came to. Times in milliseconds, CPU in percent of a core."""

    name: str
    flooded: float = 0.0
    changed: list[float] = field(default_factory=list)
    set_up: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    unanswered: int = 0
    rtp: dict[str, float] = field(default_factory=dict)
    cpu: float = 0.0
    counted: dict[str, int] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        spreads = {name: figures.spread(np.array(getattr(self, name))) for name in ("changed", "set_up", "ended")}
        return {**self.__dict__, **spreads}


def configured(folder: Path) -> Path:
    """The shipped configuration with the caller's address as the only trunk, and trust in nobody."""
    text = stage.CONFIG.read_text().replace("../ivr_flows", str(stage.ROOT / "ivr_flows"))
    text = text.replace('trusted: [127.0.0.0/8, "::1"]', "trusted: []")
    text = text.replace(" agents.yaml", f" {stage.CONFIG.parent / 'agents.yaml'}")
    (folder / "trunks.yaml").write_text("trunks: {caller: {addresses: [127.0.0.1/32]}}\n")
    (folder / "gateway.yaml").write_text(text)
    return folder / "gateway.yaml"


def phase(name: str, gateway: stage.GatewayProcess, rate: int, seconds: float, number: str = "1001") -> Phase:
    """One phase of calls, with its flood beside."""
    found, target = Phase(name), ("127.0.0.1", gateway.sip_port)
    standing = Caller(target, number)
    standing.invite()
    before, cpu = metrics(gateway), sum(spent(gateway.process.pid).values())
    flooding = None
    if name in ADDRESSES:
        command = [sys.executable, __file__, "--flood", str(gateway.sip_port), str(ADDRESSES[name])]
        command += ["--rate", str(rate), "--seconds", str(seconds)]
        flooding = subprocess.Popen(command, stdout=subprocess.PIPE)
    begin = time.monotonic()
    turn = 0
    while time.monotonic() - begin < seconds:
        _note(found, found.changed, standing.invite)
        caller = Caller(target, number)
        _note(found, found.set_up, caller.invite)
        _note(found, found.ended, caller.bye)
        turn += 1
        time.sleep(max(0.0, begin + turn * EACH_S - time.monotonic()))
    passed = time.monotonic() - begin
    found.cpu = 100 * (sum(spent(gateway.process.pid).values()) - cpu) / passed
    if standing.bye() is None:
        found.unanswered += 1
    if flooding:
        found.flooded = int(flooding.communicate()[0]) / seconds
    after = metrics(gateway)
    found.rtp = {p: after.get(f'trunkline_rtp_lateness_ms{{what="{p}"}}', 0.0) for p in ("p50", "p99")}
    prefix = 'trunkline_sip_total{what="'
    names = [key for key in after if key.startswith(prefix) and after[key] != before.get(key, 0.0)]
    found.counted = {key[len(prefix) : -2]: int(after[key] - before.get(key, 0.0)) for key in names}
    return found


def _note(found: Phase, times: list[float], ask: Callable[[], float | None]) -> None:
    took = ask()
    if took is None:
        found.unanswered += 1
    else:
        times.append(1000 * took)


def run(rate: int, seconds: float, data: Path, phases: tuple[str, ...] = PHASES) -> list[Phase]:
    """All phases on one gateway. Raises NotReady where it does not start."""
    data.mkdir(parents=True, exist_ok=True)
    with stage.gateway(data, config=configured(data)) as gateway:
        return [phase(name, gateway, rate, seconds) for name in phases]


def main() -> None:
    """Run it once, or be the flood."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=20_000, help="REGISTER a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase")
    parser.add_argument("--data", type=Path, help="keep the gateway's folder (and its rendered prompts) here")
    parser.add_argument("--flood", type=int, nargs=2, metavar=("PORT", "ADDRESSES"), help="be the flood")
    chosen = parser.parse_args()
    if chosen.flood:
        print(flood(*chosen.flood, chosen.rate, chosen.seconds))
        return
    with tempfile.TemporaryDirectory() as scratch:
        for found in run(chosen.rate, chosen.seconds, chosen.data or Path(scratch)):
            print(json.dumps(found.told()))


if __name__ == "__main__":
    main()
