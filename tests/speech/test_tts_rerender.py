"""Replacing every recording of a language by another voice's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import Findings, ModelMissing
from gateway.speech.tts_recorded import INDEX, RecordedVoice, read_index
from gateway.speech.tts_rerender import add, rerender
from tests.speech.readaloud import read_aloud
from tests.speech.test_tts_contract import Whistle
from tests.speech.test_tts_recorded import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "en-US"
    write(folder / "a.wav")
    write(folder / "b.wav")
    (folder / INDEX).write_text("file\ttext\na.wav\tHello.\nb.wav\tGood bye for now.\n")
    return folder


def test_every_recording_is_replaced(folder: Path) -> None:
    told: list[tuple[int, int, str]] = []
    voice = RecordedVoice(folder.parent)
    before = voice.voice("en-US")
    os.utime(folder / INDEX, (1, 1))
    assert rerender(folder, "en-US", Whistle(), lambda *step: told.append(step)) == 2
    assert told == [(1, 2, "Hello."), (2, 2, "Good bye for now.")]
    assert voice.voice("en-US") != before
    assert voice.render("Good bye for now", "en-US").seconds == pytest.approx(1.7, abs=0.1)


class Choosy(Whistle):
    def render(self, text: str, language: str):  # type: ignore[no-untyped-def]
        if "bye" in text:
            raise ModelMissing("It never says good bye.", read=text)
        return super().render(text, language)


def test_nothing_is_replaced_unless_all_can_be(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(Findings, match="never says good bye"):
        rerender(folder, "en-US", Choosy())
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ModelMissing, match="does not speak"):
        rerender(folder, "zh-CN", Whistle())


def test_texts_are_added_once(folder: Path) -> None:
    assert add(folder, ["hello", "New words.", "", "new words"]) == 1
    assert [text for _, text, _ in read_index(folder)] == ["Hello.", "Good bye for now.", "New words."]
    rerender(folder, "en-US", Whistle())
    assert RecordedVoice(folder.parent).render("New words.", "en-US").seconds > 0.5


COMMAND = (
    "import sys, edge_tts.communicate as c; c.WSS_URL = sys.argv.pop(1)\n"
    "from gateway.speech.tts_rerender import main; sys.exit(main(sys.argv[1:]))"
)


def test_one_command_does_it_all_through_the_edge_voice(folder: Path) -> None:
    (folder / "pieces").mkdir()
    write(folder / "pieces" / "one.wav")
    (folder / "pieces" / INDEX).write_text("one.wav\tone\n")
    with read_aloud() as (server, address):
        command = [sys.executable, "-c", COMMAND, address, "--language", "en-US", "--root", str(folder.parent)]
        done = subprocess.run([*command, "--voice", "edge"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "3 recordings" in done.stdout
        assert len(server.asked) == 3
        refused = subprocess.run([*command, "--voice", "pieces"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "can't make them" in refused.stderr
    assert "Traceback" not in refused.stderr
