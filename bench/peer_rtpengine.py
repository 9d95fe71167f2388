"""rtpengine (Debian) as the process under test: calls of two streams forwarded in user space, set up by ng commands.

It only forwards: no jitter buffer, no decoding, no detection. Stream 2k is sent to one side of call k and comes back
from the other. Its kernel module is not used (--table=-1). The daemon alone is counted.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

IP = "127.0.0.1"
PROGRAM = "rtpengine"
MISSING = "rtpengine is not installed: apt-get install --no-install-recommends rtpengine-daemon"
FIRST_PORT, LAST_PORT = 20000, 59999
START_S = 10.0


class Missing(Exception):
    """The daemon cannot be run."""


def encoded(value: object) -> bytes:
    """Bencode: what the ng protocol speaks."""
    if isinstance(value, dict):
        return b"d" + b"".join(encoded(k) + encoded(v) for k, v in sorted(value.items())) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(encoded, value)) + b"e"
    if isinstance(value, int):
        return b"i%de" % value
    text = str(value).encode()
    return b"%d:%s" % (len(text), text)


def decoded(data: bytes, at: int = 0) -> tuple[Any, int]:
    """One bencoded value of `data` and where the next begins."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = decoded(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(), end


class Control:
    """The ng control socket."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(1.0)
        self._socket.connect((IP, port))
        self._count = 0

    def ask(self, **what: object) -> dict[str, Any]:
        """One command and its answer; asked again after a second, Missing after three."""
        self._count += 1
        cookie = b"%d " % self._count
        for _ in range(3):
            try:
                self._socket.send(cookie + encoded(what))
                while True:
                    answer = self._socket.recv(65536)
                    if answer.startswith(cookie):
                        return dict(decoded(answer[len(cookie) :])[0])
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.2)
        raise Missing(f"rtpengine does not answer {what.get('command')!r} on its ng port")


def sdp(port: int) -> str:
    """PCMU and telephone-event at the generator's port."""
    lines = (
        "v=0",
        f"o=- 1 1 IN IP4 {IP}",
        "s=-",
        f"c=IN IP4 {IP}",
        "t=0 0",
        f"m=audio {port} RTP/AVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=sendrecv",
    )
    return "".join(line + "\r\n" for line in lines)


def call(control: Control, number: int, to: int) -> tuple[int, int]:
    """Sets one call up; gives the caller's and the callee's port at rtpengine."""
    ids = {"call-id": f"bench-{number}", "from-tag": f"a{number}"}
    common: dict[str, Any] = {"sdp": sdp(to), "ICE": "remove", "replace": ["origin", "session-connection"]}
    ports = []
    for command, more in (("offer", {}), ("answer", {"to-tag": f"b{number}"})):
        answer = control.ask(command=command, **ids, **more, **common)
        if answer.get("result") != "ok":
            raise Missing(f"rtpengine refused an {command}: {answer.get('error-reason')}")
        found = re.search(r"^m=audio (\d+) ", answer["sdp"], re.M)
        if not found:
            raise Missing(f"rtpengine's {command} has no audio port")
        ports.append(int(found[1]))
    return ports[1], ports[0]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((IP, 0))
        return int(sock.getsockname()[1])


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def run(options: argparse.Namespace, program: str) -> None:
    """Starts the daemon, sets the calls up, answers lines until "stop"."""
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    version = (shown.stdout + shown.stderr).strip().removeprefix("Version: ")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="rtpengine-") as folder:
        command = [
            program,
            "--foreground",
            "--config-file=none",
            "--table=-1",
            f"--interface={IP}",
            f"--listen-ng={IP}:{port}",
            f"--port-min={FIRST_PORT}",
            f"--port-max={LAST_PORT}",
            f"--num-threads={options.threads}",
            *(["--scheduling=fifo", "--priority=10"] if options.real_time else []),
            f"--pidfile={folder}/pid",
            "--log-stderr",
            "--log-level=3",
        ]
        with open(f"{folder}/log", "wb") as log:
            daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            control = Control(port)
            for _ in range(int(START_S / 0.2)):
                try:
                    if control.ask(command="ping").get("result") == "pong":
                        break
                except Missing:
                    if daemon.poll() is not None:
                        raise Missing("rtpengine ended: " + Path(f"{folder}/log").read_text()[-500:]) from None
            ports = [p for k in range((options.streams + 1) // 2) for p in call(control, k, options.to)]
            ports = ports[: options.streams]
            heard = [[(k ^ 1, 0.0)] if k ^ 1 < options.streams else [] for k in range(options.streams)]
            say(ports=ports, heard=heard, version=f"rtpengine {version}", pids=[daemon.pid])
            for line in sys.stdin:
                if line.strip() in ("mark", "read"):
                    say(threads=options.threads)
                elif line.strip() == "stop":
                    say(forwards=True)
                    break
        finally:
            daemon.terminate()
            try:
                daemon.wait(timeout=5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, required=True)
    parser.add_argument("--to", type=int, required=True, help="the generator's port")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--real-time", action="store_true", help="the scheduling class that the engine has")
    options = parser.parse_args()
    try:
        program = shutil.which(PROGRAM)
        if program is None:
            raise Missing(MISSING)
        run(options, program)
    except Missing as error:
        say(missing=str(error))


if __name__ == "__main__":
    main()
