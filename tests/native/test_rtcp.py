"""RTCP written and read, against its twin and against RFC 3550."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import rtcp
from native.twins import rtcp as twin

S = 10**9
WALL = 1_700_000_000 * S
SENT = {"ssrc": 0x11223344, "stamp": 160, "stamp_at": 0, "clock": 8000, "packets": 5, "octets": 800}
SOURCE = {"ssrc": 0xA0B0C0D0, "first": 65540, "highest": 65639, "received": 90, "duplicate": 2, "jitter": 17.9}


def ntp(at: int) -> int:
    """The wall clock `at` ns after WALL, as the engine hands it over."""
    return rtcp.ntp(WALL + at)


def test_ntp_counts_from_1900_in_fractions_of_2_to_the_32() -> None:
    assert rtcp.ntp(0) >> 32 & 0xFFFFFFFF == 2208988800
    assert rtcp.ntp(S // 2) & 0xFFFFFFFF == 2**31


def test_a_sender_report_says_what_was_sent_and_heard() -> None:
    state = rtcp.RtcpState(1)
    octets = state.write(SENT, SOURCE, 3 * S, ntp(3 * S))
    report, names = twin.read(octets)
    assert report.kind == twin.SR
    assert report.ssrcs == [SENT["ssrc"]]
    assert report.sender == (ntp(3 * S) & (2**64 - 1), 160 + 24000, 5, 800)
    assert report.blocks == [twin.Block(0xA0B0C0D0, twin.lost_since(100, 92, (0, 0)), 8, 103, 17, 0, 0)]
    assert names.cname == state.cname
    assert octets == twin.report(report.ssrcs[0], report.sender, report.blocks) + twin.name(SENT["ssrc"], state.cname)


def test_who_sends_nothing_any_more_writes_receiver_reports() -> None:
    state = rtcp.RtcpState(1)
    kinds = [twin.read(state.write(SENT, {}, k * S, ntp(k * S)))[0].kind for k in range(5)]
    assert kinds == [twin.SR, twin.SR, twin.RR, twin.RR, twin.RR]
    assert twin.read(state.write(SENT, {}, 9 * S, ntp(0)))[0].blocks == []


def test_the_block_is_about_what_came_since_the_last_report() -> None:
    state = rtcp.RtcpState(1)
    before = (0, 0)
    for highest, received in ((65639, 100), (65739, 150), (65739, 150), (65839, 251), (65939, 300)):
        source = SOURCE | {"highest": highest, "received": received, "duplicate": 0}
        blocks = twin.read(state.write(SENT, source, S, ntp(S)))[0].blocks
        expected = highest - 65540 + 1
        if received == before[1]:
            assert blocks == []
            continue
        assert blocks[0].fraction == twin.lost_since(expected, received, before)
        assert blocks[0].lost == expected - received
        before = (expected, received)
    other = SOURCE | {"ssrc": 1, "first": 70000, "highest": 70009, "received": 10, "duplicate": 0}
    assert twin.read(state.write(SENT, other, S, ntp(S)))[0].blocks[0].lost == 0


def test_round_trip_and_what_the_peer_says_of_us() -> None:
    """We send an SR, the peer hears it after 40 ms, answers 2 s later, 60 ms back."""
    ours, peer = rtcp.RtcpState(1), rtcp.RtcpState(2)
    theirs = SENT | {"ssrc": SOURCE["ssrc"]}
    about_us = SOURCE | {"ssrc": SENT["ssrc"], "received": 110, "duplicate": 0}
    assert peer.read(ours.write(SENT, {}, 0, ntp(0)), SOURCE["ssrc"], 40_000_000, ntp(40_000_000))
    answer = peer.write(theirs, about_us, 2_040_000_000, ntp(2_040_000_000))
    assert ours.read(answer, SENT["ssrc"], 2_100_000_000, ntp(2_100_000_000))
    assert ours.remote["rtt"] == pytest.approx(100_000_000, abs=50_000)
    assert ours.remote["lost"] == -10
    assert ours.remote["fraction"] == 0
    assert ours.remote["jitter"] == 17
    assert ours.remote["reported"]
    assert peer.remote["rtt"] == -1
    assert ours.goodbye is None
    bye = peer.write(theirs, about_us, 3 * S, ntp(3 * S), bye=True)
    assert [p.kind for p in twin.read(bye)] == [twin.SR, twin.SDES, twin.BYE]
    assert ours.read(bye, SENT["ssrc"], 3 * S, ntp(3 * S))
    assert ours.goodbye == SOURCE["ssrc"]


BIG = st.integers(0, 2**40)


@given(
    sent=st.fixed_dictionaries(
        {
            "ssrc": st.integers(0, 2**32 - 1),
            "stamp": st.integers(0, 2**32 - 1),
            "stamp_at": st.integers(0, 2**50),
            "clock": st.sampled_from([8000, 16000, 48000]),
            "packets": BIG,
            "octets": BIG,
        }
    ),
    first=st.integers(65536, 131071),
    expected=st.integers(1, 2**33),
    received=st.integers(1, 2**33),
    jitter=st.floats(0, 2**31),
    later=st.integers(0, 2**50),
)
def test_every_number_is_written_as_the_twin_reads_it(
    sent: dict[str, int], first: int, expected: int, received: int, jitter: float, later: int
) -> None:
    state = rtcp.RtcpState(3)
    source = {"ssrc": 9, "first": first, "highest": first + expected - 1, "received": received, "duplicate": 0}
    now = sent["stamp_at"] + later
    report = twin.read(state.write(sent, source | {"jitter": jitter}, now, ntp(now)))[0]
    lost = max(-(2**23), min(2**23 - 1, expected - received))
    fraction = twin.lost_since(expected, received, (0, 0))
    highest = (first + expected - 1 - 65536) % 2**32
    assert report.blocks == [twin.Block(9, fraction, lost, highest, int(jitter), 0, 0)]
    assert (report.kind == twin.SR) == (sent["packets"] > 0)
    if report.sender:
        stamp = (sent["stamp"] + later // S * sent["clock"] + later % S * sent["clock"] // S) % 2**32
        assert report.sender == (ntp(now) % 2**64, stamp, sent["packets"] % 2**32, sent["octets"] % 2**32)


def about(fraction: int, lost: int, lsr: int = 0, dlsr: int = 0, ssrc: int = 5) -> twin.Block:
    return twin.Block(ssrc, fraction, lost, 70000, 33, lsr, dlsr)


def test_of_many_blocks_and_packets_ours_counts() -> None:
    state = rtcp.RtcpState(1)
    skipped = twin.wrap(twin.APP, 0, b"\0\0\0\7name") + twin.wrap(twin.XR, 0, bytes(24))
    feedback = twin.wrap(twin.RTPFB, 1, bytes(12)) + twin.wrap(twin.PSFB, 1, bytes(8)) + twin.wrap(215, 0, b"")
    blocks = [about(10, 1, ssrc=4), about(64, -3), about(20, 2, ssrc=6)]
    compound = twin.report(7, None, blocks) + twin.name(7, "a@b") + skipped + feedback
    assert state.read(compound, 5, 0, ntp(0))
    remote = {"reported": True, "fraction": 0.25, "lost": -3, "jitter": 33, "highest": 70000, "rtt": -1}
    assert state.remote == remote
    assert not state.read(compound + twin.report(7, None, [about(255, 9)])[:-1], 5, 0, ntp(0))  # nothing of it is taken
    assert state.remote == remote
    assert state.read(twin.report(5, None, [about(99, 99)]), 5, 0, ntp(0))  # our own, come back
    assert state.remote == remote
    assert state.read(twin.wrap(twin.BYE, 1, b"\0\0\0\5"), 5, 0, ntp(0))
    assert state.goodbye is None
    assert state.read(twin.wrap(twin.BYE, 2, b"\0\0\0\5\0\0\0\7"), 5, 0, ntp(0))  # reduced size, RFC 5506
    assert state.goodbye == 7


@pytest.mark.parametrize(
    ("trip", "expected"),
    [(0, 0), (65536 // 4, 250_000_000), (-300, 0), (-70_000, -1), (61 * 65536, -1)],
)
def test_a_round_trip_that_cannot_be_is_not_believed(trip: int, expected: int) -> None:
    state = rtcp.RtcpState(1)
    middle = ntp(0) >> 16
    assert state.read(twin.report(7, None, [about(0, 0, (middle - 65536 - trip) % 2**32, 65536)]), 5, 0, ntp(0))
    assert state.remote["rtt"] == expected


def test_lsr_is_that_of_the_source_that_is_reported() -> None:
    state = rtcp.RtcpState(1)
    sender = (0x1122334455667788, 0, 1, 160)
    assert state.read(twin.report(SOURCE["ssrc"], sender, []), SENT["ssrc"], 2 * S, ntp(0))
    block = twin.read(state.write(SENT, SOURCE, 7 * S, ntp(0)))[0].blocks[0]
    assert (block.lsr, block.dlsr) == (0x33445566, 5 * 65536)
    other = SOURCE | {"ssrc": 77}
    assert twin.read(state.write(SENT, other, 7 * S, ntp(0)))[0].blocks[0].lsr == 0


@pytest.mark.parametrize(("padding", "good"), [(4, True), (8, True), (0, False), (3, False), (12, False), (255, False)])
def test_padding_only_as_rfc_3550_has_it(padding: int, good: bool) -> None:
    report = bytearray(twin.report(7, None, []) + bytes(8))
    report[0] |= 0x20
    report[3] = 3
    report[-1] = padding
    assert rtcp.RtcpState(1).read(bytes(report), 5, 0, 0) == good
    first = bytes(report) + twin.name(7, "x")
    assert not rtcp.RtcpState(1).read(first, 5, 0, 0)  # only the last one may be padded


@given(st.binary(max_size=200))
def test_any_octets_are_read_as_the_twin_reads_them(octets: bytes) -> None:
    state = rtcp.RtcpState(1)
    assert state.read(octets, 5, 0, 0) == (twin.read(octets) is not None)
    assert state.counters["taken"] + state.counters["garbage"] == 1


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([200, 201, 202, 203, 204, 205, 206, 207, 210]), st.integers(0, 3), st.integers(0, 20)
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 255),
    st.integers(0, 30),
    st.randoms(use_true_random=False),
)
def test_near_rtcp_is_read_as_the_twin_reads_it(parts, padding, cut, random) -> None:
    octets = bytearray()
    for kind, count, words in parts:
        octets += twin.wrap(kind, count, random.randbytes(4 * words))
    if padding % 3 == 0:
        octets[-len(twin.wrap(parts[-1][0], 0, b"")) - 4 * parts[-1][2]] |= 0x20
        octets[-1] = padding & 0x1C
    octets = octets[: len(octets) - (cut if cut > 20 else 0)]
    assert rtcp.RtcpState(1).read(bytes(octets), 5, 0, 0) == (twin.read(bytes(octets)) is not None)


def test_reports_are_due_every_five_seconds_more_or_less() -> None:
    state, now, times = rtcp.RtcpState(7), 0, []
    while len(times) < 200:
        if state.due(now):
            times.append(now)
        now += 10_000_000
    gaps = [(b - a) / S for a, b in itertools.pairwise(times)]
    assert 1.02 <= times[0] / S <= 3.1
    assert min(gaps) >= 2.05
    assert max(gaps) <= 6.17
    assert sum(gaps) / len(gaps) == pytest.approx(5 / 1.21828, abs=0.35)
    assert len(set(gaps)) > 50


def test_nothing_is_written_where_there_is_no_room() -> None:
    state = rtcp.RtcpState(1)
    assert state.write(SENT, SOURCE, 0, 0, room=87) == b""
    assert state.write(SENT, SOURCE, 0, 0, bye=True, room=95) == b""
    assert state.counters["written"] == 0
    assert len(state.write(SENT, SOURCE, 0, 0, bye=True)) == 88


def test_names_differ_from_leg_to_leg() -> None:
    names = {rtcp.RtcpState(k).cname for k in range(1000)}
    assert len(names) == 1000
    assert {len(name) for name in names} == {16}
