"""Scripted callers: our own SIP stack and plain-Python RTP, measuring from outside what a caller goes through.

`Callers` is one SIP port and one RTP thread; any number of calls run on it at once, each with a script of steps.
"""

from __future__ import annotations

import asyncio
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from gateway.core.errors import MediaError, TrunklineError
from gateway.lab.leg import TICK, Leg, Pacer, Said
from gateway.lab.script import Amid, Exchange, Listen, Outcome, Press, Speak, Stay, Step, Wait
from gateway.lab.wire import Sound, level, read_wav, write_wav
from gateway.sip import edge, offer_answer
from gateway.sip import events as sip
from gateway.sip.config import SipConfig
from gateway.sip.edge import Edge
from gateway.sip.endpoint import Endpoint
from gateway.speech.tts_voices import voices

POLL_S = 0.01
AMID_S = 0.12
"""A prompt counts as going on where its last voiced packet was this recent."""


class CallOverError(TrunklineError):
    """The call ended while the script still ran."""

    def __init__(self) -> None:
        super().__init__("The call is over")


class Line:
    """One call of a caller. `started` is when the INVITE left, `answered` when the 200 came."""

    def __init__(self, uri: str, leg: Leg) -> None:
        self.outcome = Outcome(uri)
        self.leg = leg
        self.started = time.monotonic()
        self.answered: float | None = None
        self.ended = asyncio.Event()

    @property
    def over(self) -> bool:
        return self.ended.is_set()

    def take(self, event: sip.SipEvent) -> None:
        """What SIP says about this call."""
        if isinstance(event, sip.CallAnswered):
            self.answered = time.monotonic()
            self.outcome.status, self.outcome.reason = 200, "OK"
            self.outcome.setup_ms = 1000 * (self.answered - self.started)
            media = event.media
            self.leg.attach(media.ip, media.port, media.payload, media.dtmf_payload)
        elif isinstance(event, sip.CallFailed):
            self.outcome.status, self.outcome.reason = event.status, event.reason
            self.ended.set()
        elif isinstance(event, sip.CallEnded):
            self.outcome.ended_by = "peer" if event.by_peer else "caller"
            self.outcome.reason = event.reason or self.outcome.reason
            self.ended.set()

    # --- steps ------------------------------------------------------------------------------------------------

    async def until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Wait for `true()`, at most `seconds`; gives whether it came. Raises CallOverError when the call ends."""
        limit = time.monotonic() + seconds
        while not true():
            if self.over:
                raise CallOverError
            if time.monotonic() >= limit:
                return False
            await asyncio.sleep(POLL_S)
        return True

    def quiet_for(self, since: float) -> float:
        """Seconds since the last voiced packet after `since`; 0 where none was heard."""
        voiced = self.leg.voiced
        return time.monotonic() - voiced[-1] if voiced and voiced[-1] > since else 0.0

    def talking_for(self, since: float) -> float:
        """Seconds that the sound heard now has been going, pauses under a third of a second included; 0 in silence."""
        last = time.monotonic()
        if not self.leg.voiced or last - self.leg.voiced[-1] > AMID_S:
            return 0.0
        start = last
        for at in reversed(self.leg.voiced):
            if at < since or start - at > 0.33:
                break
            start = at
        return last - start

    async def do(self, step: Step, since: float) -> None:
        """Carry one step out; `since` is when the step before it was over."""
        match step:
            case Listen(silence, timeout):
                await self.until(lambda: self.quiet_for(since) >= silence, timeout)
            case Amid(seconds, timeout):
                await self.until(lambda: self.talking_for(since) >= seconds, timeout)
            case Speak(wav):
                await self.utter(self.leg.say(_sound(wav), wav.name))
            case Press(digits):
                await self.utter(self.leg.press(digits))
            case Wait(seconds):
                await self.until(lambda: False, seconds)
            case Stay(seconds):
                await self.until(lambda: self.over, seconds)

    async def utter(self, said: Said) -> None:
        """Wait until all of it is sent."""
        await self.until(lambda: said.done, 120.0)

    # --- results ----------------------------------------------------------------------------------------------

    def exchanges(self) -> list[Exchange]:
        """What was said and when the answer to each came."""
        zero = self.answered or self.started
        spoken = [said for said in self.leg.said if said.started is not None and said.ended is not None]
        found = []
        for place, said in enumerate(spoken):
            assert said.started is not None
            assert said.ended is not None
            following = spoken[place + 1].started if place + 1 < len(spoken) else None
            reply = self.leg.answered_after(said.ended)
            if reply is not None and following is not None and reply > following:
                reply = None
            stop = self.leg.silent_after(said.started) if self.leg.voiced_at(said.started) else None
            found.append(
                Exchange(
                    said.what,
                    said.started - zero,
                    said.ended - zero,
                    1000 * (reply - said.ended) if reply is not None else None,
                    1000 * (stop - said.started) if stop is not None else None,
                )
            )
        return found

    def close(self, record: Path | None) -> Outcome:
        """The result, with what was heard written to `record` (mono, 8 kHz, from the answer on)."""
        result, track = self.outcome, self.leg.track
        result.exchanges = self.exchanges()
        result.keys_heard = track.keys
        result.rtp = {
            "sent": self.leg.sent,
            "received": len(track.packets),
            "lost": track.lost,
            "garbage": track.garbage,
            "unsent": self.leg.unsent,
        }
        if self.answered is not None:
            result.seconds = time.monotonic() - self.answered
            heard = track.sound(self.answered)
            result.level_dbfs = level(heard)
            if record:
                write_wav(record, heard)
                result.recording = str(record)
        return result


class Callers:
    """One SIP port and RTP thread for callers: `async with Callers() as callers: await callers.call(uri, script)`."""

    def __init__(self, ip: str = "127.0.0.1", port: int = 0) -> None:
        self.ip, self.port = ip, port
        self.pacer = Pacer()
        self.lines: dict[str, Line] = {}

    async def __aenter__(self) -> Callers:
        endpoint = Endpoint(SipConfig(domain=self.ip, host=self.ip, user="caller", user_agent="Trunkline caller"))
        self.edge = await Edge.open(endpoint, [edge.Listen("udp", self.ip, self.port)], self.take)
        self.port = self.edge.port
        self.pacer.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.edge.close()
        self.pacer.stop()

    def take(self, event: sip.SipEvent) -> None:
        """Hand an event to the line it is about; calls that come in are not for a caller."""
        if isinstance(event, sip.CallOffered):
            self.edge.reject(event.call, 486)
        elif isinstance(event, sip.OfferChanged):
            self.accept_change(event)
        elif (line := self.lines.get(getattr(event, "call", ""))) is not None:
            line.take(event)

    def accept_change(self, event: sip.OfferChanged) -> None:
        """A re-INVITE is taken as it comes, on the same RTP port."""
        line = self.lines.get(event.call)
        if line is None:
            return
        mine = (
            offer_answer.offer(self.ip, line.leg.port)
            if event.offer is None
            else offer_answer.answer(event.offer, self.ip, line.leg.port)
        )
        self.edge.accept_change(event.call, mine)

    @contextmanager
    def leg(self) -> Iterator[Leg]:
        """A leg that is served for as long as the call lasts."""
        leg = self.pacer.add(Leg(self.ip))
        try:
            yield leg
        finally:
            self.pacer.remove(leg)

    async def call(
        self,
        uri: str,
        script: Sequence[Step],
        *,
        record: Path | None = None,
        caller: str = "5551234",
        display: str = "",
        headers: Mapping[str, str] | None = None,
        seconds: float = 120.0,
        on_step: Callable[[Step], None] | None = None,
    ) -> Outcome:
        """Call `uri` (sip:USER@HOST:PORT), do what `script` says, hang up. Gives what came of it, failures included.

        `seconds` bounds the whole call; `on_step` is told before each step. Raises TrunklineError only where one of the
        script's files can't be read or the URI is none.
        """
        target = _by_address(uri)
        for step in script:
            if isinstance(step, Speak):
                _sound(step.wav)
        with self.leg() as leg:
            line = Line(uri, leg)
            offer = offer_answer.offer(self.ip, leg.port)
            name = self.edge.invite(target, offer, from_display=display, from_user=caller, headers=headers or {})
            self.lines[name] = line
            try:
                async with asyncio.timeout(seconds):
                    await self.run(line, script, on_step)
            except CallOverError:
                pass
            except TimeoutError:
                line.outcome.reason = f"the caller gave up after {seconds:g} s"
            finally:
                await self.hang_up(name, line)
                del self.lines[name]
            return line.close(record)

    async def run(self, line: Line, script: Sequence[Step], on_step: Callable[[Step], None] | None) -> None:
        """Wait for the answer, then do the steps."""
        await line.until(lambda: line.answered is not None, 90.0)
        over = line.answered or time.monotonic()
        for step in script:
            if on_step:
                on_step(step)
            await line.do(step, over)
            said = line.leg.said
            over = said[-1].ended or time.monotonic() if said and isinstance(step, Speak | Press) else time.monotonic()
            if isinstance(step, Listen | Wait):
                over -= TICK

    async def hang_up(self, name: str, line: Line) -> None:
        """BYE or CANCEL, then wait for the end to be confirmed."""
        if line.over:
            return
        self.edge.hangup(name)
        with suppress(TimeoutError):
            await asyncio.wait_for(line.ended.wait(), 5)
        line.outcome.ended_by = "caller"


_sounds: dict[Path, Sound] = {}


def _sound(path: Path) -> Sound:
    """A WAV, read once for all callers."""
    if path not in _sounds:
        _sounds[path] = read_wav(path)
    return _sounds[path]


def _by_address(uri: str) -> str:
    """`uri` with its host resolved. Raises TrunklineError where it is no sip: URI or the host is not known."""
    found = re.fullmatch(r"(?:sip:)?([^@\s]+)@([^:;\s]+)(:\d+)?", uri)
    if not found:
        raise TrunklineError(
            "That is nobody to call", read=uri, expected="sip:USER@HOST:PORT, such as sip:1001@127.0.0.1:5060"
        )
    try:
        address = socket.gethostbyname(found[2])
    except OSError:
        raise TrunklineError(f"The host {found[2]} is not known", read=uri, do="Give its IP address.") from None
    return f"sip:{found[1]}@{address}{found[3] or ':5060'}"


def own_address(uri: str) -> str:
    """The address of this machine that packets to `uri` leave from."""
    host = _by_address(uri).partition("@")[2].partition(":")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 5060))
        return str(probe.getsockname()[0])


async def call_once(
    uri: str,
    *,
    wav: Path | None = None,
    say: str = "",
    keys: str = "",
    record: Path | None = None,
    language: str = "en-US",
    seconds: float = 60.0,
) -> dict[str, Any]:
    """One call from the command line: wait for the prompt, speak or press, stay for the answer, as plain values.

    Raises TrunklineError when a file or the URI can't be used, or no offline voice speaks the language of `say`.
    """
    script: list[Step] = []
    if say:
        script += [Listen(), Speak(await asyncio.to_thread(rendered, say, language))]
    if wav:
        script += [Listen(), Speak(wav)]
    if keys:
        script += [Listen(), Press(keys)]
    script.append(Stay(seconds) if not script else Listen(silence=4.0, timeout=seconds))
    async with Callers(own_address(uri)) as callers:
        outcome = await callers.call(uri, script, record=record, seconds=seconds)
    return outcome.as_json()


def rendered(text: str, language: str) -> Path:
    """A WAV of `text` by the first offline voice that speaks `language`. Raises TrunklineError where none does."""
    for voice in voices(("piper",), Path()):
        if voice.voice(language):
            audio = voice.render(text, language)
            path = Path(tempfile.mkstemp(prefix="trunkline-say-", suffix=".wav")[1])
            write_wav(path, np.frombuffer(audio.pcm, "<i2"), audio.rate)
            return path
    raise MediaError(f"No offline voice speaks {language}", read=text, do="Give a recording with --wav.")
