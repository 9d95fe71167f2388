"""Health and metrics over HTTP, served inside the gateway's own asyncio loop."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import gateway
from gateway.core.errors import PortBusy
from gateway.desk.ports import who_listens


@dataclass(frozen=True, slots=True)
class Health:
    """How the gateway is. `ok`: new calls are served; `draining`: running calls end, no new one is taken; `checks`:
    each part's state in a word or a sentence, such as {"recognizer": "ok", "records": "disk full"}."""

    ok: bool
    node: str
    draining: bool = False
    active_calls: int = 0
    checks: Mapping[str, str] = field(default_factory=dict)


def make_app(
    health: Callable[[], Health],
    metrics: Callable[[], tuple[bytes, str]],
    sip: Callable[[], Mapping[str, object]] = dict,
) -> Starlette:
    """`/healthz` (JSON; 200 where new calls are welcome, else 503), `/metrics` (Prometheus text) and `/sip` (JSON:
    phones, trunks, who was refused and why), which only this machine is told.

    `metrics` gives the text and its content type. All are called on the event loop and must not block.
    """

    async def healthz(_: Request) -> Response:
        now = health()
        body = {
            "ok": now.ok and not now.draining,
            "draining": now.draining,
            "node": now.node,
            "version": gateway.__version__,
            "active_calls": now.active_calls,
            "checks": dict(now.checks),
        }
        return JSONResponse(body, 200 if body["ok"] else 503, headers={"cache-control": "no-store"})

    async def prometheus(_: Request) -> Response:
        text, content_type = metrics()
        return Response(text, headers={"content-type": content_type})

    async def signalling(request: Request) -> Response:
        if request.client is None or not _is_here(request.client.host):
            return JSONResponse({"error": "only this machine is told"}, 403)
        return JSONResponse(dict(sip()), headers={"cache-control": "no-store"})

    return Starlette(routes=[Route("/healthz", healthz), Route("/metrics", prometheus), Route("/sip", signalling)])


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Server:
    """A running HTTP server. `port` is the one that was taken, also when 0 was asked for."""

    def __init__(self, server: uvicorn.Server, host: str, port: int, task: asyncio.Task[None]) -> None:
        self._server = server
        self.host = host
        self.port = port
        self._task = task

    async def close(self) -> None:
        """Finish the requests that run (for a second at most) and give the port back."""
        self._server.should_exit = True
        await asyncio.gather(self._task, return_exceptions=True)


class _Quiet(uvicorn.Server):
    """uvicorn without its signal handlers: the gateway decides what Ctrl-C does."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: ASGIApp, host: str, port: int) -> Server:
    """Listen on TCP `host`:`port` (0: the system chooses) and serve `app` until `close`. Raises PortBusy."""
    listening = _listen(host, port)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1)
    server = _Quiet(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:
        if task.done():
            listening.close()
            await task
            raise PortBusy(f"the HTTP server on {host}:{port} did not start")
        await asyncio.sleep(0.005)
    return Server(server, host, listening.getsockname()[1], task)


def _listen(host: str, port: int) -> socket.socket:
    listening = None
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, proto)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        if listening is not None:
            listening.close()
        holder = who_listens(port) if port else None
        raise PortBusy(
            f"HTTP can't listen on {host}:{port}: {error.strerror}",
            read=f"held by {holder}" if holder else None,
            do="stop that program, or choose another address with --http HOST:PORT",
        ) from error
    listening.setblocking(False)
    return listening
