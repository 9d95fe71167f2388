"""The English voice's process: what happens when it dies, hangs or talks nonsense."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.core.errors import ModelMissing, TrunklineError
from gateway.speech.tts_piper import PiperVoice

pytestmark = pytest.mark.model


@pytest.fixture
def joe() -> Iterator[PiperVoice]:
    voice = PiperVoice()
    yield voice
    voice.close()


def gone(pid: int) -> bool:
    for _ in range(500):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_a_killed_process_is_replaced_and_the_text_is_spoken(joe: PiperVoice) -> None:
    joe.warm()
    first = joe.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert joe.render("Still here.", "en-US").seconds > 0.4
    assert joe.pid not in (None, first)
    assert joe.restarts == 1


def test_a_stopped_process_counts_as_hung(joe: PiperVoice) -> None:
    joe.warm()
    joe._timeout_s = 1.0
    first = joe.pid
    assert first is not None
    os.kill(first, signal.SIGSTOP)
    assert joe.render("Good.", "en-US").seconds > 0.2
    assert joe.restarts == 1
    assert gone(first)


def test_the_process_ends_with_its_voice_and_with_its_parent(joe: PiperVoice) -> None:
    joe.warm()
    assert joe.pid is not None
    pid = joe.pid
    joe.close()
    assert gone(pid)
    code = (
        "import sys, time\n"
        "from gateway.speech.tts_piper import PiperVoice\n"
        "voice = PiperVoice(); voice.warm(); print(voice.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    assert gone(child)


def test_no_gpl_module_is_loaded_here(joe: PiperVoice) -> None:
    joe.render("Hello.", "en-US")
    assert not [name for name in sys.modules if name == "piper" or name.startswith("piper.")]


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ("raise SystemExit('no model')", "no model"),
        ("print('{\"ready\": true}', flush=True); raise SystemExit('gave up')", "gave up|died"),
        ("print('hello', flush=True); input()", "not its protocol"),
        ("import time; time.sleep(60)", "no answer within"),
        ('print(\'{"ready": true}\', flush=True); input(); print(\'{"error": "bad word"}\', flush=True)', "bad word"),
        ('print(\'{"ready": true}\', flush=True); input(); print(\'{"samples": 0, "rate": 8000}\')', "no sound"),
    ],
)
def test_a_broken_program_is_an_error_and_not_a_hang(program: str, says: str) -> None:
    voice = PiperVoice(start_s=1.0, timeout_s=1.0, command=[sys.executable, "-c", program])
    with pytest.raises(TrunklineError, match=says) as caught:
        voice.render("Hello.", "en-US")
    assert caught.value.read == "Hello."
    voice.close()


def test_a_voice_that_is_not_installed_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelMissing, match="piper-tts") as caught:
        PiperVoice().render("Hello.", "en-US")
    assert "pip install" in str(caught.value.do)


def test_odd_texts_do_not_break_it(joe: PiperVoice) -> None:
    for text in ("50% of £3 & more…", "line\nbreak", 'he said "no"', "naïve café", "a" * 300):
        assert joe.render(text, "en-US").seconds > 0.3
    with pytest.raises(TrunklineError):
        joe.render("。。。", "en-US")
    assert joe.render("Fine.", "en-US").seconds > 0.2
    assert joe.restarts == 0
