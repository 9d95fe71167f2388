"""Requests and responses written out, for tests that speak to an endpoint without one of ours at the other end."""

from __future__ import annotations

from gateway.sip.message import Request, Response
from gateway.sip.place import Place
from tests.sip.wire import Node, Wire, peek

PHONE = Place("10.0.0.9", 5060)
SDP = (
    "v=0\r\no=a 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n"
    "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def request(
    method: str,
    *,
    uri: str = "sip:8000@10.0.0.2",
    branch: str = "z9hG4bKaaa",
    cseq: int = 1,
    call_id: str = "call-1",
    tag: str = "phone",
    to_tag: str = "",
    body: str = "",
    kind: str = "application/sdp",
    drop: tuple[str, ...] = (),
    **more: str,
) -> bytes:
    """A request as text. `drop` leaves headers out; other keywords add or replace some (`Max_Forwards="0"`)."""
    headers = {
        "Via": f"SIP/2.0/UDP 10.0.0.9:5060;branch={branch}",
        "Max-Forwards": "70",
        "From": f"<sip:1001@10.0.0.9>;tag={tag}",
        "To": f"<{uri}>" + (f";tag={to_tag}" if to_tag else ""),
        "Call-ID": call_id,
        "CSeq": f"{cseq} {method}",
        "Contact": "<sip:1001@10.0.0.9:5060>",
    }
    if body:
        headers["Content-Type"] = kind
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if name not in drop]
    text = "\r\n".join([f"{method} {uri} SIP/2.0", *lines, f"Content-Length: {len(body)}", "", body])
    return text.encode("utf-8", "surrogateescape")


def invite(**more: object) -> bytes:
    return request("INVITE", **{"body": SDP, **more})


def ask(wire: Wire, node: Node, data: bytes, wait: float = 0.05, source: Place = PHONE) -> list[Request | Response]:
    """Sends from `source` and gives everything that came back there."""
    wire.raw[source] = []
    node.endpoint.receive(data, source, wire.now)
    wire.collect(node)
    wire.run(wait)
    return [peek(item) for item in wire.raw.get(source, [])]


def status(wire: Wire, node: Node, data: bytes) -> int:
    """The status of the one answer."""
    answers = ask(wire, node, data)
    assert len(answers) == 1, answers
    assert isinstance(answers[0], Response)
    return answers[0].status


def reply(to: Request, code: int, tag: str = "peer", body: str = "", **more: str) -> bytes:
    """A response to a request of the endpoint's."""
    lines = [f"{name}: {value}" for name, value in to.headers if name in ("Via", "From", "Call-ID", "CSeq")]
    lines.append(f"To: {to.get('To')}" + ("" if to.to.tag or not tag else f";tag={tag}"))
    if "Contact" not in more:
        lines.append("Contact: <sip:peer@10.0.0.9:5060>")
    if body:
        lines.append("Content-Type: application/sdp")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return "\r\n".join([f"SIP/2.0 {code} Whatever", *lines, f"Content-Length: {len(body)}", "", body]).encode(
        "utf-8", "surrogateescape"
    )
