"""The natural voices of Microsoft Edge's read-aloud service, through edge-tts (LGPL-3, an extra). Needs a network."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from collections.abc import Mapping

import numpy as np

from gateway.core.audio import Audio
from gateway.core.errors import ModelMissing, TrunklineError
from gateway.speech.tts_shape import Wave, finish

VOICES = {"en-US": "en-US-AriaNeural", "en-GB": "en-GB-SoniaNeural", "zh-CN": "zh-CN-XiaoxiaoNeural"}

CUT_OFF_S = 0.2
"""Sound that ends this much before the service says its last sentence does was cut off."""

_OFFLINE = "check the network, or list an offline voice after it"


class EdgeVoice:
    """A Synthesizer over the network; used to render prompts when a flow is loaded, never while a caller waits.

    After a failure to connect, texts fail at once for `rest_s` seconds, so that a gateway without a network starts
    quickly with its other voices. `voices` maps language tags to the service's voice names.
    """

    name = "edge"
    live = False

    def __init__(
        self, voices: Mapping[str, str] = VOICES, *, connect_s: int = 5, read_s: int = 20, rest_s: float = 60.0
    ) -> None:
        self.voices = dict(voices)
        self._connect_s = connect_s
        self._read_s = read_s
        self._rest_s = rest_s
        self._rest_until = 0.0
        self._why_resting = ""
        self._lock = threading.Lock()

    def voice(self, language: str) -> str | None:
        return self.voices.get(language)

    def render(self, text: str, language: str) -> Audio:
        """16 kHz speech. Raises ModelMissing (not installed, language, no network) or TrunklineError (refused)."""
        voice = self.voice(language)
        if voice is None:
            raise ModelMissing(
                "The edge voice has no voice for this language.", read=language, expected=", ".join(self.voices)
            )
        for package in ("edge_tts", "miniaudio"):
            if importlib.util.find_spec(package) is None:
                raise ModelMissing(f"The edge voice needs {package}.", do="pip install 'trunkline[edge]'")
        with self._lock:
            if time.monotonic() < self._rest_until:
                raise ModelMissing(self._why_resting, do=_OFFLINE)
        mp3, spoken, until_s = asyncio.run(self._fetch(text, voice))
        wave, rate = decode(mp3, text)
        if spoken and (letters(spoken) < 0.8 * letters(text) or len(wave) / rate < until_s - CUT_OFF_S):
            raise TrunklineError(
                "The edge voice was cut off in the middle of a text.", read=text, do="load the flow again"
            )
        return finish(wave, rate)

    async def _fetch(self, text: str, voice: str) -> tuple[bytes, str, float]:
        """The service's MP3 bytes, the sentences it says it spoke, and the seconds at which the last ends."""
        import aiohttp
        import edge_tts
        from edge_tts import exceptions

        speech = edge_tts.Communicate(text, voice, connect_timeout=self._connect_s, receive_timeout=self._read_s)
        try:
            async with asyncio.timeout(self._connect_s + self._read_s):
                mp3, spoken, until_s = b"", "", 0.0
                async for part in speech.stream():
                    if part["type"] == "audio":
                        mp3 += part["data"]
                    else:
                        spoken += part["text"]
                        until_s = (part["offset"] + part["duration"]) / 1e7
                return mp3, spoken, until_s
        except aiohttp.ClientResponseError as error:
            raise self._unreachable(f"The edge voice service refused the connection (HTTP {error.status}).") from None
        except TimeoutError:
            raise self._unreachable("The edge voice service did not answer in time.") from None
        except (aiohttp.ClientError, OSError):
            raise self._unreachable("The edge voice service can't be reached.") from None
        except exceptions.NoAudioReceived:
            raise TrunklineError(
                "The edge voice gave no sound for a text.", read=text, do="reword the prompt"
            ) from None
        except (exceptions.EdgeTTSException, ValueError, KeyError) as error:
            raise TrunklineError(
                "The edge voice service answered in a way that is not understood.",
                read=f"{type(error).__name__}: {error}",
                do="pip install --upgrade edge-tts, or list an offline voice after it",
            ) from None

    def _unreachable(self, why: str) -> ModelMissing:
        with self._lock:
            self._rest_until = time.monotonic() + self._rest_s
            self._why_resting = why
        return ModelMissing(why, do=_OFFLINE)


def letters(text: str) -> int:
    """Letters, figures and characters of a text."""
    return sum(c.isalnum() for c in text)


def decode(mp3: bytes, text: str) -> tuple[Wave, int]:
    """MP3 as mono sound and its rate, by miniaudio (MIT). Raises TrunklineError when it isn't MP3 or is silent."""
    import miniaudio

    try:
        about = miniaudio.mp3_get_info(mp3)
        sound = miniaudio.mp3_read_f32(mp3)
    except miniaudio.MiniaudioError as error:
        raise TrunklineError("The edge voice's sound can't be decoded.", read=f"{text} ({error})") from None
    wave = np.frombuffer(sound.samples, dtype=np.float32).astype(np.float64)
    wave = wave.reshape(-1, about.nchannels).mean(axis=1)
    if not len(wave) or not np.abs(wave).max() > 1e-3:
        raise TrunklineError("The edge voice gave no sound for a text.", read=text, do="reword the prompt")
    return wave, int(about.sample_rate)
