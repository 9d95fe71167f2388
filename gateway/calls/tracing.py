"""Joins the messages of an edge to the calls of an exchange, for `trunkline trace`."""

from __future__ import annotations

from pathlib import Path

from gateway.calls.exchange import Exchange
from gateway.observe.trace import Tracer
from gateway.observe.trace_files import TraceFiles
from gateway.sip.edge import Edge


def trace_calls(exchange: Exchange, edge: Edge, folder: Path, keep: int) -> TraceFiles:
    """Writes the messages of every call to `folder` when it is over, until `close`. The newest `keep` stay there."""
    tracer = Tracer(keep)
    if keep:
        edge.on_message = tracer.message
        edge.endpoint.on_dialog(tracer.dialog)
        exchange.switchboard.on_called = lambda call, handle: tracer.joined(handle, call) if call else None
        exchange.on_finished = tracer.finished
    return TraceFiles(folder, keep, lambda peer: edge.endpoint.config.told(peer.transport, peer.ip)).follow(tracer)
