"""Recordings by real legs; what is on disk after a kill."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.core.errors import StoreError
from gateway.media import recorder as module
from gateway.media.engine import MediaEngine
from gateway.media.recorder import FORMATS, HELD_S, Format, Recorder, read_recording, repair
from gateway.media.recording_tap import TapRecording
from gateway.media.recording_wav import WavFile, header
from tests.media.peer import DTMF, Peer, strength, tone, until


def stereo(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (2, 2, 8000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


async def test_left_is_the_caller_and_right_what_the_caller_hears(
    engine: MediaEngine, peers: list[Peer], tmp_path: Path
) -> None:
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", peers[0].port, 0, DTMF)
    leg.record(tmp_path / "calls" / "a.wav")
    leg.play([engine.load(tone(900, 3.0))], token=1)
    await peers[0].speak(leg.port, tone(600, 2.0))
    leg.stop_recording()
    await asyncio.to_thread(engine.recorder.close)
    sound = stereo(tmp_path / "calls" / "a.wav")
    assert 1.7 < len(sound) / 8000 < 2.3
    assert len(sound) % 160 == 0
    middle = sound[4000:12000]
    assert strength(middle[:, 0], 600) > 0.9
    assert strength(middle[:, 1], 900) > 0.9


async def test_a_call_is_recorded_at_16_khz_as_opus(peers: list[Peer], tmp_path: Path) -> None:
    engine = MediaEngine(max_legs=2, recorder=Recorder(".opus", 16000))
    await engine.start()
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", peers[0].port, 0, DTMF)
    leg.record(tmp_path / "a.opus")
    leg.play([engine.load(tone(900, 3.0))], token=1)
    await peers[0].speak(leg.port, tone(600, 1.5))
    await engine.close()
    rate, sound = read_recording(tmp_path / "a.opus")
    assert (rate, sound.shape[1]) == (16000, 2)
    assert 1.2 < len(sound) / rate < 1.8
    for side, hz in ((0, 600), (1, 900)):
        assert strength(sound[8000:20000:2, side], hz) > 0.9


async def test_a_pause_is_silence_and_time_goes_on(engine: MediaEngine, peers: list[Peer], tmp_path: Path) -> None:
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", peers[0].port, 0, DTMF)
    leg.play([engine.load(tone(900, 9.0))], token=1)
    leg.record(tmp_path / "a.wav")
    await peers[0].speak(leg.port, tone(600, 1.0))
    leg.pause_recording()
    await peers[0].speak(leg.port, tone(600, 1.0))
    leg.resume_recording()
    await peers[0].speak(leg.port, tone(600, 1.0))
    leg.close()
    await asyncio.to_thread(engine.recorder.close)
    sound = stereo(tmp_path / "a.wav")
    assert 2.7 < len(sound) / 8000 < 3.4
    loud = np.abs(sound.astype(np.int32)).reshape(-1, 160, 2).max(axis=1) > 500
    for side in (0, 1):
        quiet = np.flatnonzero(~loud[:, side])
        quiet = quiet[(quiet > 20) & (quiet < len(loud) - 20)]
        assert 45 <= len(quiet) <= 56, "one second of the middle is silent"
        assert loud[quiet[-1] + 2 : -20, side].all()


CHILD = """
import asyncio, sys, time
from pathlib import Path
from gateway.media.engine import MediaEngine
from gateway.media.recorder import Recorder
async def main():
    path = Path(sys.argv[1])
    engine = MediaEngine(max_legs=2, recorder=Recorder(path.suffix))
    await engine.start()
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", 9, 0)
    leg.record(path)
    print(time.monotonic(), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("suffix", FORMATS)
def test_kill_9_costs_the_last_second_at_most(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"killed{suffix}"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, cwd=Path.cwd())
    try:
        assert child.stdout is not None
        began = float(child.stdout.readline())
        time.sleep(3.3)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        killed = time.monotonic()
        child.wait()
    rate, left = read_recording(path)
    assert len(left) / rate > killed - began - 1.0
    programs = ["soxi", "-D"] if suffix == ".wav" else ["opusinfo"]
    if peer(programs[0]):
        told = subprocess.run([*programs, str(path)], capture_output=True, text=True)
        assert told.returncode == 0 or suffix == ".opus", "opusinfo misses the mark of the last page"
        seconds = float(told.stdout.split("Playback length: 0m:")[-1].split("s\n")[0])
        assert seconds == pytest.approx(len(left) / rate, abs=0.01), "readable as it was left"
    assert repair(path) == pytest.approx(len(left) / rate, abs=0.03)
    assert len(read_recording(path)[1]) == len(left)


def peer(program: str) -> bool:
    """Whether a program of the tests is there; in CI it must be."""
    found = shutil.which(program) is not None
    assert found or not os.environ.get("CI"), f"{program} is not installed: apt-get install sox opus-tools"
    return found


@given(st.integers(0, 400), st.integers(0, 400))
def test_repair_makes_any_cut_recording_whole(said: int, there: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.wav"
        path.write_bytes((header(said * 4) + bytes(range(256)) * 8)[: 44 + there])
        repair(path)
        assert len(stereo(path)) == there // 4
        assert struct.unpack("<I", path.read_bytes()[4:8])[0] == path.stat().st_size - 8


def test_repair_of_a_file_cut_within_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(header(0)[:20])
    assert repair(path) == 0
    assert len(stereo(path)) == 0


def test_repair_refuses_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"<html>" * 20)
    with pytest.raises(StoreError, match=r"a\.wav"):
        repair(path)
    assert path.read_bytes() == b"<html>" * 20
    with pytest.raises(StoreError):
        repair(tmp_path / "none.wav")


def test_a_recording_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be written"):
        Recorder().open(tmp_path / "file" / "a.wav")
    with pytest.raises(StoreError, match=r"did you mean: \.wav"):
        Recorder().open(tmp_path / "a.wave")


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="No space left"):
        Recorder().open(tmp_path / "a.wav")


async def test_a_disk_that_fills_up_is_silence_until_it_has_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    long, short = recorder.open(tmp_path / "a.wav"), recorder.open(tmp_path / "b.wav")
    loud = np.full((1600, 2), 5000, np.int16).tobytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        for recording, pieces in ((long, 6), (short, 1)):
            for _ in range(pieces):
                recording.add(loud)
        short.close()
        await until(lambda: long.lost == 3 * 1600)
        assert recorder.trouble == "File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    long.add(loud)
    await until(lambda: recorder.trouble is None)
    long.close()
    await asyncio.to_thread(recorder.close)
    assert (recorder.failed, round(recorder.lost_s, 3)) == (1, 0.6)
    assert stereo(tmp_path / "b.wav").all()
    whole = stereo(tmp_path / "a.wav")[:, 1]
    assert len(whole) == 7 * 1600
    assert whole[: (20000 - 44) // 4].all()
    assert not whole[5000 : 6 * 1600].any()
    assert whole[6 * 1600 :].all(), "in its own place"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_what_the_disk_refused_to_the_end_is_told_and_the_rest_is_readable(tmp_path: Path) -> None:
    recorder = Recorder()
    recording = recorder.open(tmp_path / "a.wav")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        for _ in range(8):
            recording.add(np.full((1600, 2), 5000, np.int16).tobytes())
        recording.close()
        recorder.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (recorder.failed, recording.lost) == (1, 5 * 1600)
    assert len(stereo(tmp_path / "a.wav")) == (20000 - 44) // 4


class Disk:
    """Files that can be made to hang: WAV, called .slow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free = threading.Event()
        self.free.set()
        form = FORMATS[".wav"]
        monkeypatch.setattr(module, "FORMATS", {".slow": Format(self.create, form.repair, form.read)})

    def create(self, path: Path, rate: int, channels: int) -> WavFile:
        self.free.wait()
        disk = self

        class Slow(WavFile):
            def append(self, pcm: bytes) -> None:
                disk.free.wait()
                super().append(pcm)

        return Slow(path, rate, channels)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_disk_that_hangs_grows_nothing_and_the_clock_stays_true(
    disk: Disk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(".slow")
    calls = [recorder.open(tmp_path / f"{n}.slow") for n in range(3)]
    second = [np.full((8000, 2), 100 + n, np.int16).tobytes() for n in range(120)]
    for call in calls:
        call.add(second[0])
    disk.free.clear()
    tracemalloc.start()
    try:
        for n in range(1, 100):
            for call in calls:
                call.add(bytes(bytearray(second[n])))  # a copy, as a tap gives
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.1 * 3 * HELD_S * 32000
    assert recorder.trouble == "the disk is too slow"
    with pytest.raises(StoreError, match="the disk does not answer"):
        recorder.open(tmp_path / "late.slow")
    disk.free.set()
    while recorder.trouble:
        time.sleep(0.01)
    for call in calls:
        call.add(second[100])
        call.close()
    recorder.close()
    lost = {call.lost for call in calls}
    assert lost <= {79 * 8000, 80 * 8000}
    assert recorder.failed == 3
    assert recorder.lost_s == sum(call.lost for call in calls) / 8000
    for n in range(3):
        _, sound = read_recording(tmp_path / f"{n}.slow")
        by_second = sound[:, 0].reshape(101, 8000)
        assert (by_second == by_second[:, :1]).all()
        kept = by_second[:100, 0]
        written = int((kept > 0).sum())
        assert list(kept[:written]) == list(range(100, 100 + written))
        assert written >= HELD_S
        assert by_second[100, 0] == 200, "what came after the stall is where it belongs"
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert not (tmp_path / "late.slow").exists(), "nobody records to it"


def test_what_is_silenced_while_the_disk_hangs_is_silenced(disk: Disk, tmp_path: Path) -> None:
    recorder = Recorder(".slow")
    call = recorder.open(tmp_path / "a.slow")
    disk.free.clear()
    for _ in range(30):
        call.add(np.full((8000, 2), 77, np.int16).tobytes())
    call.blank(3.0, 5.0)
    call.blank(8.0, 18.0)
    disk.free.set()
    call.close()
    recorder.close()
    _, sound = read_recording(tmp_path / "a.slow")
    assert set(np.flatnonzero(sound[:, 1].reshape(30, 8000).any(axis=1))) <= {0, 1, 2, 5, 6, 7, 18, 19, 20}
    assert sound[5 * 8000 : 8 * 8000].all()
    assert len(sound) == 30 * 8000


def test_an_hour_grows_nothing(tmp_path: Path) -> None:
    recorder = Recorder()
    call = recorder.open(tmp_path / "hour.wav")
    fifth = np.random.default_rng(1).integers(-9000, 9000, (1600, 2)).astype(np.int16)
    tracemalloc.start()
    try:
        for n in range(5 * 3600):
            if n == 5 * 60:
                before, _ = tracemalloc.get_traced_memory()
                resident = rss()
            call.add(fifth.tobytes())
            while call.held > 64000:
                time.sleep(0.001)
        after, _ = tracemalloc.get_traced_memory()
        grown = rss() - resident
    finally:
        tracemalloc.stop()
    call.close()
    recorder.close()
    assert after - before < 200_000
    assert grown < 4e6
    assert (tmp_path / "hour.wav").stat().st_size == 44 + 3600 * 32000
    assert call.lost == 0


def rss() -> int:
    """Bytes this process holds in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_a_message_holds_the_caller_alone(engine: MediaEngine, peers: list[Peer], tmp_path: Path) -> None:
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", peers[0].port, 0, DTMF)
    leg.record(tmp_path / "a.wav")
    leg.play([engine.load(tone(900, 9.0))], token=1)
    await peers[0].speak(leg.port, tone(600, 0.5))
    leg.record_message(tmp_path / "a.message.wav")
    await peers[0].speak(leg.port, tone(700, 1.0))
    leg.blank_recording(0.9, 1.1)
    leg.stop_message()
    await peers[0].speak(leg.port, tone(800, 0.5))
    leg.close()
    await asyncio.to_thread(engine.recorder.close)
    rate, message = read_recording(tmp_path / "a.message.wav")
    assert (rate, message.shape[1]) == (8000, 1)
    assert 0.8 < len(message) / 8000 < 1.2
    assert strength(message[800:2400, 0], 700) > 0.9
    assert strength(message[:, 0], 900) < 0.01
    rate, whole = read_recording(tmp_path / "a.wav")
    assert whole.shape[1] == 2
    quiet = [np.flatnonzero(~np.abs(x.reshape(-1, 160)).max(axis=1).astype(bool)) for x in (message[:, 0], whole[:, 1])]
    assert [len(q) for q in quiet] == [10, 10 + (quiet[1][0] == 0)], "what is silenced is silenced in both"


def test_what_the_tap_had_no_room_for_is_silence(tmp_path: Path) -> None:
    recorder = Recorder()
    tick = np.full((160, 2), 900, np.int16).tobytes()
    waiting: list[bytes] = []
    refused = 7
    tap = TapRecording(recorder, tmp_path / "a.wav", lambda: waiting.pop() if waiting else b"", lambda: refused)
    waiting += [tick] * 50
    tap.drain()
    tap.start_message(tmp_path / "a.message.wav")
    waiting += [tick] * 10
    refused += 25
    tap.overflowed()
    tap.drain()
    tap.drain()
    waiting += [tick] * 5
    tap.close()
    recorder.close()
    loud = stereo(tmp_path / "a.wav").all(axis=1).reshape(-1, 160).all(axis=1)
    assert loud.tolist() == [True] * 60 + [False] * 25 + [True] * 5
    _, message = read_recording(tmp_path / "a.message.wav")
    assert message.all(axis=1).reshape(-1, 160).all(axis=1).tolist() == loud.tolist()[50:]


def test_a_stretch_already_written_is_silenced_and_the_rest_stays(tmp_path: Path) -> None:
    recorder = Recorder()
    recording = recorder.open(tmp_path / "call.wav")
    loud = np.full((8000, 2), 1000, np.int16)
    recording.add(loud.tobytes())
    recording.blank(0.25, 0.5)
    recording.blank(0.9, 5.0)
    recording.blank(0.5, 0.5)
    recording.add(loud.tobytes())
    recording.close()
    recorder.close()
    with wave.open(str(tmp_path / "call.wav")) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert len(heard) == 16000
    silent = np.flatnonzero(heard[:, 0] == 0)
    assert (silent[0], len(silent), silent[-1]) == (2000, 2000 + 800, 7999)
    assert np.array_equal(heard[:, 0], heard[:, 1])
