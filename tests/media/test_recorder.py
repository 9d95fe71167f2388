"""Recordings by real legs; what is on disk after a kill."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gateway.core.errors import StoreError
from gateway.media.engine import MediaEngine
from gateway.media.recorder import Recorder, header, repair
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
import asyncio, sys
from pathlib import Path
from gateway.media.engine import MediaEngine
async def main():
    engine = MediaEngine(max_legs=2)
    await engine.start()
    leg = engine.open_leg("127.0.0.1")
    leg.attach("127.0.0.1", 9, 0)
    leg.record(Path(sys.argv[1]))
    print("recording", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def test_a_recording_is_readable_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "killed.wav"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, cwd=Path.cwd())
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"recording\n"
        for _ in range(1000):
            if path.stat().st_size > 44 + 2.5 * 32000:
                break
            time.sleep(0.01)
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert len(stereo(path)) / 8000 > 1.0, "readable as it was left"
    written = (path.stat().st_size - 44) // 4
    assert repair(path) == written / 8000
    assert len(stereo(path)) == written


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


def test_a_full_disk_says_so() -> None:
    with pytest.raises(StoreError, match="No space left"):
        Recorder().open(Path("/dev/full"))


async def test_a_disk_that_fills_up_costs_that_recording_only(tmp_path: Path) -> None:
    recorder = Recorder()
    long, short = recorder.open(tmp_path / "a.wav"), recorder.open(tmp_path / "b.wav")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, hard))
    try:
        for recording, pieces in ((long, 4), (short, 1)):
            for _ in range(pieces):
                recording.add(bytes(6400))
            recording.close()
        await until(lambda: recorder.failed == 1)
        await asyncio.to_thread(recorder.close)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(stereo(tmp_path / "b.wav")) == 1600
    assert repair(tmp_path / "a.wav") > 0.5


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
