"""Bare connections to a running endpoint, and what most tests of connections need."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping

from gateway.sip import offer_answer
from gateway.sip.config import Trunk
from gateway.sip.edge import Listen
from gateway.sip.events import CallOffered, SipEvent
from gateway.sip.message import parse
from tests.sip.peers import Running

LOOPBACK = Trunk("loopback", ("127.0.0.0/8", "::1"))
TCP = Listen("tcp", "127.0.0.1")
OPEN = {"trunks": (LOOPBACK,), "destinations": ("8000",)}


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if true():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError("it did not happen")


@contextlib.asynccontextmanager
async def running(*listen: Listen, **config: object) -> AsyncIterator[Running]:
    node = await Running.start(*listen, **config)
    try:
        yield node
    finally:
        await node.edge.close(patience=0.5)


def counters(node: Running) -> Mapping[str, int]:
    return node.edge.endpoint.counters


def options(port: int, call: str = "1", via: str = "127.0.0.1:9", length: bool = True) -> bytes:
    text = f"OPTIONS sip:127.0.0.1:{port} SIP/2.0\r\nVia: SIP/2.0/TCP {via};branch=z9hG4bK{call};rport\r\n"
    text += (
        f"From: <sip:a@b>;tag=1\r\nTo: <sip:127.0.0.1>\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n"
    )
    return f"{text}{'Content-Length: 0' if length else 'X: y'}\r\n\r\n".encode()


class Peer:
    """A bare connection to a port of ours."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext | None = None, name: str | None = None) -> Peer:
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name))

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, str]:
        """Status and Call-ID of the next response; it has no body."""
        async with asyncio.timeout(20):
            response = parse(await self.reader.readuntil(b"\r\n\r\n"))
        return response.status, response.call_id

    async def ended(self) -> bytes:
        """What came until the other side closed."""
        async with asyncio.timeout(20):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        self.writer.close()


def answering(node: Running) -> None:
    """It answers every call."""

    def answer(event: SipEvent) -> None:
        if isinstance(event, CallOffered):
            node.edge.answer(event.call, offer_answer.answer(event.offer, "127.0.0.1", 6002))

    node.on_event = answer
