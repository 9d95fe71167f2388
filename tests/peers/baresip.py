"""baresip as a test peer: a phone of its own kind that registers, answers, plays a tone or WAV, and records."""

from __future__ import annotations

import json
import socket
import wave
from pathlib import Path
from typing import Any

from gateway.lab.sounds import tone
from gateway.lab.wire import Sound, write_wav
from gateway.sip.uri import hostport
from tests.peers.programs import Program, Programs, eventually, free_port, need

MODULES = (
    "/usr/lib/baresip/modules",
    "/usr/lib/x86_64-linux-gnu/baresip/modules",
    "/usr/lib/aarch64-linux-gnu/baresip/modules",
)
CONFIG = """\
module_path {modules}
module g711.so
module g722.so
module l16.so
module opus.so
module aufile.so
module aubridge.so
module sndfile.so
module uuid.so
module srtp.so
module_app account.so
module_app menu.so
module_app ctrl_tcp.so
sip_listen {listen}
net_interface {ip}
ctrl_tcp_listen 127.0.0.1:{control}
call_max_calls 4
call_local_timeout 60
audio_player aubridge,heard
audio_source {source}
audio_alert aubridge,ring
ausrc_srate {rate}
auplay_srate {rate}
ausrc_channels 1
auplay_channels 1
audio_level no
rtp_tos 184
rtp_ports {rtp}-{rtp_end}
snd_path {folder}
"""


class Baresip(Program):
    """`port` is its SIP port."""

    port: int
    control: int

    def command(self, command: str, parameters: str = "") -> dict[str, Any]:
        """One command of its menu (dial, hangup, accept, hold, resume, quit), by ctrl_tcp's netstrings."""
        request = json.dumps({"command": command, "params": parameters, "token": "t"}).encode()
        with socket.create_connection(("127.0.0.1", self.control), 5) as connection:
            connection.sendall(str(len(request)).encode() + b":" + request + b",")
            connection.settimeout(5)
            data = b""
            while True:
                while b":" in data and len(data) > int(data.partition(b":")[0]) + data.index(b":") + 1:
                    size, _, rest = data.partition(b":")
                    message: dict[str, Any] = json.loads(rest[: int(size)])
                    data = rest[int(size) + 1 :]
                    if message.get("response"):
                        return message
                data += connection.recv(65536)

    def recordings(self, side: str = "dec") -> list[Path]:
        """What it heard (`dec`) or said (`enc`), one WAV a call, complete once the call is over."""
        return sorted(self.folder.glob(f"*-{side}.wav"))


def start(
    programs: Programs,
    server: str,
    user: str,
    password: str = "",
    *,
    voice: Sound | None = None,
    answer: str = "auto",
    name: str = "",
    codecs: str = "PCMU,PCMA",
    rate: int = 8000,
    encryption: str = "",
    ip: str = "127.0.0.1",
    transport: str = "",
    authority: Path | None = None,
) -> Baresip:
    """A phone registered at `server` (HOST:PORT; empty: no account is registered) over `transport` (udp where none is
    given; over tls it trusts `authority`). `voice`: what it says in each
    call, at `rate` (a minute of 440 Hz at 8 kHz where none is given); `answer`: auto or manual; `codecs`: those it
    offers and takes; `encryption`: none, srtp (keys beside RTP/AVP), srtp-mand (RTP/SAVP) or srtp-mandf."""
    program = need("baresip")
    folder = programs.folder / (name or user)
    folder.mkdir(parents=True, exist_ok=True)
    sip, control, rtp = free_port(2, ip), free_port(2), free_port(20, ip)
    listen = hostport(ip, sip)
    modules = next(path for path in MODULES if Path(path).is_dir())
    values = {"modules": modules, "ip": ip, "listen": listen, "control": control, "source": "aufile,voice.wav"}
    write_wav(folder / "voice.wav", tone(440, 60.0) if voice is None else voice, rate)
    config = CONFIG.format(**values, rate=rate, rtp=rtp, rtp_end=rtp + 18, folder=folder)
    trusted = f"sip_cafile {authority}\n" if authority else ""
    (folder / "config").write_text(config + trusted)
    way = f";transport={transport}" if transport else ""
    protected = f";mediaenc={encryption}" if encryption else ""
    register = f"<sip:{user}@{server or listen}{way}>;auth_pass={password};answermode={answer}"
    (folder / "accounts").write_text(f"{register};regint={60 if server else 0};audio_codecs={codecs}{protected}\n")
    (folder / "contacts").write_text("")
    phone = Baresip(name or user, [program, "-f", str(folder)], folder)
    phone.port, phone.control = sip, control
    programs.add(phone)
    if server:
        phone.says("200 OK", 15)
    else:
        eventually(lambda: "ready" in phone.text, what="baresip being ready")
    return phone


def complete(path: Path) -> bool:
    """Whether baresip has written the file's header: it does so when the call is over."""
    try:
        wave.open(str(path)).close()
    except (wave.Error, EOFError):
        return False
    return True
