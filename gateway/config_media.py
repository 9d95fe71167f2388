"""Reads what gateway.yaml and agents.yaml say of media: addresses, ports, codecs, SRTP."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.flow.fields import Fields, Report, text_of
from gateway.flow.nodes import Node
from gateway.media import host
from gateway.sip.codecs import CODECS
from gateway.sip.crypto import POLICIES, REQUIRED, SUITES
from gateway.sip.uri import ip_of


def media_address(f: Fields, report: Report) -> str:
    text: str = f.text("address", "auto")
    if text != "auto" and ip_of(text) is None:
        report.add("address of media can't be used", f.mark("address"), read=text, expected="auto or an IP address")
    return text


def ports(f: Fields, report: Report, default: tuple[int, int]) -> tuple[int, int]:
    text: str = f.text("ports", "")
    if not text:
        return default
    first, _, last = text.partition("-")
    if (first + last).isascii() and first.isdigit() and last.isdigit() and 1024 <= int(first) < int(last) <= 65535:
        return int(first), int(last)
    report.add(
        "ports of media can't be used", f.mark("ports"), read=text, expected="such as 20000-29998, within 1024-65535"
    )
    return default


def codecs(nodes: Iterable[Node], report: Report) -> tuple[str, ...]:
    """Names of codecs in order of liking, each known and to be had on this machine."""
    found: list[str] = []
    for node in nodes:
        name = text_of(node) or node.shown()
        if name not in CODECS:
            report.unknown("codec", name, CODECS, node.mark)
        elif missing := host.codec_missing(name):
            report.add(f"codec {name} can't be used on this machine", node.mark, read=name, do=missing)
        elif name not in found:
            found.append(name)
    return tuple(found)


def srtp(f: Fields, report: Report, default: str) -> str:
    """Whether media is encrypted; it can't have to be where the machine has no profile."""
    policy: str = f.choice("srtp", POLICIES, default)
    missing = [why for suite in SUITES if (why := host.srtp_missing(suite))]
    if policy == REQUIRED and len(missing) == len(SUITES):
        report.add(f"srtp of {f.what} can't be used on this machine", f.mark("srtp"), read=policy, do=missing[0])
    return policy
