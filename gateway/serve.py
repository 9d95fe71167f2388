"""Runs a gateway from its start to its orderly end: signals, what it says of itself, how the process is tuned."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import threading
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from gateway.app import Gateway
from gateway.config import GatewayConfig
from gateway.core.ids import node_id
from gateway.observe import logs

READY_FILE = "TRUNKLINE_READY_FILE"
"""Environment variable: where to write {"sip": port, "http": port} once calls are taken."""


def _settle_memory() -> None:
    """What is loaded by now lives as long as the process: the collector need not look at it during calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _show_threads() -> None:
    """Gives threads their names where top, ps and perf look for them; the first one's is the process's and stays."""
    for thread in threading.enumerate():
        if thread is threading.main_thread():
            continue
        with contextlib.suppress(OSError):
            Path(f"/proc/self/task/{thread.native_id}/comm").write_text(thread.name[:15])


async def serve(config: GatewayConfig, *, console: Console, log_format: str = "console") -> None:
    """Runs a gateway until SIGINT or SIGTERM, which also end one that still loads; SIGHUP loads the flows anew."""
    logs.set_up("json" if log_format == "json" else "human", node=node_id())
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    gateway = Gateway(config, console)
    async with AsyncExitStack() as stack:
        if not await _unless(stop, gateway.open(stack)):
            console.print("Stopped before the first call was taken.")
            return
        _settle_memory()
        _show_threads()
        loop.add_signal_handler(signal.SIGHUP, lambda: loop.create_task(gateway.reload()))
        _announce(gateway, console)
        watching = loop.create_task(gateway.watch())
        await stop.wait()
        watching.cancel()
        console.print("Ending calls.")


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Does the work to its end, or gives it up when `stop` is set first. True when it is done."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False
    await working
    return True


def _announce(gateway: Gateway, console: Console) -> None:
    if ready := os.environ.get(READY_FILE):
        part = Path(ready).with_suffix(".part")
        ports = {"sip": gateway.sip.port, "ports": gateway.sip.ports, "http": gateway.http_port, "pid": os.getpid()}
        part.write_text(json.dumps(ports))
        part.replace(ready)
    listening = ", ".join(map(str, gateway.sip.listening))
    console.print(f"[green]Trunkline takes calls[/] on {listening}", highlight=False, soft_wrap=True)
    for trouble in gateway.sip.certificate_trouble(time.time()):
        console.print(f"[yellow]{trouble}[/]", highlight=False, soft_wrap=True)
    for number, to in gateway.exchange.numbers.items():
        console.print(
            f"  dial {number}: {to.flow}, {to.language or 'the caller chooses the language'}", highlight=False
        )
    names = ", ".join(a.id for a in gateway.roster.agents) or "none"
    console.print(
        f"  agents who may register: {names}; health and metrics: http://{gateway.config.http[0]}:{gateway.http_port}/healthz",
        highlight=False,
        soft_wrap=True,
    )
    console.print("  Ctrl-C ends it; calls are ended in order.", highlight=False)
