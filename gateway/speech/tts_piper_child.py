"""The English voice's own program: started by tts_piper.PiperVoice, never imported.

piper-tts and the espeak-ng inside it are GPL-3 software; they live in this process only, and talk over pipes.
Standard input: one JSON string a line, the text. Standard output: for each a JSON line {"samples": n, "rate": r}
followed by n int16 little-endian samples, or {"error": "..."}. The first line out is {"ready": true}.
It ends when its input ends.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import BinaryIO


def load(model: str, config: str) -> Callable[[str], tuple[bytes, int]]:
    """Text in, int16 PCM and its rate out. One thread: prompts share the machine with calls."""
    import onnxruntime
    from piper.config import PiperConfig
    from piper.voice import PiperVoice

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
    with open(config, encoding="utf-8") as file:
        voice = PiperVoice(session=session, config=PiperConfig.from_dict(json.load(file)))

    def speak(text: str) -> tuple[bytes, int]:
        rate = int(voice.config.sample_rate)
        pause = bytes(rate // 4 * 2)
        return pause.join(chunk.audio_int16_bytes for chunk in voice.synthesize(text)), rate

    return speak


def serve(speak: Callable[[str], tuple[bytes, int]], lines: BinaryIO, out: BinaryIO) -> None:
    """Answer each line in turn until the input ends."""

    def send(header: dict[str, object], body: bytes = b"") -> None:
        out.write(json.dumps(header).encode() + b"\n" + body)
        out.flush()

    send({"ready": True})
    for line in lines:
        try:
            pcm, rate = speak(json.loads(line))
        except Exception as error:  # whatever the voice chokes on costs this text, not the process
            send({"error": f"{type(error).__name__}: {error}"})
        else:
            send({"samples": len(pcm) // 2, "rate": rate}, pcm)


if __name__ == "__main__":
    wire = sys.stdout.buffer
    sys.stdout = sys.stderr
    serve(load(sys.argv[1], sys.argv[2]), sys.stdin.buffer, wire)
