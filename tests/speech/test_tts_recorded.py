"""Recordings that are shipped, and what is made from their pieces."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ConfigError, ModelMissing, StoreError
from gateway.flow.check import load
from gateway.flow.templates import fixed_texts
from gateway.speech.tts_pieces import PAUSES, PiecesVoice, split
from gateway.speech.tts_recorded import RecordedVoice, plain, read_index
from gateway.speech.tts_voices import OFFLINE, voices
from gateway.speech.tts_words import spoken

ROOT = Path(__file__).resolve().parents[2] / "ivr_flows" / "recordings"


def write(path: Path, hz: float = 500, seconds: float = 0.5, rate: int = 16000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = 0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat((sound * 32767).astype("<i2"), channels).tobytes())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "zh-CN" / "hello.wav", seconds=0.5)
    write(tmp_path / "zh-CN" / "order.wav", seconds=0.8)
    write(tmp_path / "zh-CN" / "order_end.wav", seconds=1.1)
    (tmp_path / "zh-CN" / "index.tsv").write_text(
        "file\ttext\n# greetings\nhello.wav\t您好。\norder.wav\t您的订单，\norder_end.wav\t您的订单。\n",
        encoding="utf-8",
    )
    return tmp_path


@pytest.mark.parametrize("text", ["您好", "您好。", " 您 好！", "“您好”"])
def test_marks_and_spaces_do_not_matter(root: Path, text: str) -> None:
    assert RecordedVoice(root).render(text, "zh-CN").seconds == pytest.approx(0.5, abs=0.01)


def test_a_sentence_that_goes_on_has_its_own_take(root: Path) -> None:
    voice = RecordedVoice(root)
    assert voice.render("您的订单，", "zh-CN").seconds == pytest.approx(0.8, abs=0.01)
    assert voice.render("您的订单", "zh-CN").seconds == pytest.approx(1.1, abs=0.01)
    assert voice.render("您好，", "zh-CN").seconds == pytest.approx(0.5, abs=0.01), "any take is better than none"


def test_what_was_not_recorded_says_where_to_add_it(root: Path) -> None:
    with pytest.raises(ModelMissing) as caught:
        RecordedVoice(root).render("再见", "zh-CN")
    assert caught.value.read == "再见"
    assert str(root / "zh-CN" / "index.tsv") in str(caught.value.do)


def test_a_new_recording_is_a_new_voice(root: Path) -> None:
    voice = RecordedVoice(root)
    before = voice.voice("zh-CN")
    assert voice.render("您好", "zh-CN").seconds == pytest.approx(0.5, abs=0.01)
    write(root / "zh-CN" / "hello.wav", seconds=0.9)
    os.utime(root / "zh-CN" / "index.tsv", (1, 1))
    assert voice.voice("zh-CN") != before
    assert voice.render("您好", "zh-CN").seconds == pytest.approx(0.9, abs=0.01)


def test_any_rate_and_level_becomes_a_prompt(root: Path) -> None:
    write(root / "zh-CN" / "hello.wav", rate=44100)
    audio = RecordedVoice(root).render("您好", "zh-CN")
    assert (audio.rate, audio.seconds) == (16000, pytest.approx(0.5, abs=0.001))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nothing", "a file name in this folder, a tab, the words"),
        ("a.wav\t", "a tab, the words"),
        ("../a.wav\t您好", "in this folder"),
        ("gone.wav\t再会", "gone.wav"),
    ],
)
def test_a_bad_line_of_the_index_is_shown(root: Path, line: str, says: str) -> None:
    path = root / "zh-CN" / "index.tsv"
    path.write_text(f"file\ttext\n\n{line}\n", encoding="utf-8")
    with pytest.raises(StoreError, match="index") as caught:
        RecordedVoice(root).voice("zh-CN")
    assert f"{path}:3:1" in str(caught.value)
    assert says in str(caught.value)


def test_a_recording_of_another_form_says_how_to_change_it(root: Path) -> None:
    write(root / "zh-CN" / "hello.wav", channels=2)
    with pytest.raises(StoreError, match="2 channels of 16 bits"):
        RecordedVoice(root).render("您好", "zh-CN")
    (root / "zh-CN" / "hello.wav").write_bytes(b"ID3")
    with pytest.raises(StoreError, match=r"hello\.wav"):
        RecordedVoice(root).render("您好", "zh-CN")


def test_pieces_join_longest_first() -> None:
    assert split("二百三十四元", ["二", "二百", "三十", "三十四", "四", "元"]) == [
        ("二百", 10),
        ("三十四", 10),
        ("元", 0),
    ]
    assert split("幺二，三", ["幺", "二", "三"]) == [("幺", 20), ("二", PAUSES["，"]), ("三", 0)]
    with pytest.raises(ModelMissing) as caught:
        split("十二只", ["十二"])
    assert "只 in 十二只" in str(caught.value.read)


@given(
    st.one_of(
        st.builds(lambda d: ("digits", d, ""), st.text("0123456789", min_size=1, max_size=16)),
        st.builds(lambda n: ("number", str(n), ""), st.integers(-(10**9), 10**9)),
        st.builds(lambda n: ("number", f"{n}%", ""), st.decimals(0, 100, places=2)),
        st.builds(lambda n: ("amount", str(n), "yuan"), st.decimals(-(10**6), 10**7, places=2)),
        st.builds(lambda n: ("amount", str(n), "dollars"), st.decimals(0, 10**7, places=2)),
        st.builds(lambda d: ("date", d.isoformat(), ""), st.dates()),
        st.builds(lambda n: ("ordinal", str(n), ""), st.integers(0, 10**4)),
    )
)
def test_every_value_has_its_pieces(value: tuple[str, str, str]) -> None:
    kind, what, currency = value
    words = spoken(kind, what, "zh-CN", currency=currency)
    audio = SHIPPED.render(words, "zh-CN")
    assert 0.1 * len(words) < audio.seconds < 0.9 * len(words) + 1


SHIPPED = PiecesVoice(ROOT)


@pytest.mark.parametrize("folder", [ROOT / "zh-CN", ROOT / "zh-CN" / "pieces"])
def test_shipped_recordings_are_complete(folder: Path) -> None:
    lines = list(read_index(folder))
    assert {file for file, _, _ in lines} == {path.name for path in folder.glob("*.wav")}
    takes = [plain(text) + text[-1:] for _, text, _ in lines]
    assert len(set(takes)) == len(takes)
    for file, _, _ in lines:
        with wave.open(str(folder / file)) as sound:
            assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 16000)
            assert sound.getnframes() > 1600


def test_voices_by_name() -> None:
    assert [voice.name for voice in voices(OFFLINE, ROOT)] == list(OFFLINE)
    with pytest.raises(ConfigError, match="did you mean: piper"):
        voices(["pieper"], ROOT)


@pytest.mark.parametrize("name", ["bank", "shop"])
def test_shipped_flows_speak_mandarin_without_a_network(name: str) -> None:
    recorded = RecordedVoice(ROOT)
    texts = [text for text, language in fixed_texts(load(ROOT.parent / f"{name}.yaml")) if language == "zh-CN"]
    assert len(texts) > 30
    for text in texts:
        assert recorded.render(text, "zh-CN").seconds > 0.2
