"""Datagrams of many sockets: both kinds of loop, over real UDP sockets on loopback."""

from __future__ import annotations

import errno
import os
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from native import ioloop, net, uring

ROOM = 2048
MOST = 32
LOOPBACK = ["127.0.0.1", "::1"]


@pytest.fixture(params=["plain", "uring"])
def loop(request: pytest.FixtureRequest) -> Iterator[ioloop.IoLoop]:
    if request.param == "uring" and (why := uring.uring_refused()):
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    made = ioloop.IoLoop(request.param, 1024)
    yield made
    made.close()


def udp(ip: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    sock.bind((ip, 0))
    return sock


Heard = list[tuple[int, bytes, tuple[str, int]]]


def polls(loop: ioloop.IoLoop, wanted: int, numbers: int = 400) -> Heard:
    """What successive sub-ticks read, until `wanted` packets came or `numbers` sub-ticks are over."""
    heard: Heard = []
    for number in range(numbers):
        heard += loop.poll(number)
        if len(heard) >= wanted:
            break
        time.sleep(0.0002)
    return heard


def rest(loop: ioloop.IoLoop) -> Heard:
    return polls(loop, 1 << 30, 110)


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ip", "port", "size"), [("192.0.2.7", 5004, 16), ("2001:db8::5", 65535, 28), ("::", 0, 28)])
def test_an_address_comes_back_from_the_kernels_form(ip: str, port: int, size: int) -> None:
    octets = net.address_of(ip, port)
    assert len(octets) == size
    assert net.text_of(octets) == (ip, port)


@pytest.mark.parametrize("ip", LOOPBACK)
def test_an_address_has_the_kernels_form(ip: str, loop: ioloop.IoLoop) -> None:
    here, there = udp(ip), udp(ip)
    loop.watch(0, here.fileno())
    there.sendto(b"x", net.text_of(net.address_of(ip, here.getsockname()[1])))
    ((_, _, source),) = polls(loop, 1)
    assert source == there.getsockname()[:2]


@pytest.mark.parametrize(
    ("ip", "port"),
    [("", 1), ("localhost", 1), ("1.2.3", 1), ("::1%nowhere", 1), ("127.0.0.1%lo", 1), ("1.2.3.4", 65536)],
)
def test_what_is_no_address_is_refused(ip: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"is not an? |zone"):
        net.address_of(ip, port)


def test_two_addresses_are_the_same_by_family_port_and_address() -> None:
    a = net.address_of("2001:db8::5", 5004)
    labelled = a[:4] + b"\1\2\3\4" + a[8:24] + b"\1\0\0\0"
    assert net.same(a, labelled)
    assert not net.same(a, net.address_of("2001:db8::5", 5006))
    assert not net.same(a, net.address_of("2001:db8::6", 5004))
    v4 = net.address_of("192.0.2.1", 5004)
    assert net.same(v4, v4[:8] + b"\1" * 8)
    assert not net.same(v4, net.address_of("192.0.2.2", 5004))
    assert not net.same(net.address_of("0.0.0.0", 1), net.address_of("::", 1))


# --- many sockets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ip", LOOPBACK)
def test_thousands_of_packets_over_200_sockets_keep_order_and_tag(loop: ioloop.IoLoop, ip: str) -> None:
    draw = random.Random(3)
    socks = [udp(ip) for _ in range(200)]
    peers = [udp(ip) for _ in range(20)]
    for index, sock in enumerate(socks):
        loop.watch(2 * index, sock.fileno())
    sent: dict[int, list[tuple[bytes, tuple[str, int]]]] = {2 * k: [] for k in range(200)}
    heard: dict[int, list[tuple[bytes, tuple[str, int]]]] = {2 * k: [] for k in range(200)}
    for number in range(200):
        for _ in range(40):
            index, peer = draw.randrange(200), draw.choice(peers)
            packet = draw.randbytes(draw.randrange(1, 400))
            peer.sendto(packet, socks[index].getsockname())
            sent[2 * index].append((packet, peer.getsockname()[:2]))
        for tag, packet, source in loop.poll(number):
            heard[tag].append((packet, source))
    for tag, packet, source in rest(loop):
        heard[tag].append((packet, source))
    ours = {peer.getsockname()[:2] for peer in peers}  # another program's late packet may meet a port it once knew
    strange = [packet for packets in heard.values() for packet in packets if packet[1] not in ours]
    assert {tag: [packet for packet in packets if packet[1] in ours] for tag, packets in heard.items()} == sent
    assert loop.counters()["received"] == 8000 + len(strange)


@pytest.mark.parametrize("ip", LOOPBACK)
def test_what_is_sent_leaves_by_its_own_socket(loop: ioloop.IoLoop, ip: str) -> None:
    draw = random.Random(4)
    socks = [udp(ip) for _ in range(200)]
    peers = [udp(ip) for _ in range(4)]
    for index, sock in enumerate(socks):
        loop.watch(2 * index, sock.fileno())
    wanted: list[Counter[tuple[bytes, int]]] = [Counter() for _ in peers]
    found: list[Counter[tuple[bytes, int]]] = [Counter() for _ in peers]
    for number in range(20):
        for _ in range(200):
            index, to = draw.randrange(200), draw.randrange(4)
            packet = draw.randbytes(draw.randrange(1, 300))
            loop.send(2 * index, packet, *peers[to].getsockname()[:2])
            wanted[to][packet, socks[index].getsockname()[1]] += 1
        assert loop.flush() == 0
        loop.poll(number)
        for peer, box in zip(peers, found, strict=True):
            while True:
                try:
                    packet, source = peer.recvfrom(ROOM)
                except BlockingIOError:
                    break
                box[packet, source[1]] += 1
    assert found == wanted
    assert loop.counters()["sent"] == 4000


def test_packets_of_one_socket_leave_in_order_and_more_than_fit_the_queue(loop: ioloop.IoLoop) -> None:
    here, peers = udp(), [udp() for _ in range(7)]
    loop.watch(0, here.fileno())
    for k in range(700):
        loop.send(0, k.to_bytes(2, "big"), *peers[k % 7].getsockname())
    assert loop.flush() == 0
    for first, peer in enumerate(peers):
        assert [int.from_bytes(peer.recv(ROOM), "big") for _ in range(100)] == list(range(first, 700, 7))


def test_a_socket_is_read_on_the_sub_tick_its_leg_sends(loop: ioloop.IoLoop) -> None:
    socks = [udp() for _ in range(40)]
    peer = udp()
    for index, sock in enumerate(socks):
        loop.watch(2 * index, sock.fileno())
    loop.poll(0)
    heard: set[int] = set()
    for number in range(1, 41):
        for index in range(number % 20, 40, 20):
            peer.sendto(b"now", socks[index].getsockname())
        heard |= {tag // 2 for tag, _, _ in loop.poll(number)}
        assert {k for k in range(40) if k % 20 == number % 20} <= heard


def test_rtcp_is_read_within_100_ms(loop: ioloop.IoLoop) -> None:
    socks = [udp() for _ in range(120)]
    peer = udp()
    for index, sock in enumerate(socks):
        loop.watch(2 * index + 1, sock.fileno())
        peer.sendto(bytes([index]), sock.getsockname())
    heard = [(tag, packet) for number in range(100) for tag, packet, _ in loop.poll(number)]
    assert sorted(heard) == [(2 * k + 1, bytes([k])) for k in range(120)]


def test_a_packet_carries_the_time_it_arrived(loop: ioloop.IoLoop) -> None:
    here, peer = udp(), udp()
    loop.watch(0, here.fileno())
    spans = []
    for k in range(10):
        before = time.monotonic_ns()
        peer.sendto(bytes([k]), here.getsockname())
        spans.append((before, time.monotonic_ns()))
        time.sleep(0.002)
    assert [packet for _, packet, _ in loop.poll(20)] == [bytes([k]) for k in range(10)]
    slack = 500_000  # between the reads of two clocks
    assert all(a - slack <= at <= b + slack for at, (a, b) in zip(loop.arrivals, spans, strict=True))


def visits(loop: ioloop.IoLoop, peer: socket.socket, here: socket.socket, counts: list[int]) -> list[list[int]]:
    """What each visit reads when so many packets, numbered through, came since the last."""
    number, read = 0, []
    for turn, count in enumerate(counts):
        for _ in range(count):
            peer.sendto(bytes([number]), here.getsockname())
            number += 1
        read.append([packet[0] for _, packet, _ in loop.poll(20 * turn)])
    return read


def test_after_an_empty_visit_everything_is_read_at_once(loop: ioloop.IoLoop) -> None:
    here, peer = udp(), udp()
    loop.watch(0, here.fileno())
    assert visits(loop, peer, here, [1, 1, 1, 0, 2, 1, 0, 0, 3]) == [[0], [1], [2], [], [3, 4], [5], [], [], [6, 7, 8]]


def test_a_packet_that_came_early_waits_one_visit_at_most(loop: ioloop.IoLoop) -> None:
    here, peer = udp(), udp()
    loop.watch(0, here.fileno())
    read = visits(loop, peer, here, [1, 1, 1, 2, 1, 1, 1, 2, 2, 1])
    assert read == [[0], [1], [2], [3], [4, 5], [6], [7], [8], [9, 10, 11], [12]]


def test_sub_ticks_that_run_by_themselves_answer_every_packet(loop: ioloop.IoLoop) -> None:
    """What is received is sent from within the poll; a packet of one octet makes its tag forgotten there."""
    socks, peers = [udp() for _ in range(100)], [udp() for _ in range(10)]
    for index, sock in enumerate(socks):
        loop.watch(2 * index, sock.fileno())
        for k in range(20):
            peers[index // 10].sendto(b"%d %d" % (index, k), sock.getsockname())
        if index % 2:
            peers[0].sendto(b".", sock.getsockname())
            peers[0].sendto(b"after", sock.getsockname())
    assert loop.echo(0.05, connects=True) == 2000
    answers = sorted(peer.recv(ROOM) for peer in peers for _ in range(200))
    assert answers == sorted(b"%d %d" % (index, k) for index in range(100) for k in range(20))
    for peer in peers:
        with pytest.raises(BlockingIOError):
            peer.recv(ROOM)
    for index in range(1, 100, 2):
        loop.watch(2 * index, socks[index].fileno())


# --- connected --------------------------------------------------------------------------------------------------------


def free_port(ip: str) -> int:
    with udp(ip) as sock:
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("ip", LOOPBACK)
@pytest.mark.parametrize("named", [True, False])
def test_a_connected_tag_hears_its_peer_only_until_it_is_let_go(loop: ioloop.IoLoop, ip: str, named: bool) -> None:
    """Whether its port was named or chosen by the system, and on whichever address it is bound."""
    for bound in (ip, "::" if ":" in ip else "0.0.0.0"):
        here = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
        here.bind((bound, free_port(bound) if named else 0))
        port, peer, stranger, other = here.getsockname()[1], udp(ip), udp(ip), udp(ip)
        loop.watch(0, here.fileno())
        loop.connect(0, *peer.getsockname()[:2])
        peer.sendto(b"peer", (ip, port))
        stranger.sendto(b"stranger", (ip, port))
        assert [packet for _, packet, _ in rest(loop)] == [b"peer"]
        for to in (peer, other, stranger):
            loop.send(0, b"to all", *to.getsockname()[:2])
        assert loop.flush() == 0
        for to in (peer, other, stranger):
            assert to.recvfrom(ROOM)[1][1] == port
        loop.connect(0, *other.getsockname()[:2])
        other.sendto(b"other", (ip, port))
        assert [packet for _, packet, _ in rest(loop)] == [b"other"]
        loop.connect(0)
        assert here.getsockname()[1] == port
        for sock in (peer, stranger, other):
            sock.sendto(b"all", (ip, port))
        assert [packet for _, packet, _ in rest(loop)] == [b"all"] * 3
        loop.forget(0)


def test_only_a_watched_tag_is_connected(loop: ioloop.IoLoop) -> None:
    for tag in (3, 1024):
        with pytest.raises(OSError, match="Invalid argument"):
            loop.connect(tag, "127.0.0.1", 9)


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_a_flood_takes_32_packets_a_poll_and_the_others_lose_nothing(loop: ioloop.IoLoop) -> None:
    socks = [udp() for _ in range(50)]
    peer = udp()
    for index, sock in enumerate(socks):
        loop.watch(2 * index, sock.fileno())
    counted: Counter[int] = Counter()
    for number in range(300):
        for _ in range(100):
            peer.sendto(b"flood", socks[0].getsockname())
        if number % 20 == 3:
            for sock in socks[1:]:
                peer.sendto(b"call", sock.getsockname())
        now = Counter(tag for tag, _, _ in loop.poll(number))
        assert now[0] <= MOST
        counted += now
    counted += Counter(tag for tag, _, _ in rest(loop))
    assert {counted[2 * k] for k in range(1, 50)} == {15}
    assert counted[0] >= 15 * MOST
    assert loop.counters()["floods"] > 0
    peer.sendto(b"calm", socks[0].getsockname())
    assert (0, b"calm") in [(tag, packet) for tag, packet, _ in rest(loop)]


@pytest.mark.parametrize("ip", LOOPBACK)
def test_a_datagram_that_is_too_long_is_dropped_and_counted(loop: ioloop.IoLoop, ip: str) -> None:
    here, peer = udp(ip), udp(ip)
    loop.watch(0, here.fileno())
    for size in (1, ROOM, ROOM + 1, 9000, 1472):
        peer.sendto(b"a" * size, here.getsockname())
    assert [len(packet) for _, packet, _ in polls(loop, 3)] == [1, ROOM, 1472]
    assert rest(loop) == []
    assert loop.counters()["truncated"] == 2


@pytest.mark.parametrize("ip", LOOPBACK)
@pytest.mark.parametrize("connected", [False, True])
def test_a_port_nobody_listens_on_hurts_nothing(loop: ioloop.IoLoop, ip: str, connected: bool) -> None:
    """A connected socket gets the ICMP error as ECONNREFUSED of its next call."""
    here, peer, gone = udp(ip), udp(ip), udp(ip)
    nobody = gone.getsockname()
    gone.close()
    loop.watch(0, here.fileno())
    if connected:
        here.connect(nobody)
    for number in range(100):
        loop.send(0, b"anyone?", *nobody[:2])
        loop.flush()
        loop.poll(number)
    if connected:
        here.connect(peer.getsockname())
    peer.sendto(b"here", here.getsockname())
    loop.send(0, b"there", *peer.getsockname()[:2])
    loop.flush()
    assert [packet for _, packet, _ in polls(loop, 1)] == [b"here"]
    assert peer.recv(ROOM) == b"there"


def test_sends_that_fail_are_counted(loop: ioloop.IoLoop) -> None:
    here, peer = udp(), udp()
    loop.watch(0, here.fileno())
    loop.send(0, b"IPv6 from an IPv4 socket", "::1", 9)
    loop.send(0, b"fine", *peer.getsockname())
    loop.send(0, b"broadcast is not allowed", "255.255.255.255", 9)
    loop.send(4, b"not watched", *peer.getsockname())
    loop.flush()
    loop.poll(0)
    assert loop.flush() == 3
    assert peer.recv(ROOM) == b"fine"
    assert loop.counters()["sent"] == 1


def test_a_tag_out_of_range_or_in_use_is_refused(loop: ioloop.IoLoop) -> None:
    here, there = udp(), udp()
    loop.watch(7, here.fileno())
    for tag, fd in ((1024, here.fileno()), (7, there.fileno()), (8, -1)):
        with pytest.raises(OSError, match="Invalid argument"):
            loop.watch(tag, fd)
    loop.forget(1 << 20)
    loop.forget(9)


# --- forgetting -------------------------------------------------------------------------------------------------------


def test_a_forgotten_tag_is_silent_while_packets_arrive(loop: ioloop.IoLoop) -> None:
    here, other, peer = udp(), udp(), udp()
    loop.watch(0, here.fileno())
    loop.watch(2, other.fileno())
    for _ in range(40):
        peer.sendto(b"old", here.getsockname())
    loop.poll(0)
    for _ in range(40):
        peer.sendto(b"old", here.getsockname())
    loop.forget(0)
    peer.sendto(b"other", other.getsockname())
    assert [tag for tag, _, _ in rest(loop)] == [2]


def test_what_was_queued_leaves_before_its_tag_is_forgotten(loop: ioloop.IoLoop) -> None:
    here, peer = udp(), udp()
    loop.watch(0, here.fileno())
    loop.send(0, b"bye", *peer.getsockname())
    loop.forget(0)
    here.close()
    assert loop.flush() == 0
    assert peer.recv(ROOM) == b"bye"


@pytest.mark.parametrize("same", [True, False])
def test_an_fd_number_used_again_belongs_to_its_new_tag(loop: ioloop.IoLoop, same: bool) -> None:
    """The old socket is closed with packets in it, its number goes to another leg at once."""
    draw, peer, number = random.Random(5), udp(), 0
    steady = udp()
    loop.watch(1022, steady.fileno())
    socks: dict[int, socket.socket] = {}
    for turn in range(300):
        index = 0 if same else draw.randrange(30)
        tag = 2 * index
        if index in socks:
            for k in range(draw.randrange(4)):
                peer.sendto(b"late %d" % k, socks[index].getsockname())
            for _ in range(draw.randrange(3)):
                number += 1
                loop.poll(number)
            loop.forget(tag)
            number += 1
            assert tag not in [t for t, _, _ in loop.poll(number)]
            fd = socks[index].fileno()
            socks[index].close()
            socks[index] = udp()
            assert socks[index].fileno() == fd
        else:
            socks[index] = udp()
        loop.watch(tag, socks[index].fileno())
        peer.sendto(b"new %d" % turn, socks[index].getsockname())
        heard: Heard = []
        for _ in range(20):
            number += 1
            heard += loop.poll(number)
        assert (tag, b"new %d" % turn) in [(t, p) for t, p, _ in heard]
        assert not [p for t, p, _ in heard if t == tag and p.startswith(b"late")]
    peer.sendto(b"steady", steady.getsockname())
    assert (1022, b"steady") in [(t, p) for t, p, _ in rest(loop)]


def test_a_loop_that_ends_leaves_the_sockets_open(loop: ioloop.IoLoop) -> None:
    here, peer = udp(), udp()
    before = len(os.listdir("/proc/self/fd"))
    loop.watch(0, here.fileno())
    loop.close()
    loop.close()
    assert len(os.listdir("/proc/self/fd")) <= before
    peer.sendto(b"mine", here.getsockname())
    assert here.recv(ROOM) == b"mine"


def test_a_ring_that_breaks_gives_way_to_plain_calls() -> None:
    if why := uring.uring_refused():
        pytest.skip(why)
    loop, here, peer = ioloop.IoLoop("uring"), udp(), udp()
    loop.watch(0, here.fileno())
    links = {fd: fd.readlink() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()}
    (ring,) = [int(fd.name) for fd, link in links.items() if "io_uring" in str(link)]
    os.close(ring)
    for k in range(3):
        peer.sendto(b"in %d" % k, here.getsockname())
        loop.send(0, b"out %d" % k, *peer.getsockname())
    assert loop.flush() == 0
    assert loop.kind == "plain"
    assert [packet for _, packet, _ in loop.poll(0)] == [b"in 0", b"in 1", b"in 2"]
    assert [peer.recv(ROOM) for _ in range(3)] == [b"out 0", b"out 1", b"out 2"]


REFUSING = """
import ctypes, struct, sys
number, error = 425, int(sys.argv[1])
code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7FFF0000)]
octets = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *c) for c in code))
program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(octets))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program) == 0
from native import ioloop, uring
print(uring.uring_refused())
try:
    ioloop.IoLoop("uring")
except OSError as e:
    print(e.errno)
print(ioloop.IoLoop("plain").kind, ioloop.cheapest())
"""
"""A process whose seccomp filter answers io_uring_setup with an error."""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (errno.EPERM, "forbidden"),
        (errno.ENOSYS, "no io_uring"),
        (errno.ENOMEM, "RLIMIT_MEMLOCK"),
        (errno.EMFILE, "open"),
    ],
)
def test_a_kernel_that_refuses_io_uring_is_said_so(error: int, says: str) -> None:
    done = subprocess.run([sys.executable, "-c", REFUSING, str(error)], capture_output=True, text=True, check=True)
    why, raised, plain = done.stdout.splitlines()
    assert says in why
    assert int(raised) == error
    assert plain == "plain plain"


def test_the_kind_to_take_is_one_the_kernel_has() -> None:
    assert set(ioloop.costs()) == {"plain"} | ({"uring"} if not uring.uring_refused() else set())
    assert all(cost > 0 for cost in ioloop.costs().values())
    assert ioloop.cheapest() in ioloop.costs()


def test_an_unknown_kind_says_what_there_is() -> None:
    with pytest.raises(ValueError, match="'plain' or 'uring'"):
        ioloop.IoLoop("epoll")
