"""Calls set up and torn down by the whole gateway: how many a second, what each costs, what is lost on the way.

    trunkline bench sip-calls [--rate 200] [--calls 6000] [--hold 0.3] [--lost 0] [--one-core]

sipp calls the IVR (INVITE, 200, ACK, some RTP from the gateway, BYE) at a steady rate; the gateway is a process of its
own with the shipped bank flow, recordings and records on. CPU is that of the gateway's threads alone, user and system,
read from the kernel. `--lost` drops that share of SIP messages at sipp, both ways. At the end nothing may be left: no
call, no leg, no port, no file.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.calls50 import costs
from gateway.lab import stage

SETTLED_S = 45.0
"""How long after the last call everything must be gone: 64*T1 and some."""

SCENARIO = """<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="calls">
<send retrans="500"><![CDATA[
INVITE sip:1001@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: "Caller" <sip:+4930[call_number]@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:1001@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:caller@[local_ip]:[local_port]>
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK
User-Agent: sipp
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [local_ip]
t=0 0
m=audio [media_port] RTP/AVP 0 8 101
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=ptime:20
]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="183" optional="true"/>
<recv response="503" optional="true" next="2"/>
<recv response="200" rrs="true" rtd="true"/>
<send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: "Caller" <sip:+4930[call_number]@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:1001@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

]]></send>
<pause milliseconds="{hold}"/>
<send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch];rport
Max-Forwards: 70
From: "Caller" <sip:+4930[call_number]@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:1001@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 2 BYE
Content-Length: 0

]]></send>
<recv response="200"/>
<nop next="3"/>
<label id="2"/>
<send><![CDATA[
ACK sip:1001@[remote_ip]:[remote_port] SIP/2.0
[last_Via:]
Max-Forwards: 70
From: "Caller" <sip:+4930[call_number]@[local_ip]:[local_port]>;tag=[pid]c[call_number]
To: <sip:1001@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

]]></send>
<label id="3"/>
</scenario>
"""


@dataclass
class Outcome:
    """What one run came to. CPU in milliseconds a call, by thread; times in seconds."""

    calls: int
    good: int
    failed: int
    retransmitted: int
    rate: float
    set_up_ms: float
    cpu_ms: float
    loop_ms: float
    media_ms: float
    others_ms: float
    left: dict[str, int]


def figures(gateway: stage.GatewayProcess) -> dict[str, float]:
    """The gateway's own metrics, those without labels and its SIP counters."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{gateway.http_port}/metrics", timeout=30).read().decode()
    lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


def standing(gateway: stage.GatewayProcess) -> dict[str, int]:
    """What calls hold while they last."""
    now = figures(gateway)
    files = Path(f"/proc/{gateway.process.pid}")
    udp = {f"socket:[{row.split()[9]}]" for row in (files / "net" / "udp").read_text().splitlines()[1:]}
    held = []
    for fd in (files / "fd").iterdir():
        with suppress(OSError):
            held.append(os.readlink(fd))
    return {
        "calls": int(now.get("trunkline_calls_active", 0)),
        "ports": sum(name in udp for name in held),
        "recordings": sum("/recordings/" in name for name in held),
    }


def sipp(folder: Path, gateway: stage.GatewayProcess, chosen: argparse.Namespace) -> list[str]:
    (folder / "calls.xml").write_text(SCENARIO.replace("{hold}", str(round(chosen.hold * 1000))))
    command = ["sipp", "-sf", "calls.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-nostdin", "-trace_stat", "-fd", "1"]
    command += ["-stf", "stat.csv", "-trace_err", "-error_file", "errors.log", "-max_socket", "10"]
    command += ["-r", str(chosen.rate), "-m", str(chosen.calls), "-l", str(chosen.rate * 60), "-max_retrans", "10"]
    command += ["-timeout", str(round(chosen.calls / chosen.rate + 120)), "-skip_rlimit"]
    if chosen.lost:
        command += ["-lost", str(chosen.lost)]
    return [*command, gateway.sip]


def last_row(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))[-1]


def spent(pid: int) -> dict[str, float]:
    """CPU seconds by kind of thread so far."""
    sums = {"loop": 0.0, "media": 0.0, "others": 0.0}
    for cost in costs("gateway", pid, False).values():
        name = cost.thread
        sums["loop" if name == "main" else "others"] += cost.seconds
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            if (task / "comm").read_text().startswith("trunkline-media"):
                fields = (task / "stat").read_text().rpartition(")")[2].split()
                seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                sums["media"] += seconds
                sums["others"] -= seconds
        except OSError:
            continue
    return sums


def run(chosen: argparse.Namespace, data: Path) -> Outcome:
    """One run. Raises NotReady where the gateway does not start."""
    config = data / "bench.yaml"
    data.mkdir(parents=True, exist_ok=True)
    text = stage.CONFIG.read_text().replace("calls: 200 ", f"calls: {chosen.rate * 60} ")
    for name in ("agents.yaml", "trunks.yaml"):
        text = text.replace(f" {name}", f" {stage.CONFIG.parent / name}")
    config.write_text(text.replace("../ivr_flows", str(stage.ROOT / "ivr_flows")))
    with (
        tempfile.TemporaryDirectory() as scratch,
        stage.gateway(data, config=config, flows=[stage.ROOT / "ivr_flows" / "bank.yaml"]) as gateway,
    ):
        pid, folder = gateway.process.pid, Path(scratch)
        if chosen.one_core:
            subprocess.run(["taskset", "-a", "-p", "-c", "0", str(pid)], check=True, stdout=subprocess.DEVNULL)
        before, idle, counted = spent(pid), standing(gateway), figures(gateway)
        began = time.monotonic()
        command = (["taskset", "-c", "1"] if chosen.one_core else []) + sipp(folder, gateway, chosen)
        code = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        took = time.monotonic() - began
        after = spent(pid)
        limit = time.monotonic() + SETTLED_S
        while (now := standing(gateway)) != idle and time.monotonic() < limit:
            time.sleep(0.5)
        row = last_row(folder / "stat.csv")
        if code not in (0, 1):
            print((folder / "errors.log").read_text(errors="replace")[-2000:], file=sys.stderr)
        counters = figures(gateway)
        again = 'trunkline_sip_total{what="retransmitted"}'
        each = {name: 1000 * (after[name] - before[name]) / chosen.calls for name in after}
        return Outcome(
            chosen.calls,
            int(row["SuccessfulCall(C)"]),
            int(row["FailedCall(C)"]),
            int(row["Retransmissions(C)"]) + int(counters.get(again, 0) - counted.get(again, 0)),
            chosen.calls / took,
            1000 * seconds(row.get("ResponseTime1(C)", "")),
            sum(each.values()),
            each["loop"],
            each["media"],
            each["others"],
            {name: now[name] - idle[name] for name in idle},
        )


def seconds(text: str) -> float:
    """`00:00:00:001234` of sipp's statistics."""
    parts = text.split(":")
    return sum(float(part) * scale for part, scale in zip(parts, (3600, 60, 1, 1e-6), strict=False)) if text else 0.0


def main() -> None:
    """Run it once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="calls a second")
    parser.add_argument("--calls", type=int, default=6000)
    parser.add_argument("--hold", type=float, default=0.3, help="seconds from ACK to BYE")
    parser.add_argument("--lost", type=int, default=0, help="percent of SIP messages lost, both ways")
    parser.add_argument("--one-core", action="store_true", help="the gateway on core 0, sipp on core 1")
    parser.add_argument("--data", type=Path, help="keep the gateway's folder (and its rendered prompts) here")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if not shutil.which("sipp"):
        sys.exit("sipp is not installed: apt-get install sip-tester")
    with tempfile.TemporaryDirectory() as scratch:
        found = run(chosen, chosen.data or Path(scratch))
    if chosen.json:
        print(json.dumps(asdict(found)))
        return
    table = Table(title=f"{found.calls:,} calls at {chosen.rate}/s, {chosen.lost}% of SIP lost", show_header=False)
    table.add_row("calls that went as they should", f"{found.good:,} of {found.calls:,}, {found.failed:,} failed")
    table.add_row("messages sent again, both sides", f"{found.retransmitted:,}")
    table.add_row("INVITE to 200, mean", f"{found.set_up_ms:.2f} ms")
    table.add_row("CPU a call, whole gateway", f"{found.cpu_ms:.2f} ms")
    table.add_row("  asyncio thread", f"{found.loop_ms:.2f} ms")
    table.add_row("  media threads", f"{found.media_ms:.2f} ms")
    table.add_row("  records, recordings, others", f"{found.others_ms:.2f} ms")
    table.add_row("left afterwards", ", ".join(f"{name} {count}" for name, count in found.left.items()))
    Console().print(table)


if __name__ == "__main__":
    main()
