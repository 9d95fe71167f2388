"""One RTP stream in and out, as the gateway handles it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gateway.core.audio import SPEECH_RATE, WIRE_RATE
from gateway.core.errors import MediaError
from gateway.media.clip import Clip
from gateway.media.events import MediaEvent, PromptDone, RingFull
from gateway.media.quality import Quality, quality
from gateway.media.recorder import Prepared
from gateway.media.recording_tap import TapRecording
from gateway.media.room import Room

if TYPE_CHECKING:
    from gateway.media.engine import MediaEngine

log = logging.getLogger(__name__)

Pcm = NDArray[np.int16]

WIDE = frozenset({"G722", "L16/16000", "opus"})
"""Codecs that carry 16 kHz."""


class Leg:
    """One RTP stream in and out. Set `on_event`, and `on_audio` to be handed speech (16 kHz int16 bytes and the
    monotonic time up to which it was heard) as it comes. Every method but close raises MediaError once closed."""

    def __init__(self, engine: MediaEngine, handle: int, ip: str, port: int) -> None:
        self._engine = engine
        self.handle = handle
        self.ip = ip
        self.port = port
        self.on_event: Callable[[MediaEvent], None] = lambda event: None
        self.on_audio: Callable[[bytes, float], None] | None = None
        self._listening = False
        self._playing: dict[int, tuple[Clip, ...]] = {}
        self._recording: TapRecording | None = None
        self.room: Room | None = None
        self.rate = WIRE_RATE
        self.profile = ""
        self.closed = False

    def attach(
        self,
        ip: str,
        port: int,
        payload: int,
        dtmf_payload: int = -1,
        *,
        send: bool = True,
        receive: bool = True,
        codecs: Mapping[int, str] | None = None,
        noise_payload: int = -1,
        rtcp_port: int | None = None,
    ) -> None:
        """Where to send, and what. `payload` is one of `codecs`, which names all that may come (None: PCMU 0, PCMA 8,
        G722 9), and decides the leg's `rate`; `dtmf_payload`: telephone-event, -1 has keys go and come as tones;
        `noise_payload`: RFC 3389, -1 none; `rtcp_port`: None one above, 0 the same."""
        self._do(
            "set_remote",
            ip,
            port,
            payload,
            dtmf_payload,
            send=send,
            receive=receive,
            codecs=dict(codecs) if codecs else None,
            noise_payload=noise_payload,
            rtcp_port=rtcp_port,
        )
        self.rate = SPEECH_RATE if (codecs or {9: "G722"}).get(payload) in WIDE else WIRE_RATE

    def set_keys(self, profile: str, own: bytes, peer: bytes) -> None:
        """SRTP from now on: a profile of `host.PROFILES`, master key and salt of each side."""
        self._do("set_keys", profile, own, peer)
        self.profile = profile

    def auto_gain(self, on: bool) -> None:
        """Make a quiet speaker louder for everybody who listens."""
        self._do("auto_gain", on)

    def inband_dtmf(self, on: bool) -> None:
        """Look for keys in the sound; `attach` decides by itself."""
        self._do("inband_dtmf", on)

    def echo(self, on: bool) -> None:
        """Say again what is heard, 1 dB softer."""
        self._do("echo", on)

    def play(
        self,
        clips: Sequence[Clip],
        *,
        token: int,
        loop: bool = False,
        barge_in: bool = False,
        keys_stop: bool = False,
        append: bool = False,
        over: bool = False,
    ) -> None:
        """Play clips in a row, instead of what plays or after it (`append`). `token` names them in events; `over` mixes
        them over the room that the leg is in."""
        self._do(
            "play",
            [clip.handle for clip in clips],
            token,
            loop=loop,
            barge_in=barge_in,
            keys_stop=keys_stop,
            append=append,
            over=over,
        )
        before = self._playing if append else {}
        self._playing = {**before, token: (*before.get(token, ()), *clips)}

    def resume(self) -> None:
        """Go on where speech muted the prompt."""
        self._do("resume")

    def stop(self) -> None:
        """End what plays."""
        self._do("stop_play")

    def listen(self, on: bool) -> None:
        """Arm the gate: from the next speech on (and 400 ms before it) audio comes up until listen is called again."""
        self._do("listen", on)
        self._listening = on

    def read(self) -> bytes:
        """Speech heard since the last read: 16 kHz int16 mono bytes, empty while the caller is silent."""
        self._open()
        return self._engine.read_up(self.handle)

    def write(self, pcm: Pcm) -> int:
        """Live audio to the caller, 8 kHz int16, heard when no prompt plays; gives the samples taken."""
        return int(self._do("write", np.ascontiguousarray(pcm, np.int16)))

    def bridge(self, other: Leg) -> None:
        """Each hears the other; prompts take precedence."""
        other._open()
        if self.room is None or self.room is not other.room:
            room = Room(self._engine)
            room.join(self)
            room.join(other)

    def unbridge(self) -> None:
        """Everybody leaves the room that the leg is in."""
        self._open()
        if self.room is not None:
            self.room.close()

    def send_dtmf(self, digits: str, ms: int = 100) -> None:
        """Send keys, as RFC 4733 events where these were agreed and as tones otherwise."""
        self._do("send_dtmf", digits, ms)

    def record(self, path: Path, prepared: Prepared | None = None) -> None:
        """Record in stereo to `path`, which `prepared` has made already: left what the leg receives, right what it is
        sent. Raises StoreError."""
        self._open()
        self.stop_recording()
        recorder = self._engine.recorder
        self._recording = TapRecording(
            recorder,
            path,
            lambda: self._engine.read_tap(self.handle),
            lambda: int(self.stats()["tap_refused"]),
            prepared,
        )
        self._do("tap", True, *(() if recorder.rate == WIRE_RATE else (recorder.rate,)))

    @property
    def recorded(self) -> bool:
        """Whether a recording runs."""
        return self._recording is not None

    def pause_recording(self) -> None:
        """Silence on both sides of the recording, keys masked, until resume_recording; time goes on."""
        self._do("mask", True)

    def resume_recording(self) -> None:
        self._do("mask", False)

    def blank_recording(self, start_s: float, end_s: float) -> None:
        """Silence a stretch that was recorded already; seconds from the recording's beginning."""
        if self._recording is not None:
            self._recording.blank(start_s, end_s)

    def record_message(self, path: Path) -> None:
        """Write the caller's side from now on to a mono file of its own as well. Raises StoreError, and MediaError
        where nothing is recorded."""
        if self._recording is None:
            raise MediaError("A message needs a recording that it is part of.", read=str(path))
        self._recording.start_message(path)

    def stop_message(self) -> None:
        """Finish the message's file; the recording goes on."""
        if self._recording is not None:
            self._recording.stop_message()

    def stop_recording(self) -> None:
        """Finish the file."""
        if self._recording is not None:
            self._do("tap", False)
            self._recording.close()
            self._recording = None

    def stats(self) -> dict[str, Any]:
        """Packets and octets each way, lost, late, jitter_ms, remote address and more, as the engine counts them."""
        return dict(self._do("stats"))

    def quality(self) -> Quality | None:
        """How good the sound of the peer was so far, None where none came."""
        return quality(self.stats(), self.profile)

    def close(self) -> None:
        """Free the port and finish the recording. A second call does nothing."""
        if self.closed:
            return
        self.stop_recording()
        if self.room is not None:
            self.room.leave(self)
        self._do("close_leg")
        self.closed = True
        self._playing.clear()
        self._engine.forget(self)

    def happened(self, event: MediaEvent) -> None:
        """An event of this leg. An error in who listens is logged and does not reach other legs."""
        if isinstance(event, PromptDone):
            self._playing.pop(event.token, None)
        elif isinstance(event, RingFull) and self._recording is not None:
            self._recording.overflowed()
        self._tell(self.on_event, event)

    def pump(self, drain: bool) -> None:
        """Move waiting audio to `on_audio`, and to the recording when it is time to `drain`."""
        if drain and self._recording is not None:
            self._recording.drain()
        if self.on_audio is not None and self._listening:
            pcm = self._engine.read_up(self.handle)
            if pcm:
                self._tell(self.on_audio, pcm, time.monotonic())

    def _tell(self, listener: Callable[..., None], *what: object) -> None:
        try:
            listener(*what)
        except Exception:
            log.exception("What a leg told was not handled", extra={"fields": {"what": type(what[0]).__name__}})

    def _open(self) -> None:
        if self.closed:
            raise MediaError("This leg is closed.", read=f"port {self.port}")

    def _do(self, command: str, *args: object, **options: object) -> Any:
        self._open()
        return self._engine.do(command, self.handle, *args, **options)
