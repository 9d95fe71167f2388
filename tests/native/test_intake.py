"""Packets into decode order, against the twin and by the cases that streams bring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import codec, intake
from native.twins.intake import IntakeQueue as Twin

FRAME = 320


def packets_of(name: str, count: int, seed: int = 1) -> list[bytes]:
    encoder, rng = codec.Encoder(name), np.random.default_rng(seed)
    t = np.arange(count * FRAME)
    pcm = np.round(7000 * np.sin(0.11 * t) * (1 + np.sin(0.0007 * t)) + rng.normal(0, 200, len(t))).astype(np.int16)
    return [encoder.encode(pcm[k : k + FRAME]) for k in range(0, len(pcm), FRAME)]


def in_order(name: str, packets: list[bytes]) -> np.ndarray:
    decoder = codec.Decoder(name)
    return np.concatenate([decoder.decode(p) for p in packets])


def drain(queue: intake.IntakeQueue, force: bool = False) -> list[tuple[int, bool, np.ndarray]]:
    out = []
    while (found := queue.next(force)) is not None:
        out.append(found)
    return out


@pytest.mark.parametrize("name", ["G722", "opus"])
def test_a_shuffled_stream_decodes_as_an_ordered_one(name: str) -> None:
    packets, rng = packets_of(name, 200), np.random.default_rng(4)
    queue, heard = intake.IntakeQueue(), []
    order = sorted(range(1, 200), key=lambda k: k + rng.uniform(0, 8))
    for k in [0, *order]:
        assert queue.put(65530 + k, k * FRAME, name, packets[k], marker=k == 0)
        heard += drain(queue)
    assert [stamp for stamp, _, _ in heard] == [k * FRAME for k in range(200)]
    assert [marker for _, marker, _ in heard] == [True] + 199 * [False]
    assert np.array_equal(np.concatenate([pcm for _, _, pcm in heard]), in_order(name, packets))
    assert (queue.garbage, queue.recovered) == (0, 0)


def test_a_gap_waits_until_it_is_forced() -> None:
    packets, queue = packets_of("G722", 5), intake.IntakeQueue()
    queue.put(0, 0, "G722", packets[0])
    assert len(drain(queue)) == 1
    for k in (2, 3, 4):
        queue.put(k, k * FRAME, "G722", packets[k])
    assert drain(queue) == []
    assert queue.next(force=True)[0] == 2 * FRAME
    assert [stamp for stamp, _, _ in drain(queue)] == [3 * FRAME, 4 * FRAME]
    assert not queue.put(1, FRAME, "G722", packets[1])  # too late now
    assert queue.next(force=True) is None


def test_nothing_is_forced_where_nothing_is_held() -> None:
    queue = intake.IntakeQueue()
    assert queue.next(force=True) is None
    queue.put(9, 0, "opus", packets_of("opus", 1)[0])
    assert len(drain(queue)) == 1
    assert queue.next(force=True) is None
    assert queue.put(10, FRAME, "opus", packets_of("opus", 2)[1])
    assert queue.recovered == 0


def test_g722_keeps_its_state_over_a_gap() -> None:
    packets, queue, decoder = packets_of("G722", 4), intake.IntakeQueue(), codec.Decoder("G722")
    for k in (0, 1, 3):
        queue.put(k, k * FRAME, "G722", packets[k])
    heard = drain(queue, force=True)
    for (_, _, pcm), k in zip(heard, (0, 1, 3), strict=True):
        assert np.array_equal(pcm, decoder.decode(packets[k]))


@pytest.mark.parametrize("lost", [1, 2, 5, 6])
def test_opus_fills_a_gap_by_concealment_and_fec(lost: int) -> None:
    packets, queue, decoder = packets_of("opus", 20), intake.IntakeQueue(), codec.Decoder("opus")
    keep = [k for k in range(20) if not 8 <= k < 8 + lost]
    for k in keep[:8]:
        queue.put(k, k * FRAME, "opus", packets[k])
        decoder.decode(packets[k])
    assert len(drain(queue)) == 8
    queue.put(8 + lost, (8 + lost) * FRAME, "opus", packets[8 + lost])
    assert drain(queue) == []
    (stamp, marker, made), (following, _, pcm) = drain(queue, force=True)
    assert (stamp, marker, following) == (8 * FRAME, False, (8 + lost) * FRAME)
    assert np.array_equal(made, decoder.missing(lost * FRAME, packets[8 + lost]))
    assert np.array_equal(pcm, decoder.decode(packets[8 + lost]))
    assert queue.recovered == lost * FRAME


def test_of_a_gap_too_long_to_make_up_the_last_packet_is_recovered() -> None:
    packets, queue = packets_of("opus", 30), intake.IntakeQueue()
    queue.put(0, 0, "opus", packets[0])
    drain(queue)
    queue.put(12, 12 * FRAME, "opus", packets[12])
    assert [(stamp, len(pcm)) for stamp, _, pcm in drain(queue, force=True)] == [
        (11 * FRAME, FRAME),
        (12 * FRAME, FRAME),
    ]


def test_a_pause_in_sending_is_no_loss() -> None:
    """With DTX the timestamp runs on and the sequence does not (RFC 7587 4.1)."""
    packets, queue = packets_of("opus", 3), intake.IntakeQueue()
    queue.put(0, 0, "opus", packets[0])
    queue.put(1, 50 * FRAME, "opus", packets[1])
    assert [stamp for stamp, _, _ in drain(queue)] == [0, 50 * FRAME]
    queue.put(3, 99 * FRAME, "opus", packets[2])  # one packet lost in a second pause: one is made up, not 48
    assert [(stamp, len(pcm)) for stamp, _, pcm in drain(queue, force=True)] == [
        (98 * FRAME, FRAME),
        (99 * FRAME, FRAME),
    ]


@pytest.mark.parametrize("name", ["G722", "opus"])
def test_packets_without_audio_leave_no_gap(name: str) -> None:
    """Telephone-events and comfort noise share the stream's numbers."""
    packets, queue, heard = packets_of(name, 10), intake.IntakeQueue(), []
    for k in range(10):
        queue.put(3 * k, k * FRAME, name, packets[k])
        queue.put(3 * k + 2, k * FRAME, "")
        queue.put(3 * k + 1, k * FRAME, "")
        heard += drain(queue)
    assert np.array_equal(np.concatenate([pcm for _, _, pcm in heard]), in_order(name, packets))
    assert queue.recovered == 0


def test_a_codec_change_starts_the_decoder_anew() -> None:
    first, second = packets_of("G722", 4, 1), packets_of("opus", 4, 2)
    queue = intake.IntakeQueue()
    for k, (name, data) in enumerate([("G722", p) for p in first] + [("opus", p) for p in second]):
        queue.put(k, k * FRAME, name, data)
    queue.put(8, 8 * FRAME, "L16/16000", bytes(640))
    queue.put(9, 9 * FRAME, "G722", first[0])
    heard = [pcm for _, _, pcm in drain(queue)]
    assert np.array_equal(np.concatenate(heard[:4]), in_order("G722", first))
    assert np.array_equal(np.concatenate(heard[4:8]), in_order("opus", second))
    assert not heard[8].any()
    assert np.array_equal(heard[9], in_order("G722", first[:1]))


def test_another_stream_starts_the_decoder_anew() -> None:
    packets, queue = packets_of("G722", 3), intake.IntakeQueue()
    for k in (0, 1):
        queue.put(k, k * FRAME, "G722", packets[k])
    drain(queue)
    queue.reset()
    assert queue.put(0, 0, "G722", packets[0])
    assert np.array_equal(drain(queue)[0][2], in_order("G722", packets[:1]))


def test_what_does_not_fit_gives_the_gap_up() -> None:
    packets, queue = packets_of("G722", 60), intake.IntakeQueue()
    queue.put(0, 0, "G722", packets[0])
    drain(queue)
    for k in range(2, 18):
        assert queue.put(k, k * FRAME, "G722", packets[k])
    assert [stamp // FRAME for stamp, _, _ in drain(queue)] == list(range(2, 18))
    assert queue.put(50, 50 * FRAME, "G722", packets[50])  # an outage: nothing else can be held for so long
    assert [stamp // FRAME for stamp, _, _ in drain(queue)] == [50]


def test_garbage_is_counted_and_passed_over() -> None:
    packets, queue = packets_of("opus", 3), intake.IntakeQueue()
    queue.put(0, 0, "opus", packets[0])
    queue.put(1, FRAME, "opus", b"\xff\xff\xff")
    queue.put(2, 2 * FRAME, "opus", packets[2])
    assert [stamp for stamp, _, _ in drain(queue)] == [0, 2 * FRAME]
    assert queue.garbage == 1
    assert not queue.put(3, 0, "opus", b"")
    assert not queue.put(3, 0, "opus", bytes(1501))


KINDS = ["G722", "opus", "opus", "", "PCMU"]
STREAM = {name: packets_of(name, 40) for name in ("G722", "opus")} | {"PCMU": [bytes([k]) * 160 for k in range(40)]}


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**40),
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(-4, 20), st.sampled_from(KINDS), st.integers(-1, 1)),
            st.tuples(st.just("junk"), st.integers(-2, 5), st.binary(max_size=40), st.just(0)),
            st.tuples(st.just("next"), st.booleans(), st.just(""), st.just(0)),
            st.tuples(st.just("reset"), st.just(0), st.just(""), st.just(0)),
        ),
        max_size=60,
    ),
)
def test_equals_twin_in_any_order(base: int, steps: list[tuple]) -> None:
    ours, twin, at = intake.IntakeQueue(), Twin(codec.Decoder), base
    for what, a, b, c in steps:
        if what == "put":
            data = STREAM[b][abs(at + a) % 40] if b else b""
            put = (max(0, at + a), (at + a) * FRAME + c * 8, b, data, a == 3)
            assert ours.put(*put) == twin.put(*put)
            at += a == 1
        elif what == "junk":
            put = (max(0, at + a), (at + a) * FRAME, "opus", b, False)
            assert ours.put(*put) == twin.put(*put)
        elif what == "next":
            mine, other = ours.next(a), twin.next(a)
            assert (mine is None) == (other is None)
            if mine is not None:
                assert mine[:2] == other[:2]
                assert np.array_equal(mine[2], other[2])
        else:
            ours.reset()
            twin.reset()
    assert (ours.garbage, ours.recovered) == (twin.garbage, twin.recovered)
