"""The HTTP side over real sockets on the loopback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import gateway
from gateway.core.errors import PortBusy
from gateway.desk.http import Health, Server, _is_here, make_app, serve

HEALTHY = Health(ok=True, node="node-a", active_calls=2, checks={"recognizer": "ok"})


class Desk:
    """A served app whose health a test may change."""

    health = HEALTHY
    server: Server

    async def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        first, *lines = head.decode().split("\r\n")
        return int(first.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    metrics = (b"trunkline_calls_active 2.0\n", "text/plain; version=0.0.4")
    app = make_app(lambda: made.health, lambda: metrics, lambda: {"phones": []})
    made.server = await serve(app, "127.0.0.1", 0)
    yield made
    await made.server.close()


async def test_healthz_tells_node_version_and_checks(desk: Desk) -> None:
    status, headers, body = await desk.get("/healthz")
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {
        "ok": True,
        "draining": False,
        "node": "node-a",
        "version": gateway.__version__,
        "active_calls": 2,
        "checks": {"recognizer": "ok"},
    }


async def test_sip_is_told_to_this_machine_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    status, headers, body = await desk.get("/sip")
    assert (status, json.loads(body)) == (200, {"phones": []})
    assert headers["cache-control"] == "no-store"
    monkeypatch.setattr("gateway.desk.http._is_here", lambda host: host != "127.0.0.1")
    status, _, body = await desk.get("/sip")
    assert status == 403
    assert b"phones" not in body


@pytest.mark.parametrize(
    ("host", "here"), [("127.0.0.1", True), ("::1", True), ("10.0.0.1", False), ("", False), ("localhost", False)]
)
def test_which_client_is_this_machine(host: str, here: bool) -> None:
    assert _is_here(host) is here


@pytest.mark.parametrize("health", [replace(HEALTHY, draining=True), replace(HEALTHY, ok=False)])
async def test_healthz_is_503_while_no_new_call_is_welcome(desk: Desk, health: Health) -> None:
    desk.health = health
    status, _, body = await desk.get("/healthz")
    assert status == 503
    assert json.loads(body)["ok"] is False
    assert json.loads(body)["draining"] is health.draining


async def test_metrics_are_prometheus_text(desk: Desk) -> None:
    status, headers, body = await desk.get("/metrics")
    assert (status, headers["content-type"], body) == (
        200,
        "text/plain; version=0.0.4",
        b"trunkline_calls_active 2.0\n",
    )


async def test_other_paths_and_methods_are_refused(desk: Desk) -> None:
    assert (await desk.get("/"))[0] == 404
    assert (await desk.get("/metrics", "POST"))[0] == 405


async def test_garbage_gets_an_answer_and_the_next_request_is_served(desk: Desk) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.server.port)
    writer.write(b"\x16\x03\x01 not http at all \r\n\r\n")
    assert b"400" in (await reader.read()).split(b"\r\n")[0]
    writer.close()
    assert (await desk.get("/healthz"))[0] == 200


async def test_a_busy_port_says_which_and_by_whom(desk: Desk) -> None:
    with pytest.raises(PortBusy) as caught:
        await serve(make_app(lambda: HEALTHY, lambda: (b"", "")), "127.0.0.1", desk.server.port)
    assert f"127.0.0.1:{desk.server.port}" in str(caught.value)
    assert f"pid {os.getpid()}" in str(caught.value)
    assert "--http" in str(caught.value)


async def test_an_address_that_is_not_ours_is_named() -> None:
    with pytest.raises(PortBusy, match=r"192\.0\.2\.1"):
        await serve(make_app(lambda: HEALTHY, lambda: (b"", "")), "192.0.2.1", 0)


async def test_closing_gives_the_port_back_and_signals_stay_the_gateways() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    server = await serve(make_app(lambda: HEALTHY, lambda: (b"", "")), "127.0.0.1", 0)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    await server.close()
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", server.port))
