"""G.711, RTP and the time line of what was heard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import MediaError
from gateway.lab import wire
from gateway.lab.sounds import tone


@pytest.mark.parametrize(
    ("payload", "code", "sample"),
    [
        (wire.PCMU, 0x00, -32124),
        (wire.PCMU, 0xFF, 0),
        (wire.PCMU, 0x80, 32124),
        (wire.PCMU, 0xF0, 120),
        (wire.PCMA, 0x55, -8),
        (wire.PCMA, 0xD5, 8),
        (wire.PCMA, 0xAA, 32256),
        (wire.PCMA, 0x2A, -32256),
    ],
)
def test_g711_codes_stand_for_the_recommendations_values(payload: int, code: int, sample: int) -> None:
    assert wire.decode(bytes([code]), payload)[0] == sample


@pytest.mark.parametrize("payload", [wire.PCMU, wire.PCMA])
def test_g711_takes_the_nearest_value(payload: int) -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    back = wire.decode(wire.encode(samples, payload), payload).astype(int)
    nearest = np.sort(wire.DECODE[payload].astype(int))
    place = np.clip(np.searchsorted(nearest, samples), 1, 255)
    best = np.minimum(np.abs(nearest[place - 1] - samples), np.abs(nearest[place] - samples))
    assert np.array_equal(np.abs(back - samples), best)


@given(
    st.integers(0, 127),
    st.integers(0, 65535),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=200),
    st.booleans(),
)
def test_a_packet_comes_back_as_it_was_packed(
    payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, marker: bool
) -> None:
    packet = wire.parse(wire.pack(payload_type, sequence, timestamp, ssrc, payload, marker), 1.0)
    assert packet == wire.Packet(1.0, payload_type, marker, sequence, timestamp, ssrc, payload)


@given(st.binary(max_size=40))
def test_anything_is_a_packet_or_counted_as_garbage(datagram: bytes) -> None:
    track = wire.Track()
    packet = track.take(datagram, 0.0)
    assert (packet is None) == (track.garbage == 1)
    track.sound()


def test_extension_csrc_and_padding_are_stepped_over() -> None:
    head = bytes([0x80 | 0x20 | 0x10 | 1, 0]) + bytes(10) + bytes(4) + b"\xbe\xde\x00\x01" + bytes(4)
    packet = wire.parse(head + b"voice" + b"\x00\x00\x03", 0.0)
    assert packet is not None
    assert packet.payload == b"voice"


def heard(frames: list[tuple[float, int, int, int]]) -> wire.Track:
    """A track of 20 ms packets (arrival, sequence, timestamp, ssrc), each full of its sequence number times 100."""
    track = wire.Track()
    for at, sequence, timestamp, ssrc in frames:
        sound = np.full(160, (sequence % 100) * 100 + 1000, np.int16)
        track.take(wire.pack(0, sequence, timestamp, ssrc, wire.encode(sound)), at)
    return track


def test_late_and_disordered_packets_land_where_their_timestamps_say() -> None:
    track = heard([(10.0, 1, 0, 7), (10.05, 3, 320, 7), (10.06, 2, 160, 7), (10.061, 4, 480, 7)])
    sound = track.sound()
    assert len(sound) == 640
    assert np.all(np.diff(sound[80::160].astype(int)) > 0)
    assert track.lost == 0


def test_what_never_came_is_silence_and_counted() -> None:
    track = heard([(1.0, 65535, 2**32 - 160, 7), (1.04, 1, 160, 7)])
    sound = track.sound()
    assert track.lost == 1
    assert (len(sound), abs(sound[160:320]).max()) == (480, 0)


def test_a_jump_of_timestamps_or_a_new_source_follows_the_arrival() -> None:
    jumped = heard([(1.0, 1, 0, 7), (1.02, 2, 2_000_000_000, 7), (1.04, 3, 2_000_000_160, 7)])
    assert len(jumped.sound()) == 480
    moved = heard([(1.0, 1, 0, 7), (2.0, 500, 9999, 8)])
    assert len(moved.sound()) == 8160


def test_a_key_is_counted_once_whatever_its_packets() -> None:
    track = wire.Track()
    for sequence, (digit, timestamp, samples, over) in enumerate(
        [("4", 0, 160, False), ("4", 0, 320, True), ("4", 0, 320, True), ("4", 800, 160, True), ("#", 1600, 160, False)]
    ):
        track.take(wire.pack(101, sequence, timestamp, 7, wire.key_event(digit, samples, over)), 0.0)
    assert track.keys == "44#"


def test_16_khz_is_brought_to_8_without_images(tmp_path: Path) -> None:
    time = np.arange(16000) / 16000
    for hertz, wanted in ((1000, -13.0), (3000, -13.0), (5000, -80.0)):
        wire.write_wav(tmp_path / "in.wav", (np.sin(2 * np.pi * hertz * time) * 10367).astype(np.int16), 16000)
        got = wire.level(wire.read_wav(tmp_path / "in.wav")[200:-200])
        assert got == pytest.approx(wanted, abs=0.2) if wanted > -20 else got < wanted


def test_wrong_files_are_named_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="There is no file"):
        wire.read_wav(tmp_path / "none.wav")
    with pytest.raises(MediaError, match="can't be read"):
        wire.read_wav(tmp_path)
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(MediaError, match="mono 16-bit WAV at 8000 or 16000"):
        wire.read_wav(tmp_path / "text.wav")
    wire.write_wav(tmp_path / "stereo.wav", np.stack([tone(440, 0.1)] * 2, axis=1))
    with pytest.raises(MediaError, match="2 channels of 16 bits at 8000"):
        wire.read_wav(tmp_path / "stereo.wav")
