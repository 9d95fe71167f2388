"""A gateway that trusts one address alone, under floods, guesses, scanners and faxes from others of the loopback."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.sip_flood import PHASES, Caller, phase
from gateway.lab import stage
from tests.peers import sipp, whole
from tests.peers.programs import Programs, need
from tests.peers.whole import metric, wait
from tests.sip.trash import Side, Talk, trash
from tests.sip.wire import peek

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

NUMBER = "3001"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, prompts: Path) -> Iterator[stage.GatewayProcess]:
    """127.0.0.1 is a trunk; all other addresses of this machine are strangers."""
    folder = tmp_path_factory.mktemp("guarded")
    config = whole.written(folder / "config", bank=False)
    config.write_text(config.read_text() + "defence: {trusted: [], lockout: 60s}\n")
    (config.parent / "trunks.yaml").write_text(
        "trunks: {caller: {addresses: [127.0.0.1/32]}}\noutbound: {allow: ['+49151'], country: GB}\n"
    )
    with stage.gateway(whole.data_folder(folder / "data", prompts), config=config) as running:
        yield running
    said = running.log.read_text(errors="replace")
    assert "Traceback" not in said, said[-4000:]


def _bound(ip: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((ip, 0))
    sock.setblocking(False)
    return sock


def _waiting(sock: socket.socket) -> Iterator[bytes]:
    with contextlib.suppress(OSError):
        while True:
            yield sock.recv(65535)


def counted(gateway: stage.GatewayProcess, what: str) -> int:
    return int(metric(gateway.http_port, "trunkline_sip_total", what=what))


@pytest.fixture(scope="module")
def flooded(guarded: stage.GatewayProcess) -> dict[str, object]:
    """A call that stands while 20,000 REGISTERs a second come from one address, then from 250."""
    return {name: phase(name, guarded, 20_000, 2.0, NUMBER) for name in PHASES}


@pytest.mark.parametrize("name", PHASES)
def test_a_flood_of_registrations_leaves_no_call_unanswered(name: str, flooded: dict) -> None:
    found = flooded[name]
    assert found.unanswered == 0
    assert min(len(found.changed), len(found.set_up), len(found.ended)) >= 1
    assert found.counted["received_BYE"] >= len(found.ended)


def test_most_of_a_flood_is_never_read(flooded: dict) -> None:
    one, many = flooded["one address"], flooded["250 addresses"]
    assert one.counted["dropped_rate"] > one.counted["received_REGISTER"]
    assert many.counted["dropped_strangers"] > many.counted["received_REGISTER"]
    assert "dropped_strangers" not in flooded["after"].counted


def test_nothing_is_kept_of_a_flood(guarded: stage.GatewayProcess, flooded: dict) -> None:
    wait(lambda: metric(guarded.http_port, "trunkline_calls_active") == 0, "the end of every call")
    assert metric(guarded.http_port, "trunkline_sip_total", what="internal_errors") == 0


def test_a_guesser_is_locked_out_and_the_real_phone_is_not(guarded: stage.GatewayProcess, crew: Programs) -> None:
    def tries(ip: str, password: str, status: str, name: str, *options: str) -> sipp.Sipp:
        words = {"from": "desk1", "password": password, "status": status}
        return sipp.start(crew, ["guess"], guarded.sip, *options, name=name, ip=ip, **words)

    right = whole.password("desk1")
    assert tries("127.0.0.32", right, "200", "phone").finishes() == 0
    assert tries("127.0.0.31", "wrong", "403", "first").finishes() == 0
    assert counted(guarded, "lockouts") == 1
    again = tries("127.0.0.31", "wrong", "403", "again")
    wait(lambda: counted(guarded, "dropped_locked_out") >= 2, "the guesser not being heard")
    again.end()
    assert tries("127.0.0.33", right, "200", "elsewhere").finishes() == 0  # guesses elsewhere never bar a phone
    assert tries("127.0.0.32", right, "200", "phone_again").finishes() == 0


def test_a_fax_is_told_488_and_the_call_it_came_in_goes_on(guarded: stage.GatewayProcess, crew: Programs) -> None:
    parts = ["invite", "answered", "stay", "fax", "stay", "reinvite:sendonly:recvonly", "stay", "bye"]
    words = {"to": NUMBER, "talk_ms": "300"}
    assert sipp.start(crew, parts, guarded.sip, name="fax", **words).finishes() == 0
    refused = sipp.start(crew, ["fax_invite", "refused"], guarded.sip, name="fax_only", to=NUMBER, status="488")
    assert refused.finishes() == 0


def test_a_scanner_hears_nothing_and_others_nothing_of_users(guarded: stage.GatewayProcess) -> None:
    def ask(user: str, agent: str, patience: float) -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.41", 0))
            sock.settimeout(patience)
            port = sock.getsockname()[1]
            text = (
                f"OPTIONS sip:{user}@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.41:{port};branch=z9hG4bK{port}\r\n"
                f"From: <sip:x@y>;tag=1\r\nTo: <sip:{user}@127.0.0.1>\r\nCall-ID: {port}\r\nCSeq: 1 OPTIONS\r\n"
                f"Max-Forwards: 70\r\nUser-Agent: {agent}\r\nContent-Length: 0\r\n\r\n"
            )
            sock.sendto(text.encode(), ("127.0.0.1", guarded.sip_port))
            try:
                return sock.recv(65535)
            except TimeoutError:
                return b""

    firsts = {ask(user, "phone", 20).partition(b"\r\n")[0] for user in ("desk1", "nobody", NUMBER, "9999")}
    assert firsts == {b"SIP/2.0 200 OK"}
    before = counted(guarded, "dropped_scanner")
    assert ask("100", "friendly-scanner", 0.3) == b""
    wait(lambda: counted(guarded, "dropped_scanner") == before + 1, "the scanner being counted")


def test_damaged_messages_of_a_trunk_and_of_strangers_harm_no_call(guarded: stage.GatewayProcess) -> None:
    """From the trunk they get as far as the calls, the flow and the media; those that stand are changed and ended."""
    standing, rng = Caller(("127.0.0.1", guarded.sip_port), NUMBER), random.Random(4)
    assert standing.invite() is not None
    before = counted(guarded, "malformed") + counted(guarded, "garbage")
    socks = [_bound(ip) for ip in ("127.0.0.1", "127.0.0.51")]
    heard: list[bytes] = []
    talks: list[Talk] = []
    for number in range(1, 3001):
        sock = rng.choice(socks)
        side = Side(*sock.getsockname(), guarded.sip)
        sock.sendto(trash(rng, side, talks[-20:], heard[-20:], number), ("127.0.0.1", guarded.sip_port))
        if number % 20 == 0:
            time.sleep(0.01)
            heard += [data for each in socks for data in _waiting(each)]
            answers = [peek(data) for data in heard[-50:] if data.startswith(b"SIP/2.0 200") and b"INVITE" in data]
            talks = [Talk(a.call_id, a.from_.tag, a.to.tag) for a in answers if a.get("To")]
    wait(lambda: counted(guarded, "malformed") + counted(guarded, "garbage") > before + 200, "trash being counted")
    assert standing.invite() is not None
    assert standing.bye() is not None
    assert counted(guarded, "internal_errors") == 0


def test_random_trash_of_sipsak_leaves_the_gateway_answering(guarded: stage.GatewayProcess) -> None:
    sipsak = need("sipsak")
    uri = f"sip:{NUMBER}@{guarded.sip}"
    subprocess.run([sipsak, "-R", "-s", uri], timeout=60, capture_output=True, check=False)
    assert subprocess.run([sipsak, "-s", uri], timeout=60, capture_output=True, check=False).returncode == 0
