"""What the doctor says of SIP: ports, addresses, certificates, the clock, and what the running gateway tells."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gateway.config import GatewayConfig
from gateway.config_listen import SipListen
from gateway.lab import doctor_sip
from gateway.lab.row import Row
from gateway.sip.certificates import Certificate
from gateway.sip.edge import Listen
from tests.sip.certs import Authority

QUIET = GatewayConfig(sip=SipListen.at("127.0.0.1", 0))
NOW = 1_900_000_000.0


def rows(config: GatewayConfig = QUIET, report: dict | None = None, health: dict | None = None) -> dict[str, Row]:
    answers = {"/sip": report, "/healthz": health}
    return {row.what: row for row in doctor_sip.rows(config, lambda where, path: answers[path], NOW)}


HEALTH = {"ok": True, "active_calls": 3, "checks": {"records": "ok", "trunk carrier": "down; 403 Forbidden"}}


def test_ports_that_are_free_and_ports_that_others_hold() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        config = replace(QUIET, sip=SipListen((Listen("udp", "127.0.0.1", port),)))
        found = rows(config)[f"SIP on udp://127.0.0.1:{port}"]
        assert not found.ok
        assert "stop that program" in found.found
        assert f"(process {os.getpid()})" in found.found
        command = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode().rpartition("/")[2]
        assert f"taken by {command} " in found.found
        assert rows(config, health=HEALTH)[f"SIP on udp://127.0.0.1:{port}"].ok
    found = rows(config)[f"SIP on udp://127.0.0.1:{port}"]
    assert found == Row(found.what, True, "free")
    assert not rows(config, health=HEALTH)[found.what].ok


@pytest.mark.parametrize(
    ("sip", "what", "ok", "said"),
    [
        (SipListen.at("127.0.0.1", 0), "address told, udp", False, "only programs on this machine"),
        (SipListen.at("10.1.2.3", 5060), "address told, tcp", False, "phones in it reach it, those outside don't"),
        (SipListen.at("8.8.8.8", 5060), "address told, udp", True, "8.8.8.8:5060, public"),
        (
            replace(SipListen.at("10.1.2.3", 5060), advertise={"udp": ("8.8.8.8", 5070)}),
            "address told, udp",
            True,
            "8.8.8.8:5070, advertised to phones outside; phones inside are told 10.1.2.3",
        ),
        (
            replace(SipListen.at("10.1.2.3", 5060), advertise={"udp": ("10.9.9.9", 5070)}),
            "address told, udp",
            False,
            "10.9.9.9:5070 is advertised and yet private",
        ),
        (
            replace(SipListen.at("10.1.2.3", 5060), advertise={"udp": ("nowhere.invalid", 5070)}),
            "address told, udp",
            False,
            "is a name that leads nowhere",
        ),
        (
            replace(SipListen.at("10.1.2.3", 5060), advertise={"udp": ("8.8.8.8", 5070)}),
            "address of media, IPv4",
            True,
            "8.8.8.8, advertised",
        ),
    ],
)
def test_which_address_phones_are_told(sip: SipListen, what: str, ok: bool, said: str) -> None:
    found = {row.what: row for row in doctor_sip._addresses(GatewayConfig(sip=sip))}[what]
    assert found.ok is ok
    assert said in found.found


def test_certificates_with_their_days_and_names(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.pair("sip.example.com", days=40)
    listen = (Listen("tls", "10.1.2.3", 5061), Listen("udp", "10.1.2.3", 5060))
    sip = SipListen(listen, {"tls": ("sip.example.com", 5061)}, certificate=Certificate((pair,), verify="none"))
    config = GatewayConfig(sip=sip, domain="example.com")

    def found(config: GatewayConfig, days: float) -> dict[str, Row]:
        return {row.what: row for row in doctor_sip._certificates(config, time.time() + days * 86_400)}

    (row,) = found(config, 0).values()
    assert row.ok
    assert "days left, for sip.example.com" in row.found
    (row,) = found(config, 30).values()
    assert not row.ok
    (row,) = found(config, 45).values()
    assert "expired" in row.found
    other = found(replace(config, sip=replace(sip, advertise={"tls": ("phones.example.com", 5061)})), 0)
    assert "it is in no certificate (sip.example.com)" in other["certificate for phones.example.com"].found
    assert not other["certificate for phones.example.com"].optional
    assert "in the clear" in found(QUIET, 0)["SIP over TLS"].found


def test_a_clock_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_sip, "clock_error_us", lambda: 20_000)
    (row,) = doctor_sip._clock(NOW)
    assert row.ok
    assert "off by 20 ms at most" in row.found
    (row,) = doctor_sip._clock(0.0)
    assert not row.ok
    assert "1970-01-01 00:00:00 UTC, before this program was installed" in row.found
    monkeypatch.setattr(doctor_sip, "clock_error_us", lambda: 16_000_000)
    assert "not synchronised" in next(doctor_sip._clock(NOW)).found
    monkeypatch.setattr(doctor_sip, "clock_error_us", lambda: None)
    assert "can't be known" in next(doctor_sip._clock(NOW)).found


def test_the_kernel_tells_how_wrong_its_clock_may_be() -> None:
    error = doctor_sip.clock_error_us()
    assert error is None or 0 <= error <= 100_000_000


def test_the_running_gateway_tells_of_trunks_phones_and_refused_callers() -> None:
    report = {
        "registered": 2,
        "phones": [
            {"aor": "sip:anna@x", "from": "198.51.100.7:4000 udp", "behind_nat": True, "missed": 2},
            {"aor": "sip:omar@x", "from": "10.0.0.9:5060 udp", "behind_nat": False, "missed": 0},
        ],
        "refused": [
            {"ago": 130, "method": "INVITE", "from": "10.0.0.5:5060 udp", "wanted": "•••56", "status": 404}
            | {"reason": "Not Found", "agent": "Phone 2"},
            {"ago": 5, "method": "REGISTER", "from": "10.0.0.6:5060 tcp", "wanted": "anna", "status": 403}
            | {"reason": "Forbidden", "agent": ""},
        ],
        "locked_out": [{"source": f"203.0.113.{n}", "for": 7300} for n in range(7)],
    }
    found = rows(report=report, health=HEALTH)
    assert found["gateway"].found == "runs, 3 calls; trunk carrier: down; 403 Forbidden"
    assert found["trunk carrier"] == Row("trunk carrier", False, "down; 403 Forbidden")
    assert found["phones"].found == "2 registered, 1 behind a NAT"
    assert found["phone of sip:anna@x"].found == "198.51.100.7:4000 udp left 2 pings unanswered"
    assert found["refused 2 min ago"].found == (
        "10.0.0.5:5060 udp (Phone 2) wanted to call •••56: 404 Not Found: "
        "nobody serves that number: it stands under numbers: of no flow, and under numbers: of no trunk"
    )
    assert found["refused 5 s ago"].found.startswith(
        "10.0.0.6:5060 tcp wanted to register anna: 403 Forbidden: a wrong"
    )
    assert found["locked out 203.0.113.0"].found == "not listened to for 2 h more, after wrong passwords"
    assert found["locked out"].found == "2 more sources"


@pytest.mark.parametrize("running", [False, True])
def test_an_address_of_another_machine_is_no_program_to_stop(running: bool) -> None:
    config = replace(QUIET, sip=SipListen((Listen("udp", "198.51.100.77", 15060),)))
    found = rows(config, health=HEALTH if running else None)["SIP on udp://198.51.100.77:15060"]
    assert not found.ok
    assert "it is no address of this machine" in found.found
    assert "stop that program" not in found.found


def test_a_refused_registration_is_explained_as_one() -> None:
    refused = {"ago": 5, "method": "REGISTER", "from": "10.0.0.6:5060 tcp", "wanted": "anna", "status": 404}
    report = {"refused": [{**refused, "reason": "Not Found", "agent": ""}]}
    said = rows(report=report, health=HEALTH)["refused 5 s ago"].found
    assert "nobody serves that number" not in said
    assert "domain: under sip:" in said


def test_a_trunk_file_that_can_not_be_used_with_the_gateway_down(tmp_path: Path) -> None:
    file = tmp_path / "trunks.yaml"
    file.write_text("trunks: {a: {server: h, transprot: udp}}\n")
    found = rows(replace(QUIET, trunks=file))["trunks"]
    assert not found.ok
    assert "trunks.yaml:1:" in found.found
    assert "transprot" in found.found
    file.write_text("trunks: {a: {server: h}}\n")
    assert rows(replace(QUIET, trunks=file))["trunks"] == Row("trunks", True, f"1 in {file}")
    assert not rows(replace(QUIET, trunks=tmp_path / "none.yaml"))["trunks"].ok


def test_a_receive_buffer_that_the_kernel_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    what = "receive buffer of SIP over UDP"
    monkeypatch.setattr(doctor_sip, "receive_buffer", lambda: (212_992, 4 << 20))
    found = rows()[what]
    assert (found.ok, found.optional) == (False, True)
    assert found.found.startswith("208 KB of 4096: ")
    assert "net.core.rmem_max=4194304" in found.found
    monkeypatch.setattr(doctor_sip, "receive_buffer", lambda: (4 << 20, 4 << 20))
    assert rows()[what] == Row(what, True, "4096 KB", optional=True)
    monkeypatch.undo()
    assert what in rows()


def test_where_none_runs_it_says_how_one_is_started() -> None:
    found = rows()
    assert "trunkline run" in found["gateway"].found
    assert found["gateway"].optional
    assert "phones" not in found


def test_passwords_that_everybody_knows(tmp_path: Path) -> None:
    agents = tmp_path / "agents.yaml"
    agents.write_text("agents:\n  anna: {password: anna-demo-2611}\n  omar: {password: of-his-own}\n")
    (row,) = doctor_sip._passwords(GatewayConfig(agents=agents, sip=SipListen.at("0.0.0.0", 5060)))
    assert row.found.startswith("anna have")
    assert list(doctor_sip._passwords(GatewayConfig(agents=agents, sip=SipListen.at("127.0.0.1", 5060)))) == []


@pytest.fixture
def served() -> Iterator[tuple[dict[str, tuple[int, bytes]], tuple[str, int]]]:
    """An HTTP server with answers by path."""
    answers: dict[str, tuple[int, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            return None

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield answers, ("127.0.0.1", server.server_port)
    server.shutdown()
    server.server_close()


def test_the_gateway_is_asked_over_http(served: tuple[dict[str, tuple[int, bytes]], tuple[str, int]]) -> None:
    answers, where = served
    answers["/healthz"] = 503, json.dumps(HEALTH).encode()
    assert doctor_sip.ask_gateway(where, "/healthz") == HEALTH
    assert doctor_sip.ask_gateway(("0.0.0.0", where[1]), "/healthz") == HEALTH
    for answer in ((200, b"hello"), (200, b"[1]"), (500, b"oops")):
        answers["/x"] = answer
        assert doctor_sip.ask_gateway(where, "/x") is None
    assert doctor_sip.ask_gateway(("127.0.0.1", 1), "/healthz") is None
