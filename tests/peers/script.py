"""sipp scenarios written step by step: one side of a dialog, as the caller or as the phone that is called.

`[contact]` is the port of sipp's own Contact (`-key contact PORT`).

caller: invite(), hears("200"), ack(), ask("BYE"), hears("200").  phone: called(), answer(200, SDP), hears("ACK").
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

_numbers = count(1)


def sdp(version: int = 1, direction: str = "sendrecv", port: str = "[media_port]") -> str:
    """A description of one G.711 stream."""
    lines = ["v=0", f"o=sipp 1 {version} IN IP4 [local_ip]", "s=-", "c=IN IP4 [local_ip]", "t=0 0"]
    return "\n".join([*lines, f"m=audio {port} RTP/AVP 0", "a=rtpmap:0 PCMU/8000", f"a={direction}", ""])


SDP = sdp()
HELD = sdp(2, "sendonly")


def _send(lines: list[str], body: str, retrans: int = 0, lost: int = 0) -> str:
    if body:
        lines = [*lines, "Content-Type: application/sdp"]
    text = "\n".join([*lines, "Content-Length: [len]", "", body])
    named = (f' retrans="{retrans}"' if retrans else "") + (f' lost="{lost}"' if lost else "")
    return f"<send{named}><![CDATA[\n{text}\n]]></send>"


_SAVED = {"via": "Via:", "caller": "From:", "callee": "To:", "cseq": "CSeq:", "rseq": "RSeq:"}
INVITED = ("via", "caller", "callee", "cseq")


def hears(
    what: str, *checks: str, optional: bool = False, lost: int = 0, ms: int = 0, saves: Sequence[str] = ()
) -> str:
    """Waits for a request (a method) or a response (a status); each of `checks` has to be found in it. `lost` of a
    hundred are passed over. `ms`: fails when it does not come in time. `saves`: headers kept for later, as [$name]."""
    named = f'request="{what}"' if what.isalpha() else f'response="{what}"'
    named += ' optional="true"' if optional else ' rrs="true"'
    named += (f' lost="{lost}"' if lost else "") + (f' timeout="{ms}"' if ms else "")
    actions = "".join(
        f'<ereg regexp=".*" search_in="hdr" header="{_SAVED[name]}" assign_to="{name}"/>' for name in saves
    )
    for check in checks:
        name = f"v{next(_numbers)}"
        actions += f'<ereg regexp="{check}" search_in="msg" check_it="true" assign_to="{name}"/>'
    return f"<recv {named}>" + (f"<action>{actions}</action>" if actions else "") + "</recv>"


def wait(ms: int) -> str:
    return f'<pause milliseconds="{ms}"/>'


# --- as the caller ------------------------------------------------------------------------------------------------

_BRANCH = "z9hG4bKinvite[pid]x[call_number]"


def ask(
    method: str,
    cseq: int,
    *headers: str,
    body: str = "",
    uri: str = "[next_url]",
    branch: str = "[branch]",
    to: str = "[peer_tag_param]",
    lost: int = 0,
    hops: int = 70,
) -> str:
    """A request of the caller's."""
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch};rport",
        *(["[routes]"] if uri == "[next_url]" else []),
        "From: <sip:1001@[local_ip]:[local_port]>;tag=[pid]c[call_number]",
        f"To: <sip:[service]@[remote_ip]:[remote_port]>{to}",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:1001@[local_ip]:[contact]>",
        f"Max-Forwards: {hops}",
        *headers,
    ]
    return _send(lines, body, 0 if method == "ACK" else 500, lost)


_CALLED = "sip:[service]@[remote_ip]:[remote_port]"


def invite(*headers: str, body: str = SDP, lost: int = 0) -> str:
    """The INVITE that begins the call."""
    return ask("INVITE", 1, *headers, body=body, uri=_CALLED, branch=_BRANCH, to="", lost=lost)


def cancel(cseq: int = 1, branch: str = _BRANCH, to: str = "", uri: str = _CALLED) -> str:
    return ask("CANCEL", cseq, uri=uri, branch=branch, to=to)


def ack(cseq: int = 1, body: str = "", lost: int = 0) -> str:
    """ACK for a 2xx."""
    return ask("ACK", cseq, body=body, lost=lost)


def nack(cseq: int = 1, branch: str = _BRANCH, uri: str = _CALLED) -> str:
    """ACK for a refusal."""
    return ask("ACK", cseq, uri=uri, branch=branch)


def ok(*headers: str, code: str = "200 OK", body: str = "") -> str:
    """The response to the request that came last."""
    copied = [f"[last_{name}:]" for name in ("Via", "From", "To", "Call-ID", "CSeq")]
    return _send([f"SIP/2.0 {code}", *copied, "Contact: <sip:sipp@[local_ip]:[contact]>", *headers], body)


def hung_up(cseq: int = 2) -> list[str]:
    return [ask("BYE", cseq), hears("200")]


TRYING = hears("100", optional=True)

# --- as the phone -------------------------------------------------------------------------------------------------


def called(*checks: str) -> str:
    """An INVITE comes in; what it said is kept for the answers to it."""
    return hears("INVITE", *checks, saves=INVITED)


def answer(
    code: str, body: str = "", *headers: str, tag: str = ";tag=[pid]p[call_number]", retrans: int = 0, lost: int = 0
) -> str:
    """A response to the INVITE that came last. `tag` is empty inside a dialog."""
    lines = [f"SIP/2.0 {code}", "Via:[$via]", "From:[$caller]", f"To:[$callee]{tag}", "Call-ID: [call_id]"]
    lines += ["CSeq:[$cseq]", "Contact: <sip:phone@[local_ip]:[contact]>", *headers]
    return _send(lines, body, retrans, lost)


def phone_asks(method: str, cseq: int, *headers: str, body: str = "") -> str:
    """A request of the phone's inside the dialog."""
    lines = [
        f"{method} [next_url] SIP/2.0",
        "Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport",
        "From:[$callee];tag=[pid]p[call_number]",
        "To:[$caller]",
        "Call-ID: [call_id]",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:phone@[local_ip]:[contact]>",
        "Max-Forwards: 70",
        *headers,
    ]
    return _send(lines, body, 0 if method == "ACK" else 500)


def write(folder: Path, name: str, steps: list[str]) -> None:
    """The scenario as scenario.xml in a new folder."""
    body = "\n".join(steps)
    used = [f"v{n}" for n in range(1, next(_numbers)) if f'assign_to="v{n}"' in body]
    used += [key for key in _SAVED if f'assign_to="{key}"' in body]
    reference = f'<Reference variables="{",".join(used)}"/>' if used else ""
    head = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
    folder.mkdir()
    (folder / "scenario.xml").write_text(f'{head}<scenario name="{name}">\n{body}\n{reference}\n</scenario>\n')
