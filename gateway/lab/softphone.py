"""An agent's softphone: `python -m gateway.lab.softphone --server HOST:PORT --user agent-anna --password SECRET`.

It registers with digest, rings, answers, plays a WAV and records what it hears. SIP and RTP are pyVoIP's (GPLv3), so
that Trunkline meets a stack that is not its own; nothing imports this module, it is a program and a process of its own.
Each event is one line on standard output: JSON with `--json`, a sentence without.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gateway.core.errors import TrunklineError
from gateway.lab.wire import Sound, Track, level, read_wav, write_wav

try:
    from pyVoIP.VoIP import CallState, InvalidStateError, VoIPCall, VoIPPhone  # isort: skip - first, or its SIP fails
    from pyVoIP import RTP, SIP
    from pyVoIP.VoIP.status import PhoneStatus
except ModuleNotFoundError:
    sys.exit("The softphone needs pyVoIP: pip install 'trunkline[phone]'")

RUNG_BEFORE = 1.0
"""Seconds pyVoIP lets a call ring before it tells its owner."""
AHEAD = 4000
"""Samples kept written ahead of what pyVoIP has sent."""


class TappedRtp(RTP.RTPClient):
    """pyVoIP's RTP, with every packet also kept as it came: its own buffer holds 8-bit sound and drops silence."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.track = Track()

    def start(self) -> None:
        """Open the port once; pyVoIP calls this again on a re-INVITE, where the port is its own already."""
        if not hasattr(self, "sin"):
            super().start()

    def stop(self) -> None:
        """Close the port; a refused call never had one."""
        self.NSD = False
        if hasattr(self, "sin"):
            super().stop()

    def parse_packet(self, packet: bytes) -> None:
        self.track.take(packet, time.monotonic())
        super().parse_packet(packet)

    @property
    def unsent(self) -> int:
        """Samples written and not sent yet."""
        with self.pmout.bufferLock:
            return int(self.pmout.buffer.getbuffer().nbytes - self.pmout.buffer.tell())


RTP.RTPClient = TappedRtp  # type: ignore[misc]


class Reporter:
    """Writes one line an event, from any thread."""

    def __init__(self, stream: TextIO, user: str, as_json: bool) -> None:
        self.stream, self.user, self.as_json = stream, user, as_json
        self.lock = threading.Lock()

    def __call__(self, event: str, **fields: object) -> None:
        known = {key: value for key, value in fields.items() if value is not None}
        if self.as_json:
            line = json.dumps({"event": event, "at": time.monotonic(), "user": self.user, **known}, ensure_ascii=False)
        else:
            line = f"{self.user} {event} " + " ".join(f"{key}={value}" for key, value in known.items())
        with self.lock:
            print(line, file=self.stream, flush=True)


class Softphone(VoIPPhone):
    """One registered phone that does with each call what its options say."""

    def __init__(self, options: argparse.Namespace, report: Reporter) -> None:
        host, port = address(options.server)
        own = options.ip or own_ip(host, port)
        self.options, self.report = options, report
        self.voice = read_wav(options.play) if options.play else np.zeros(0, np.int16)
        self.rung: dict[str, float] = {}
        self.taken = 0
        self.over = threading.Event()
        super().__init__(
            host,
            port,
            options.user,
            options.password,
            own,
            self.take,
            options.sip_port or free_port(own, socket.SOCK_DGRAM),
        )
        self.sip.register_timeout = 2

    def request_port(self, blocking: bool = True) -> int:
        """A free even port from the system, where pyVoIP would guess one."""
        return free_port(self.myIP, socket.SOCK_DGRAM)

    def release_ports(self, call: VoIPCall | None = None) -> None:
        """Nothing is reserved; a finished call is only forgotten."""
        with self.portsLock:
            self._cleanup_dead_calls()

    def callback(self, request: SIP.SIPMessage) -> None:
        """pyVoIP's dispatch, with CANCEL ended as RFC 3261 section 9.2 says (pyVoIP answers the CANCEL alone)."""
        call = self.calls.get(request.headers["Call-ID"])
        if request.type == SIP.SIPMessageType.MESSAGE and request.method == "CANCEL":
            if call and call.state == CallState.RINGING:
                call.state = CallState.ENDED
                gone = self.sip.gen_busy(call.request).replace("486 Busy Here", "487 Request Terminated", 1)
                self.sip.out.sendto(gone.encode(), (self.server, self.port))
            return
        super().callback(request)

    def _create_Call(self, request: SIP.SIPMessage, sess_id: int) -> None:  # noqa: N802 - pyVoIP's name
        super()._create_Call(request, sess_id)
        name, sender = request.headers["Call-ID"], request.headers["From"]
        self.rung[name] = time.monotonic()
        shown = {key: value for key, value in request.headers.items() if key.startswith("X-")}
        self.report(
            "ringing", call=name, caller=sender["number"], name=sender["caller"].strip('" <') or None, headers=shown
        )

    def take(self, call: VoIPCall) -> None:
        """One call from ringing to its end; pyVoIP runs it in a thread of its own."""
        name, options = call.call_id, self.options
        if options.busy or any(other.state == CallState.ANSWERED for other in self.calls.values()):
            call.deny()
            self.report("refused", call=name)
            return
        due = self.rung[name] + max(options.answer_after, RUNG_BEFORE)
        while call.state == CallState.RINGING and (options.no_answer or time.monotonic() < due):
            time.sleep(0.02)
        if call.state != CallState.RINGING:
            self.report("cancelled", call=name)
            return
        try:
            call.answer()
        except OSError as why:
            self.report("failed", call=name, reason=f"no RTP port: {why}")
            return
        self.talk(call)

    def talk(self, call: VoIPCall) -> None:
        """Play and listen until either side hangs up, then write the recording and report it."""
        answered, rtp = time.monotonic(), tapped(call)
        self.taken += 1
        self.report("answered", call=call.call_id, rtp_port=rtp.inPort, payload=int(rtp.preference))
        position, by = 0, "caller"
        while call.state == CallState.ANSWERED:
            if self.options.hangup_after and time.monotonic() - answered > self.options.hangup_after:
                by = "agent"
                call.hangup()
                break
            position = self.play_on(call, position)
            time.sleep(0.02)
        seconds, track = time.monotonic() - answered, rtp.track
        heard, path = track.sound(answered), None
        if self.options.record:
            path = numbered(Path(self.options.record), self.taken)
            write_wav(path, heard)
        self.report(
            "ended", call=call.call_id, by="agent" if self.over.is_set() else by, seconds=round(seconds, 3),
            packets=len(track.packets), lost=track.lost, garbage=track.garbage, keys=track.keys,
            level_dbfs=round(level(heard), 1), recording=str(path) if path else None,
        )  # fmt: skip
        if self.taken >= self.options.calls > 0:
            self.over.set()

    def play_on(self, call: VoIPCall, position: int) -> int:
        """Write the voice ahead of what was sent, from sample `position`; gives the next position."""
        if position >= len(self.voice) and not (self.options.loop and len(self.voice)):
            return position
        if tapped(call).unsent > AHEAD:
            return position
        position = position if position < len(self.voice) else 0
        part = self.voice[position : position + AHEAD]
        call.write_audio(eight_bits(part))
        return position + len(part)

    def serve(self) -> int:
        """Register, take calls until told to stop, sign off. Gives the exit status."""
        self.start()
        limit = time.monotonic() + self.options.max_seconds
        while self._status in (PhoneStatus.REGISTERING, PhoneStatus.INACTIVE) and time.monotonic() < limit:
            time.sleep(0.02)
        if self._status != PhoneStatus.REGISTERED:
            self.report("failed", reason=f"not registered at {self.server}:{self.port} ({self._status.value.lower()})")
            return 1
        self.report("registered", server=f"{self.server}:{self.port}", sip=f"{self.myIP}:{self.sip.myPort}")
        self.over.wait(limit - time.monotonic())
        self.over.set()
        for call in list(self.calls.values()):
            try:
                call.hangup()
            except (InvalidStateError, KeyError):
                continue
        time.sleep(0.3)  # the calls' threads write their recordings
        self.stop()
        self.report("signed off")
        return 0


def tapped(call: VoIPCall) -> TappedRtp:
    """The RTP of an answered call."""
    rtp = call.RTPClients[0]
    assert isinstance(rtp, TappedRtp)
    return rtp


def eight_bits(sound: Sound) -> bytes:
    """`sound` as pyVoIP takes it: unsigned 8-bit linear, rounded."""
    return bytes(np.clip((sound.astype(np.int32) + 128 >> 8) + 128, 0, 255).astype(np.uint8))


def address(text: str) -> tuple[str, int]:
    """HOST:PORT or HOST (port 5060) as a pair, the host resolved: pyVoIP sends to it and names it in its URIs."""
    host, _, port = text.partition(":")
    return socket.gethostbyname(host), int(port or 5060)


def own_ip(host: str, port: int) -> str:
    """The address of this machine that packets to `host` leave from."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))
        return str(probe.getsockname()[0])


def free_port(ip: str, kind: int) -> int:
    """An even port nobody holds on `ip` right now."""
    while True:
        with socket.socket(socket.AF_INET, kind) as probe:
            probe.bind((ip, 0))
            port = int(probe.getsockname()[1])
        if port % 2 == 0:
            return port


def numbered(path: Path, count: int) -> Path:
    """`path` for the first call, `path` with -2, -3 ... before its suffix for those after."""
    return path if count == 1 else path.with_stem(f"{path.stem}-{count}")


def options(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway.lab.softphone", description=(__doc__ or "").split("\n\n")[1]
    )
    say = parser.add_argument
    say("--server", required=True, metavar="HOST:PORT", help="where to register")
    say("--user", required=True)
    say("--password", default="")
    say("--ip", help="own address (default: the one that reaches the server)")
    say("--sip-port", type=int, default=0, help="own SIP port (default: a free one)")
    say("--play", metavar="WAV", help="what the agent says once answered (mono, 8 or 16 kHz)")
    say("--loop", action="store_true", help="say it again and again")
    say("--record", metavar="WAV", help="where to write what the agent hears (mono, 8 kHz, starts at the answer)")
    say("--answer-after", type=float, default=1.0, metavar="S", help="seconds of ringing; pyVoIP needs at least one")
    say("--no-answer", action="store_true", help="ring until the call is cancelled")
    say("--busy", action="store_true", help="refuse every call with 486")
    say("--hangup-after", type=float, default=0.0, metavar="S", help="hang up this long after the answer")
    say("--calls", type=int, default=0, metavar="N", help="leave after this many answered calls (default: stay)")
    say("--max-seconds", type=float, default=3600.0, metavar="S", help="leave after this long")
    say("--json", action="store_true", help="one JSON object a line")
    return parser.parse_args(arguments)


def main() -> None:
    """Run one phone until it was told to stop or its time is over."""
    chosen = options()
    report = Reporter(os.fdopen(os.dup(1), "w"), chosen.user, chosen.json)
    sys.stdout = sys.stderr  # pyVoIP prints there when it is surprised
    status = 1
    try:
        phone = Softphone(chosen, report)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: phone.over.set())
        status = phone.serve()
    except (TrunklineError, OSError) as why:
        report("failed", reason=str(why))
    os._exit(status)  # pyVoIP's threads would keep the process


if __name__ == "__main__":
    main()
