"""What the generator sends, and what the judge makes of what comes back."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import peer_rtpengine
from bench.generate import codecs, judge, packets, speech
from native import kernels


@pytest.mark.parametrize(
    ("name", "known"), [("PCMU", {0x00: -32124, 0x80: 32124, 0xFF: 0}), ("PCMA", {0xD5: 8, 0x2A: -32256})]
)
def test_g711_has_the_standards_values_and_takes_the_nearest(name: str, known: dict[int, int]) -> None:
    values = codecs.g711_values(name)
    assert {code: int(values[code]) for code in known} == known
    pcm = np.arange(-32768, 32768, 7).astype(np.int16)
    off = np.abs(codecs.decode(name, codecs.encode(name, pcm[: len(pcm) // 160 * 160])).astype(int) - pcm[:9280])
    best = np.abs(values.astype(int)[None, :] - pcm[:9280, None].astype(int)).min(axis=1)
    assert (off == best).all()


@pytest.mark.usefixtures("spoken")
def test_two_fifths_of_a_loop_are_speech_and_its_keys_lie_in_pauses() -> None:
    for number in range(5):
        loop = speech.loop_of(number)
        loud = speech.loudness(loop.pcm) > -50
        assert 0.3 < loud.mean() <= 0.4
        assert not any(loud[at : at + speech.EVENT + speech.ENDS].any() for at, _ in loop.keys)
        assert all(at + speech.EVENT + speech.ENDS <= speech.LOOP for at, _ in loop.keys)
    assert speech.loop_of(1).digits != speech.loop_of(2).digits


@pytest.mark.usefixtures("spoken")
def test_packets_are_rtp_that_the_engine_reads_and_keys_end_three_times() -> None:
    table = packets.build(speech.LOOP + 10)
    row = [table.octets[3, t, : table.sizes[3, t]].tobytes() for t in range(speech.LOOP + 10)]
    parsed = [kernels.parse_rtp(p) for p in row]
    assert all(parsed)
    seqs = np.array([p[2] for p in parsed])
    assert (np.diff(seqs) % 65536 == 1).all()
    keys = [(p[1], p[3], row[k][p[5] :]) for k, p in enumerate(parsed) if p[0] == speech.EVENT_PAYLOAD]
    pressed = [data for marker, _, data in keys if marker]
    assert "".join(speech.DIGITS[data[0]] for data in pressed) == table.loops[3].digits
    assert sum(data[1] >> 7 for _, _, data in keys) == 3 * speech.ENDS
    assert len({stamp for _, stamp, _ in keys}) == 3


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("profile", packets.PROFILES)
def test_protected_packets_open_with_the_same_keys(profile: str) -> None:
    pytest.importorskip("pylibsrtp", reason="pylibsrtp is not installed: pip install pylibsrtp")
    keys = packets.keys_of(profile)
    plain, sealed = packets.build(8), packets.build(8, keys=keys)
    opened = packets.srtp(keys.profile, keys.sent, inbound=True)
    for tick in range(8):
        packet = opened.unprotect(sealed.octets[2, tick, : sealed.sizes[2, tick]].tobytes())
        assert packet == plain.octets[2, tick, : plain.sizes[2, tick]].tobytes()


# --- the judge ----------------------------------------------------------------------------------------------------

Row = tuple[int, int, int, bytes]
"""Stream, tick, arrival (ns since the first packet), packet."""


def replies_of(
    folder: Path, rows: list[Row], streams: int, seconds: float, codec: str = "PCMU", srtp: str = ""
) -> judge.Replies:
    """As if a generator had written it: port 1000 + k is stream k."""
    order = {"ports": [1000 + k for k in range(streams)], "seconds": seconds, "codec": codec, "srtp": srtp}
    width = max(len(packet) for *_, packet in rows)
    octets = np.array([list(packet.ljust(width, b"\0")) for *_, packet in rows], np.uint8)
    np.savez(
        folder / "replies.npz",
        heads=octets[:, :16],
        ports=np.array([1000 + stream for stream, *_ in rows], np.uint16),
        times=np.array([at for _, _, at, _ in rows]) + 7_000_000_000,
        sizes=np.array([len(packet) for *_, packet in rows], np.uint16),
        kept=np.arange(len(rows)),
        octets=octets,
        began=5_000_000_000,
        apart=2_000_000_000,
        order=json.dumps(order),
    )
    return judge.Replies(folder / "replies.npz")


def echoed(
    streams: int, ticks: int, delay_ns: int, change: Callable[[int, int], int] = lambda stream, tick: 0
) -> list[Row]:
    """Each packet back `delay_ns` later, and `change` more, on its stream's own grid."""
    table = packets.build(ticks)
    return [
        (
            k,
            tick,
            tick * judge.TICK + k * 1_000_000 + delay_ns + change(k, tick),
            table.octets[k, tick, : table.sizes[k, tick]].tobytes(),
        )
        for tick in range(ticks)
        for k in range(streams)
    ]


@pytest.mark.usefixtures("spoken")
def test_loss_duplicates_and_disorder_are_told_apart(tmp_path: Path) -> None:
    rows = echoed(3, 200, 30_000_000)
    del rows[3 * 50 + 1], rows[3 * 100]
    rows.insert(3 * 120, rows[3 * 120 + 2])
    rows[3 * 150], rows[3 * 151] = rows[3 * 151], rows[3 * 150]
    found = replies_of(tmp_path, rows, 3, 4.0).order_of(0, 5)
    assert found == {"packets": 599, "streams": 3, "lost": 2, "duplicate": 1, "disorder": 1, "ssrc_changed": 0}


@pytest.mark.usefixtures("spoken")
def test_lateness_is_against_each_streams_own_grid(tmp_path: Path) -> None:
    rows = echoed(2, 100, 12_345_678, lambda stream, tick: 3_000_000 if (stream, tick) == (1, 40) else 0)
    late = replies_of(tmp_path, rows, 2, 2.0).lateness(0, 5)
    assert late.max() == pytest.approx(3.0)
    assert (late > 1e-6).sum() == 1


@pytest.mark.usefixtures("spoken")
def test_the_audio_is_known_by_its_delay_level_and_shape(tmp_path: Path) -> None:
    rows = echoed(2, speech.LOOP, 55_000_000)
    replies = replies_of(tmp_path, rows, 2, 10.0)
    loops = packets.loops()
    same = judge.verdict(judge.audio_of(replies, 1, judge.Heard(((1, 0.0),)), loops, 0, 12))
    assert same["alike"] > 0.99
    assert same["gain_off_db"] == pytest.approx(0, abs=0.1)
    assert same["delay_ms"] == pytest.approx(55, abs=0.2)
    other = judge.verdict(judge.audio_of(replies, 1, judge.Heard(((0, 0.0),)), loops, 0, 12))
    assert other["alike"] < 0.5
    louder = judge.verdict(judge.audio_of(replies, 1, judge.Heard(((1, -1.0),)), loops, 0, 12))
    assert louder["gain_off_db"] == pytest.approx(1, abs=0.1)


@pytest.mark.usefixtures("spoken")
def test_a_conference_is_known_by_each_member_and_by_the_sum() -> None:
    loops = packets.loops()
    parts = [np.roll(loops[k].pcm.astype(float), 8 * delay) for k, delay in ((0, 40), (1, 75), (2, 120))]
    members = [(loops[k].pcm, 0, 0.0) for k in range(3)]
    rows = []
    for mix in (sum(parts), parts[0] + 0.5 * parts[1] + parts[2]):
        whole = np.clip(np.round(mix), -32768, 32767).astype(np.int16)
        found = [judge.mixed(whole[at : at + 8000], at * 125_000, members) for at in range(8000, 72000, 4000)]
        rows.append([row for window in found for row in window])
    assert {round(row["delay_ms"]) for row in rows[0]} == {40, 75, 120}
    assert judge.verdict(rows[0])["alike"] > 0.99
    soft = [row["gain_db"] for row in rows[1] if round(row["delay_ms"]) == 75]
    assert np.median(soft) == pytest.approx(-6, abs=0.5)


@pytest.mark.usefixtures("spoken")
@pytest.mark.parametrize("codec", ["G722", "opus"])
def test_audio_of_other_codecs_is_known_too(tmp_path: Path, codec: str) -> None:
    if importlib.util.find_spec("av") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("PyAV is not installed: pip install 'aiortc==1.16.*'")
    table = packets.build(speech.LOOP, codec)
    rows = [
        (0, tick, tick * judge.TICK + 30_000_000, table.octets[0, tick, : table.sizes[0, tick]].tobytes())
        for tick in range(speech.LOOP)
    ]
    replies = replies_of(tmp_path, rows, 1, 10.0, codec=codec)
    found = judge.verdict(judge.audio_of(replies, 0, judge.Heard(((0, 0.0),)), packets.loops(), 0, 12))
    assert found["alike"] > 0.9
    assert found["gain_off_db"] == pytest.approx(0, abs=0.8)
    assert found["delay_ms"] == pytest.approx(33, abs=5)


@pytest.mark.usefixtures("spoken")
def test_sealed_audio_is_opened_with_the_other_ways_key(tmp_path: Path) -> None:
    profile = "AES_CM_128_HMAC_SHA1_80"
    seal = packets.srtp(profile, packets.keys_of(profile).heard, inbound=False)
    rows = [(k, tick, at, seal.protect(packet)) for k, tick, at, packet in echoed(1, speech.LOOP, 30_000_000)]
    replies = replies_of(tmp_path, rows, 1, 10.0, srtp=profile)
    found = judge.verdict(judge.audio_of(replies, 0, judge.Heard(((0, 0.0),)), packets.loops(), 0, 12))
    assert found["alike"] > 0.99


@pytest.mark.usefixtures("spoken")
def test_keys_that_come_through_are_read_from_the_wire(tmp_path: Path) -> None:
    replies = replies_of(tmp_path, echoed(2, speech.LOOP, 1_000_000), 2, 10.0)
    loops = packets.loops()
    assert replies.keys() == {0: loops[0].digits, 1: loops[1].digits}
    found = judge.digits_right(replies.order, loops, {0: loops[0].digits, 1: loops[1].digits[:-1]}, [0, 1])
    assert (found["right"], found["n"]) == (5, 6)


@pytest.mark.usefixtures("spoken")
def test_sentences_count_where_the_peer_told_of_them_in_time() -> None:
    order = {"ports": [1, 2], "seconds": 10.0}
    loops = packets.loops()
    first, second = (at * judge.TICK for at in loops[0].spurts)
    told = {0: [first + 90_000_000, second + 1_500_000_000], 1: [judge.TICK * (loops[1].spurts[0] + 180)]}
    found = judge.spurts_heard(order, loops, 0, told, [0, 1])
    assert (found["right"], found["n"], found["elsewhere"]) == (1, 4, 1)


@pytest.mark.parametrize(
    ("wanted", "got", "right"),
    [("123", "123", 3), ("123", "13", 2), ("123", "1223", 2), ("12", "", 0), ("12", "21", 1)],
)
def test_a_digit_too_many_costs_as_much_as_one_missing(wanted: str, got: str, right: int) -> None:
    assert judge.common(wanted, got) == right


@given(st.recursive(st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_bencode_comes_back(value: object) -> None:
    data = peer_rtpengine.encoded(value)
    assert peer_rtpengine.decoded(data) == (value, len(data))
