"""aiortc as the process under test: one role says again each PCMU track it is given, the other is its far ends.

    peer_aiortc.py --role echo|feeder --streams N --profile AES_CM_128_HMAC_SHA1_80

Both talk JSON lines with bench/peers.py, which carries the feeder's offers to the echo and its answers back. Only the
echo's process is counted. The feeder sends the generator's loops (no keys: aiortc knows none) as frames made ahead.
Media is on 127.0.0.1 alone: no STUN server is asked, and the addresses ICE may gather are set to that one.
"""

from __future__ import annotations

import argparse
import asyncio
import fractions
import json
import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.generate import judge, packets, speech

MISSING = "aiortc is not installed: pip install 'aiortc==1.16.*'"
IP = "127.0.0.1"
KEEP_S = 12.0
"""The newest so many seconds of what came back are compared."""

try:
    import aioice.ice
    from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
    from aiortc import rtcdtlstransport as dtls
    from av import AudioFrame
except ImportError as error:
    print(json.dumps({"missing": f"{MISSING} ({error})"}), flush=True)
    sys.exit(0)


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def only_here(profile: str) -> None:
    """Loopback addresses, and the one SRTP profile."""
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [IP]
    known = {"AES_CM_128_HMAC_SHA1_80": "SRTP_AES128_CM_SHA1_80", "AEAD_AES_128_GCM": "SRTP_AEAD_AES_128_GCM"}
    dtls.SRTP_PROFILES[:] = [getattr(dtls, known[profile])]


async def line() -> str:
    """The next line of standard input, empty at its end."""
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


def connection() -> RTCPeerConnection:
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def echo(streams: int) -> None:
    """Takes offers, gives answers, ends at the end of its input."""
    held = []
    say(pids=[os.getpid()], version=f"aiortc {metadata.version('aiortc')}")
    for _ in range(streams):
        offer = json.loads(await line())
        pc = connection()
        held.append(pc)
        await pc.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        for transceiver in pc.getTransceivers():
            pc.addTrack(transceiver.receiver.track)
        await pc.setLocalDescription(await pc.createAnswer())
        say(sdp=pc.localDescription.sdp)
    while await line():
        pass


class Loop(MediaStreamTrack):
    """A source's loop on its own 20 ms grid, silent packets until `began` is set."""

    kind = "audio"

    def __init__(self, pcm: np.ndarray, offset: float) -> None:
        super().__init__()
        self._frames = [f.tobytes() for f in pcm.reshape(-1, speech.FRAME)]
        self._offset = offset
        self._ready = asyncio.Event()
        self._origin = 0.0
        self.sent = 0

    def begin(self, at: float) -> None:
        """Frames leave from `at` (time.monotonic) on."""
        self._origin = at + self._offset
        self._ready.set()

    async def recv(self) -> Any:
        await self._ready.wait()
        wait = self._origin + self.sent * 0.02 - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        frame = AudioFrame(format="s16", layout="mono", samples=speech.FRAME)
        frame.planes[0].update(self._frames[self.sent % len(self._frames)])
        frame.sample_rate = speech.RATE
        frame.pts = self.sent * speech.FRAME
        frame.time_base = fractions.Fraction(1, speech.RATE)
        self.sent += 1
        return frame


class Back:
    """What comes back on a track."""

    def __init__(self) -> None:
        self.count = 0
        self.pcm: list[np.ndarray] = []

    async def listen(self, track: MediaStreamTrack) -> None:
        while True:
            frame = await track.recv()
            self.count += 1
            self.pcm.append(frame.to_ndarray().reshape(-1))
            del self.pcm[: max(0, len(self.pcm) - int(KEEP_S * 50))]


async def feeder(streams: int) -> None:
    """Gives offers, takes answers; "go" and "mark" as in the other programs; compares what came back at the end."""
    loops = packets.loops("none")
    source = packets.source_of(streams)
    tracks, backs, held, tasks = [], [], [], []
    say(pids=[os.getpid()])
    for k in range(streams):
        pc = connection()
        track, back = Loop(loops[source[k]].pcm, k % 20 / 1000), Back()
        pc.on("track", lambda got, back=back: tasks.append(asyncio.ensure_future(back.listen(got))))
        pc.addTrack(track)
        wanted = [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.mimeType == "audio/PCMU"]
        pc.getTransceivers()[0].setCodecPreferences(wanted)
        await pc.setLocalDescription(await pc.createOffer())
        say(sdp=pc.localDescription.sdp)
        answer = json.loads(await line())
        await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        tracks.append(track)
        backs.append(back)
        held.append(pc)
    for _ in range(200):
        if all(pc.connectionState == "connected" for pc in held):
            break
        await asyncio.sleep(0.1)
    say(connected=sum(pc.connectionState == "connected" for pc in held))
    while word := await line():
        if word == "go":
            for track in tracks:
                track.begin(time.monotonic())
        elif word == "mark":
            say(back=sum(b.count for b in backs), sent=sum(t.sent for t in tracks))
        else:
            break
    rows = []
    for k in range(min(streams, 8)):
        pcm = np.concatenate(backs[k].pcm) if backs[k].pcm else np.zeros(0, np.int16)
        for at in range(0, len(pcm) - judge.WINDOW + 1, judge.HOP):
            if judge.loud(pcm[at : at + judge.WINDOW]):
                _, gain, alike = judge.match(pcm[at : at + judge.WINDOW], loops[source[k]].pcm)
                rows.append({"gain_db": 20 * float(np.log10(max(gain, 1e-6))), "alike": alike})
    say(audio=judge.verdict(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=("echo", "feeder"), required=True)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--profile", default="AES_CM_128_HMAC_SHA1_80")
    options = parser.parse_args()
    only_here(options.profile)
    asyncio.run((echo if options.role == "echo" else feeder)(options.streams))
    os._exit(0)


if __name__ == "__main__":
    main()
