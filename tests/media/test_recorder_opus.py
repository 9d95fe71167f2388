"""Recordings as Ogg Opus: what ordinary programs find in them, what is silenced, what a full disk and a kill leave."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
import time
import tracemalloc
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.core.errors import ModelMissing, StoreError
from gateway.media import libopus
from gateway.media.recorder import FORMATS, Recorder, Recording, read_recording, repair
from gateway.media.recording_ogg import LAST, Page, pages
from tests.media.peer import strength


@pytest.fixture(scope="module")
def opus_tools() -> None:
    if not shutil.which("opusdec"):
        said = "opus-tools is not installed: apt-get install opus-tools"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)


def sides(rate: int, seconds: float, left: float = 600, right: float = 1300) -> NDArray[np.int16]:
    time = np.arange(round(rate * seconds)) / rate
    pair = np.stack([np.sin(2 * np.pi * left * time), np.sin(2 * np.pi * right * time)], axis=1)
    return (8000 * pair).astype(np.int16)


def recorded(path: Path, sound: NDArray[np.int16], rate: int) -> Recording:
    """Open and being written; handed over as a tap does, 0.2 s at a time."""
    recording = RECORDERS[rate].open(path, sound.shape[1])
    for at in range(0, len(sound), rate // 5):
        recording.add(sound[at : at + rate // 5].tobytes())
    return recording


RECORDERS = {rate: Recorder(".opus", rate) for rate in (8000, 16000)}


def written(recording: Recording) -> None:
    recording.close()
    RECORDERS[recording.rate].close()


def loud(sound: NDArray[np.int16]) -> list[bool]:
    """For each 20 ms at 8 kHz, whether the left or right sounds."""
    return list(np.abs(sound).reshape(-1, 160 * sound.shape[1]).max(axis=1) > 400)


@pytest.mark.usefixtures("opus_tools")
@pytest.mark.parametrize("rate", [8000, 16000])
def test_opusdec_hears_the_caller_left_and_the_agent_right(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "a.opus"
    written(recorded(path, sides(rate, 3.26), rate))
    subprocess.run(["opusdec", "--quiet", str(path), str(tmp_path / "a.wav")], check=True)
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, rate)
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert len(heard) == round(3.26 * rate)
    for side, own, other in ((0, 600, 1300), (1, 1300, 600)):
        tone = heard[rate:, side][:: rate // 8000]
        assert strength(tone, own) > 0.95
        assert strength(tone, other) < 0.05
    told = subprocess.run(["opusinfo", str(path)], capture_output=True, text=True, check=True).stdout
    assert "hard-CBR" in told
    assert "Playback length: 0m:03.2" in told
    assert "WARNING" not in told


@pytest.mark.parametrize("rate", [8000, 16000])
def test_what_is_read_is_in_time_with_what_was_written(tmp_path: Path, rate: int) -> None:
    noise = np.random.default_rng(2).normal(0, 4000, rate * 2)
    slow = np.convolve(noise, np.hanning(24) / 12, "same").astype(np.int16)
    both = np.stack([slow, np.roll(slow, 50)], axis=1)
    written(recorded(tmp_path / "a.opus", both, rate))
    found, sound = read_recording(tmp_path / "a.opus")
    assert (found, sound.shape) == (rate, both.shape)
    for side in (0, 1):
        lags = range(-20, 21)
        match = [float(np.dot(np.roll(sound[:, side], lag).astype(float), both[:, side])) for lag in lags]
        assert abs(lags[int(np.argmax(match))]) <= 2


@pytest.mark.usefixtures("opus_tools")
def test_a_stretch_already_written_is_silenced_and_the_rest_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    recording = recorded(path, sides(8000, 10.1), 8000)
    while recording.held:
        time.sleep(0.01)
    before = path.read_bytes()
    recording.blank(2.0, 3.5)
    recording.blank(9.9, 11.0)
    recording.add(sides(8000, 1.0).tobytes())
    written(recording)
    _, sound = read_recording(path)
    heard = loud(sound)
    assert len(heard) == 555
    assert heard[1:100] == [True] * 99
    assert not any(heard[101:175])
    assert heard[179:494] == [True] * 315
    assert not any(heard[496:505])
    assert all(heard[509:])
    assert np.abs(sound[101 * 160 : 175 * 160]).max() < 8
    kept = {packet for _, page in pages(before) for packet in page.packets}
    after = [packet for _, page in pages(path.read_bytes()) for packet in page.packets][2:]
    assert not kept.intersection(after[100:175]), "nothing of it is left in the file"
    told = subprocess.run(["opusinfo", str(path)], capture_output=True, text=True, check=True).stdout
    assert "WARNING" not in told


STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 9000)),
    st.tuples(st.just("skip"), st.integers(1, 20000)),
    st.tuples(st.just("blank"), st.integers(0, 30000), st.integers(1, 9000)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=12))
def test_any_order_of_sound_gaps_and_silencing_keeps_its_length_and_its_silence(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.opus"
        file = FORMATS[".opus"].create(path, 8000, 1)
        silent = np.zeros(0, bool)
        for what, at, *length in steps:
            if what == "add":
                file.append(sides(8000, at / 8000)[:, :1].tobytes())
                silent = np.concatenate([silent, np.zeros(at, bool)])
            elif what == "skip":
                file.skip(at)
                silent = np.concatenate([silent, np.ones(at, bool)])
            else:
                file.blank(at, min(at + length[0], len(silent)))
                silent[at : at + length[0]] = True
        file.close()
        rate, sound = read_recording(path)
        assert (rate, len(sound)) == (8000, len(silent))
        ends = [page.flags & LAST for _, page in pages(path.read_bytes())]
        assert [bool(end) for end in ends] == [False] * (len(ends) - 1) + [True]
    for at in range(400, len(silent), 80):
        if silent[at - 400 : at + 240].all():
            assert np.abs(sound[at : at + 80]).max() < 200


def test_a_disk_that_fills_up_is_silence_until_it_has_room(tmp_path: Path) -> None:
    recorder = RECORDERS[8000]
    recording = recorder.open(tmp_path / "a.opus")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10000, hard))
    try:
        recording.add(sides(8000, 6.0).tobytes())
        while not recorder.trouble:
            time.sleep(0.01)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    recording.add(sides(8000, 2.0).tobytes())
    recording.close()
    recorder.close()
    heard = loud(read_recording(tmp_path / "a.opus")[1])
    assert len(heard) == 400
    assert all(heard[1:100])
    assert not any(heard[102:274])
    assert all(heard[305:])
    assert 3.5 <= recording.lost / 8000 <= 4.0


def test_a_cut_file_is_read_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    written(recorded(path, sides(8000, 2.0), 8000))
    whole = path.read_bytes()
    for size in (0, 100, 2500, 5000, len(whole)):
        path.write_bytes(whole[:size])
        seconds = repair(path)
        assert seconds == pytest.approx({0: 0, 100: 0, 2500: 0.5, 5000: 1.0, len(whole): 2.0}[size], abs=0.01)
        if size > 100:
            _, sound = read_recording(path)
            assert len(sound) == round(seconds * 8000)
            assert list(pages(path.read_bytes()))[-1][1].flags == LAST


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.opus").write_bytes(b"<html>" * 20)
    (tmp_path / "b.opus").write_bytes(Page(1, 0, 0, [b"\x80theora" + bytes(50)], 2).octets())
    for name in "ab":
        with pytest.raises(StoreError, match=rf"{name}\.opus"):
            repair(tmp_path / f"{name}.opus")
        with pytest.raises(StoreError, match="can't be read"):
            read_recording(tmp_path / f"{name}.opus")


@given(st.lists(st.binary(max_size=700), max_size=30), st.integers(0, 2**62), st.data())
def test_pages_come_back_and_damage_is_found(packets: list[bytes], granule: int, data: st.DataObject) -> None:
    page = Page(0xDEADBEEF, 7, granule, tuple(packets), LAST)
    octets = page.octets()
    assert [found for _, found in pages(octets + b"Ogg")] == [page]
    at = data.draw(st.integers(0, len(octets) - 1))
    bent = bytearray(octets)
    bent[at] ^= 1 << data.draw(st.integers(0, 7))
    assert list(pages(bytes(bent))) == []


def test_ten_minutes_grow_nothing(tmp_path: Path) -> None:
    recorder = RECORDERS[8000]
    call = recorder.open(tmp_path / "a.opus")
    fifth = sides(8000, 0.2).tobytes()
    tracemalloc.start()
    try:
        for n in range(5 * 600):
            if n == 5 * 30:
                before, _ = tracemalloc.get_traced_memory()
            call.add(fifth)
            while call.held > 64000:
                time.sleep(0.001)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    written(call)
    assert after - before < 100_000
    assert (tmp_path / "a.opus").stat().st_size == pytest.approx(600 * 4104, rel=0.001)


def test_without_libopus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent:
        @staticmethod
        def find(name: str) -> tuple[dict[str, int], str]:
            return {}, "libopus is not installed; apt-get install libopus0."

    monkeypatch.setattr(libopus, "_foreign", Absent)
    libopus.missing.cache_clear()
    try:
        with pytest.raises(ModelMissing, match="libopus is not installed"):
            Recorder(".opus")
    finally:
        libopus.missing.cache_clear()
