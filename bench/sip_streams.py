"""What SIP over streams costs: framing, TLS, WebSocket, handshakes, and the memory of connections that stand.

python -m bench.sip_streams [CONNECTIONS]
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from websockets.client import ClientProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from gateway.sip.certificates import Contexts
from gateway.sip.config import SipConfig
from gateway.sip.connections import ConnectionLimits
from gateway.sip.edge import Edge, Listen
from gateway.sip.endpoint import Endpoint
from gateway.sip.framing import FrameLimits, Framer
from gateway.sip.tls import Tls
from gateway.sip.websocket import WebSocket
from tests.sip.certs import Authority

INVITE = (
    b"INVITE sip:8000@192.0.2.1;transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.2:5060;branch=z9hG4bK776asd;rport\r\n"
    b'Max-Forwards: 70\r\nFrom: "Alice" <sip:alice@192.0.2.2>;tag=1928301774\r\nTo: <sip:8000@192.0.2.1>\r\n'
    b"Call-ID: a84b4c76e66710@192.0.2.2\r\nCSeq: 314159 INVITE\r\nContact: <sip:alice@192.0.2.2;transport=tcp>\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS\r\nUser-Agent: bench\r\nContent-Type: application/sdp\r\n"
    b"Content-Length: 220\r\n\r\n" + b"v=0\r\n" * 44
)


def each(what: str, run: Callable[[], object], times: int) -> None:
    """Prints the CPU time of one run, the best of five rounds."""
    best = 1e9
    for _ in range(5):
        began = time.process_time()
        for _ in range(times):
            run()
        best = min(best, (time.process_time() - began) / times)
    print(f"{what:<52} {best * 1e6:8.1f} us")


def formats(folder: Path) -> None:
    framer = Framer(lambda: "tag", FrameLimits())
    each(f"framing an INVITE of {len(INVITE)} bytes, whole", lambda: framer.feed(INVITE, 0.0), 20_000)
    parts = [INVITE[i : i + 100] for i in range(0, len(INVITE), 100)]
    each("framing it in pieces of 100 bytes", lambda: [framer.feed(part, 0.0) for part in parts], 5_000)
    contexts = Contexts(Authority(folder).certificate("sip.test"))

    def met() -> tuple[Tls, Tls]:
        assert contexts.server
        ours, theirs = Tls(contexts.server, server=True), Tls(contexts.client, server=False, name="sip.test")
        while not (ours.ready and theirs.ready):
            ours.receive(theirs.output)
            theirs.receive(ours.output)
        return ours, theirs

    each("TLS 1.3 handshake, both sides", met, 100)
    ours, theirs = met()
    each("TLS, INVITE there and back", lambda: (theirs.send(INVITE), ours.receive(theirs.output)), 5_000)
    wire, peer = WebSocket(FrameLimits()), ClientProtocol(parse_uri("ws://sip.test"), subprotocols=[Subprotocol("sip")])
    peer.send_request(peer.connect())
    wire.feed(b"".join(peer.data_to_send()), 0.0)
    peer.receive_data(wire.output)

    def framed() -> None:
        peer.send_text(INVITE)
        data = b"".join(peer.data_to_send())
        began.append(time.process_time())
        wire.feed(data, 0.0)
        spent.append(time.process_time() - began.pop())

    began: list[float] = []
    spent: list[float] = []
    for _ in range(10_000):
        framed()
    print(f"{'WebSocket, an INVITE in one frame (median)':<52} {sorted(spent)[5_000] * 1e6:8.1f} us")
    each("WebSocket, wrapping an answer", lambda: wire.wrap(INVITE), 10_000)


def memory() -> int:
    """Resident bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def standing(folder: Path, transport: str, many: int) -> None:
    """Connections that stand and do nothing, made by a process of their own, so that only our side is counted."""
    certificate = Authority(folder).certificate("127.0.0.1")
    limits = ConnectionLimits(total=many + 10, per_address=many + 10, first=600.0)
    config = SipConfig(certificate=certificate, connections=limits)
    edge = await Edge.open(Endpoint(config), [Listen(transport, "127.0.0.1")])
    before, began = memory(), time.process_time()
    code = f"import bench.sip_streams as b; b.crowd({transport!r}, {edge.port}, {many})"
    crowd = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE)
    for _ in range(1200):
        if edge.connections[transport] >= many:
            break
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    cpu = time.process_time() - began
    print(
        f"{many} connections over {transport:<30} {(memory() - before) / many / 1024:8.1f} KB each, "
        f"{cpu / many * 1e3:.2f} ms CPU each to accept"
    )
    crowd.kill()
    await crowd.wait()
    with contextlib.suppress(TimeoutError):
        await edge.close()


def crowd(transport: str, port: int, many: int) -> None:
    """The other side: connects and waits for its end."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    held = []
    for _ in range(many):
        sock = socket.create_connection(("127.0.0.1", port))
        held.append(context.wrap_socket(sock) if transport == "tls" else sock)
    time.sleep(600)


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        formats(Path(folder))
        for transport in ("tcp", "tls"):
            asyncio.run(standing(Path(folder), transport, many))


if __name__ == "__main__":
    main()
