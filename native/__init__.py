"""Trunkline's media engine: RTP legs on a native thread without the GIL, and its kernels."""

from native.engine import Engine, EngineError

SPEECH_STARTED = 1
SPEECH_ENDED = 2
KEY = 3
PROMPT_STARTED = 4
PROMPT_MUTED = 5
PROMPT_DONE = 6
RTP_LATCHED = 7
RTP_LOST = 8
RTP_BACK = 9
RING_FULL = 10

__all__ = [
    "KEY",
    "PROMPT_DONE",
    "PROMPT_MUTED",
    "PROMPT_STARTED",
    "RING_FULL",
    "RTP_BACK",
    "RTP_LATCHED",
    "RTP_LOST",
    "SPEECH_ENDED",
    "SPEECH_STARTED",
    "Engine",
    "EngineError",
]
