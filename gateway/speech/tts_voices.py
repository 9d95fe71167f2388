"""Synthesizers by the name that configuration uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.core.errors import ConfigError, nearest
from gateway.core.ports import Synthesizer
from gateway.speech.tts_edge import EdgeVoice
from gateway.speech.tts_pieces import PiecesVoice
from gateway.speech.tts_piper import PiperVoice
from gateway.speech.tts_recorded import RecordedVoice

VOICES: dict[str, Callable[[Path], Synthesizer]] = {
    "recorded": RecordedVoice,
    "pieces": PiecesVoice,
    "piper": lambda root: PiperVoice(),
    "edge": lambda root: EdgeVoice(),
}
"""Each takes the folder of recordings (ivr_flows/recordings)."""

OFFLINE = ("recorded", "pieces", "piper")
"""What speaks without a network, in the order asked."""


def voices(names: Sequence[str], root: Path) -> list[Synthesizer]:
    """Synthesizers for configured names, in order. Raises ConfigError for a name nobody knows."""
    for name in names:
        if name not in VOICES:
            raise ConfigError("No such voice.", read=name, expected=", ".join(VOICES), near=nearest(name, VOICES))
    return [VOICES[name](root) for name in names]
