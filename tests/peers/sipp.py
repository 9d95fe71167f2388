"""sipp as a test peer: a call is put together from the parts in `scenarios/`, on ports the system chose, no keyboard.

sipp.start(programs, ["invite", "answered", "speak", "bye"], "127.0.0.1:5060", to="100", sounds={"caller": sound})
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gateway.lab.wire import Sound, encode
from tests.peers.programs import Program, Programs, bound, eventually, free_port, need

SCENARIOS = Path(__file__).parent / "scenarios"
WORDS = {
    "to": "agent",
    "from": "5551234",
    "sound": "caller",
    "talk_ms": "3000",
    "ring_ms": "500",
    "status": "486",
    "formats": "0 101",
    "audio_port": "[rtpstream_audio_port]",
}
"""What the {{words}} of a part become unless the test says otherwise."""


class Sipp(Program):
    """`port` is its SIP port."""

    port: int

    @property
    def messages(self) -> str:
        """Every SIP message sent and received so far."""
        path = self.folder / "messages.log"
        return path.read_text(errors="replace") if path.exists() else ""


def write_scenario(path: Path, parts: Sequence[str], words: dict[str, str]) -> None:
    """One sipp scenario from `parts`, each {{word}} replaced. In a CANCEL, [[cancelled]] is the INVITE's place.

    A part may have values, as in `info:5`: they become {{1}}, {{2}}; {{cseq}} counts the dialog's requests.
    """
    text, sent, invited, requests = [], 0, 0, 1
    for named in parts:
        part, *values = named.split(":")
        body = (SCENARIOS / f"{part}.xml").read_text()
        for place, value in enumerate(values, 1):
            body = body.replace("{{" + str(place) + "}}", value)
        requests += "{{cseq}}" in body
        body = body.replace("{{cseq}}", str(requests))
        steps = [line for line in body.splitlines() if line.startswith(("<send", "<recv", "<pause", "<nop"))]
        if part == "invite":
            invited = sent
        if part == "cancel":
            body = body.replace("[[cancelled]]", str(sent + 3 - invited))
        sent += len(steps)
        text.append(body)
    scenario = "".join(text)
    for word, value in {**WORDS, **words}.items():
        scenario = scenario.replace("{{" + word + "}}", value)
    head = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="' + " ".join(parts) + '">\n'
    path.write_text(f"{head}{scenario}</scenario>\n")


def start(
    programs: Programs,
    parts: Sequence[str],
    remote: str = "",
    *options: str,
    name: str = "sipp",
    port: int = 0,
    calls: int = 1,
    sounds: dict[str, Sound] | None = None,
    echo: bool = False,
    ip: str = "127.0.0.1",
    **words: str,
) -> Sipp:
    """Play `parts` against `remote` (HOST:PORT; empty waits to be called). Its exit status is 0 when all went so.

    `sounds` become NAME.g711 for the part `speak`; `echo` sends back the RTP that comes in; `words` see WORDS.
    """
    folder = programs.folder / name
    folder.mkdir(exist_ok=True)
    port, media = port or free_port(), free_port(4)
    if echo:
        words.setdefault("audio_port", str(media))
        options = ("-rtp_echo", *options)
    write_scenario(folder / "scenario.xml", parts, words)
    for key, sound in (sounds or {}).items():
        (folder / f"{key}.g711").write_bytes(encode(sound))
    command = [need("sipp"), "-sf", "scenario.xml", "-i", ip, "-p", str(port), "-mi", ip, "-mp", str(media)]
    command += [
        "-m",
        str(calls),
        "-nostdin",
        "-timeout",
        "60",
        "-timeout_error",
        "-trace_err",
        "-error_file",
        "errors.log",
    ]
    command += ["-trace_msg", "-message_file", "messages.log", *options, *([remote] if remote else [])]
    program = Sipp(name, command, folder)
    program.port = port
    programs.add(program)
    eventually(lambda: bound(port) or not program.running, what=f"sipp on port {port}")
    return program
