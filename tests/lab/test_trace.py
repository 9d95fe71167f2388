"""`trunkline trace`: the ladder, and a pcap that our own reader, tcpdump and Wireshark agree on."""

from __future__ import annotations

import ipaddress
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gateway.core.errors import StoreError
from gateway.lab.pcap import pcap
from gateway.lab.trace import draw, ladder, short, show
from gateway.observe.trace import Trace, Tracer
from gateway.observe.trace_files import Line, TraceFiles
from gateway.sip.place import Place
from tests.peers.programs import need

HERE = ("10.0.0.2", 5060)
CALLER = ("10.0.0.9", 5062)
AGENT = ("10.0.0.7", 40000)


def sip(start: str, cseq: str = "1 INVITE", sdp: str = "") -> bytes:
    kind = "Content-Type: application/sdp\r\n" if sdp else ""
    return (
        f"{start}\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\n"
        f"Call-ID: a1\r\nCSeq: {cseq}\r\n{kind}Content-Length: {len(sdp)}\r\n\r\n{sdp}"
    ).encode()


def line(at: float, sent: bool, peer: tuple[str, int], data: bytes, transport: str = "udp", local=HERE) -> Line:
    return Line(1_700_000_000 + at, sent, transport, peer, local, data)


SDP = "v=0\r\nm=audio 4000 RTP/AVP 0\r\na=sendonly\r\n"
CALL = (
    line(0.0, False, CALLER, sip("INVITE sip:8000@10.0.0.2 SIP/2.0", sdp=SDP)),
    line(0.0012, True, CALLER, sip("SIP/2.0 100 Trying")),
    line(0.5, False, CALLER, sip("INVITE sip:8000@10.0.0.2 SIP/2.0", sdp=SDP)),
    line(0.6, True, CALLER, sip("SIP/2.0 200 OK", sdp=SDP.replace("sendonly", "recvonly"))),
    line(1.0, True, AGENT, sip("INVITE sip:anna@10.0.0.7:40000;transport=tcp SIP/2.0"), "tcp"),
    line(1.1, False, AGENT, sip("SIP/2.0 486 Busy Here"), "tcp"),
    line(2.0, True, CALLER, sip("BYE sip:a@10.0.0.9 SIP/2.0", "2 BYE")),
    line(2.0014, False, CALLER, sip("SIP/2.0 200 OK", "2 BYE")),
)


def test_the_ladder_of_a_call() -> None:
    text = "\n".join(line.plain.rstrip() for line in draw(ladder(CALL)))
    assert text == (Path(__file__).parent / "ladder.txt").read_text().rstrip("\n"), text


def test_a_message_in_a_few_words() -> None:
    assert short(sip("ACK sip:x@y SIP/2.0", "1 ACK")) == "ACK"
    assert short(sip("SIP/2.0 200 OK", "3 UPDATE")) == "200 OK (UPDATE)"
    assert short(sip("REFER sip:x@y SIP/2.0", "1 REFER")) == "REFER sip:x@y"
    assert short(b"") == ""
    assert short(b"SIP/2.0 200 O\x1b[31mK\r\n\r\n") == "200 O?[31mK (?)"


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([CALLER, AGENT]), st.binary(max_size=60)), max_size=20))
def test_any_messages_can_be_drawn_and_written(messages: list[tuple[bool, tuple[str, int], bytes]]) -> None:
    lines = [line(n, sent, peer, data, "tcp") for n, (sent, peer, data) in enumerate(messages)]
    widths = {len(text.plain) for text in draw(ladder(lines))[1:]}
    assert len(widths) <= 1
    assert b"".join(data for _, _, _, data in read_pcap(pcap(lines))) == b"".join(data for _, _, data in messages)


# --- pcap ---------------------------------------------------------------------------------------------------------


def read_pcap(data: bytes) -> list[tuple[float, tuple[str, int], tuple[str, int], bytes]]:
    """Time, source, target and payload of every packet that has one; checksums and TCP's numbers are checked."""
    magic, major, minor, _, _, _, kind = struct.unpack_from("<IHHiIII" if data[0] == 0xD4 else ">IHHiIII", data)
    assert (magic, major, minor, kind) == (0xA1B2C3D4, 2, 4, 101)
    at, found, next_seq = 24, [], {}
    while at < len(data):
        seconds, micros, size, whole = struct.unpack_from(">IIII", data, at)
        packet = data[at + 16 : at + 16 + size]
        assert size == whole == len(packet)
        at += 16 + size
        if packet[0] >> 4 == 4:
            assert total(packet[:20]) == 0xFFFF
            assert struct.unpack_from("!H", packet, 2)[0] == size
            protocol, ends, inner = packet[9], (packet[12:16], packet[16:20]), packet[20:]
        else:
            assert struct.unpack_from("!H", packet, 4)[0] == size - 40
            protocol, ends, inner = packet[6], (packet[8:24], packet[24:40]), packet[40:]
        assert total(ends[0] + ends[1] + struct.pack("!IHBB", len(inner), 0, 0, protocol) + inner) == 0xFFFF
        ports = struct.unpack_from("!HH", inner)
        source, target = ((str(ipaddress.ip_address(ip)), port) for ip, port in zip(ends, ports, strict=True))
        if protocol == 17:
            payload = inner[8:]
            assert struct.unpack_from("!H", inner, 4)[0] == len(inner)
        else:
            assert protocol == 6
            seq, ack, _, flags = struct.unpack_from("!IIBB", inner, 4)
            payload = inner[20:]
            assert seq == next_seq.get((source, target), 0)
            if flags != 0x02:
                assert ack == next_seq[target, source]
            next_seq[source, target] = seq + len(payload) + (flags & 0x02 and 1)
        if payload:
            found.append((seconds + micros / 1e6, source, target, payload))
    return found


def total(data: bytes) -> int:
    """Ones' complement sum of 16-bit words: all ones where the checksum in it is right."""
    data += b"\0" * (len(data) % 2)
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return value


V6 = (
    line(0.0, False, ("2001:db8::9", 5062), sip("OPTIONS sip:x SIP/2.0"), local=("2001:db8::2", 5060)),
    line(0.1, True, ("2001:db8::9", 5062), sip("SIP/2.0 200 OK", "1 OPTIONS"), local=("2001:db8::2", 5060)),
    line(0.2, True, ("2001:db8::7", 5062), sip("OPTIONS sip:x SIP/2.0"), "tcp", ("2001:db8::2", 5060)),
)


@pytest.mark.parametrize("lines", [CALL, V6])
def test_what_is_written_is_read_back(lines: tuple[Line, ...]) -> None:
    found = read_pcap(pcap(lines))
    assert [(round(at, 4), data) for at, _, _, data in found] == [(round(x.at, 4), x.data) for x in lines]
    for each, (_, source, target, _) in zip(lines, found, strict=True):
        assert (source, target) == ((each.local, each.peer) if each.sent else (each.peer, each.local))


def test_what_came_wrapped_goes_to_a_port_where_sip_is_looked_for() -> None:
    lines = [line(0.0, False, CALLER, CALL[0].data, kind, ("10.0.0.2", 5061)) for kind in ("tls", "wss")]
    assert [target for _, _, target, _ in read_pcap(pcap(lines))] == [("10.0.0.2", 5060)] * 2


def test_a_long_message_over_tcp_is_cut_into_segments_that_join() -> None:
    data = sip("INVITE sip:x SIP/2.0") + b"x" * 150_000
    found = read_pcap(pcap([line(0.0, False, CALLER, data, "tcp")]))
    assert len(found) == 3
    assert b"".join(payload for _, _, _, payload in found) == data


def test_tcpdump_reads_it(tmp_path: Path) -> None:
    program = need("tcpdump")
    (tmp_path / "call.pcap").write_bytes(pcap([*CALL, *V6]))
    ran = subprocess.run(
        [program, "-nn", "-vv", "-r", "call.pcap"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.count("SIP/2.0") >= len(CALL) + len(V6)
    assert ran.stdout.count("udp sum ok") == 8
    assert "bad" not in ran.stdout
    assert "incorrect" not in ran.stdout


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed; tcpdump stands in for it in CI")
def test_wireshark_reads_it(tmp_path: Path) -> None:
    wrapped = line(3.0, False, CALLER, CALL[0].data, "wss", ("10.0.0.2", 8443))
    (tmp_path / "call.pcap").write_bytes(pcap([*CALL, *V6, wrapped]))
    fields = ["-T", "fields", "-e", "sip.Request-Line", "-e", "sip.Status-Line"]
    command = ["tshark", "-r", "call.pcap", "-Y", "sip", "-d", "tcp.port==40000,sip", *fields]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert len(ran.stdout.splitlines()) == len(CALL) + len(V6) + 1, ran.stdout


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_the_ladder_and_writes_the_file(tmp_path: Path) -> None:
    tracer = Tracer(5)
    tracer.dialog("h", "a1")
    tracer.joined("h", "0197-call")
    for each in CALL:
        tracer.message(each.data, Place(*each.peer, each.transport), each.sent)
    tracer.finished("0197-call")
    (trace,) = tracer.take(1, 0.0)
    assert isinstance(trace, Trace)
    TraceFiles(tmp_path / "traces", 5, lambda peer: HERE).write(trace)
    console = Console(width=200, record=True, file=(tmp_path / "out").open("w"))
    written = show(tmp_path, "last", console)
    text = console.export_text()
    assert "Call 0197-call, 8 messages" in text
    assert "INVITE sip:8000@10.0.0.2" in text
    assert str(written) in text
    assert len(read_pcap(written.read_bytes())) == 8
    assert show(tmp_path, "0197", console, tmp_path / "mine.pcap") == tmp_path / "mine.pcap"
    for file in (written, tmp_path / "mine.pcap"):
        assert file.stat().st_mode & 0o777 == 0o600
    mine = tmp_path / "mine.pcap"
    mine.chmod(0o644)
    show(tmp_path, "0197", console, mine)
    assert mine.stat().st_mode & 0o777 == 0o600
    for nowhere in (tmp_path / "none" / "x.pcap", tmp_path):
        with pytest.raises(StoreError, match="the pcap can't be written") as raised:
            show(tmp_path, "last", console, nowhere)
        assert str(nowhere) in str(raised.value)
