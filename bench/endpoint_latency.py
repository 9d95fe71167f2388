"""How soon a caller's turn is heard: end of speech to UtteranceHeard, through the real processes and in real time.

    python bench/endpoint_latency.py [--callers N] [--clips N] [--json FILE]

Sentences of ../shared/callers (English and Mandarin) are fed in 40 ms pieces as a call does, `--callers` at a time. The
end of speech is where the recording's own level falls for good, found from its samples, not by the endpointer that is
measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from asr_accuracy import Clip, callers, flow_hints
from numpy.typing import NDArray

from gateway.speech.ear import EarEvent, TurnDropped, Unheard, UtteranceHeard
from gateway.speech.ears import Ears

PIECE = 640
GAP = np.zeros(2 * 16000, np.int16)


def speech_end(pcm: NDArray[np.int16]) -> int:
    """The last sample of the last 10 ms that is within 35 dB of the loudest."""
    level = np.sqrt((pcm[: len(pcm) // 160 * 160].reshape(-1, 160).astype(float) ** 2).mean(axis=1))
    return int(np.nonzero(level > level.max() / 56)[0][-1] + 1) * 160


async def say(ears: Ears, clip: Clip, language: str) -> dict[str, float] | None:
    """One turn in real time; its latencies in seconds, None where it was not heard."""
    done: asyncio.Future[EarEvent] = asyncio.get_running_loop().create_future()

    def take(event: EarEvent) -> None:
        if isinstance(event, UtteranceHeard | Unheard | TurnDropped) and not done.done():
            done.set_result(event)

    ear = ears.open("bench", take)
    ear.listen(language, hints=flow_hints(clip.flow, language))
    pcm = np.concatenate([clip.pcm, GAP])
    began = time.monotonic()
    for start in range(0, len(pcm), PIECE):
        await asyncio.sleep(max(0.0, began + (start + PIECE) / 16000 - time.monotonic()))
        ear.feed(pcm[start : start + PIECE].tobytes())
        if done.done():
            break
    event = await asyncio.wait_for(done, 20)
    now = time.monotonic()
    ear.close()
    if not isinstance(event, UtteranceHeard):
        return None
    ended = began + speech_end(clip.pcm) / 16000
    return {"heard": now - ended, "endpoint": event.endpoint_at - ended, "decoded": event.decoded_at - ended}


async def measure(ears: Ears, language: str, clips: list[Clip], at_once: int) -> dict[str, Any]:
    gate = asyncio.Semaphore(at_once)

    async def one(number: int, clip: Clip) -> dict[str, float] | None:
        async with gate:
            await asyncio.sleep(0.13 * (number % at_once))
            return await say(ears, clip, language)

    found = [row for row in await asyncio.gather(*(one(n, clip) for n, clip in enumerate(clips))) if row]
    row: dict[str, Any] = {"language": language, "at_once": at_once, "n": len(clips), "heard": len(found)}
    for name in ("decoded", "endpoint", "heard"):
        values = sorted(held[name] for held in found)
        row[f"{name}_ms"] = [round(1000 * values[int(q * (len(values) - 1))]) for q in (0.5, 0.9, 1.0)]
    return row


async def run(args: argparse.Namespace) -> None:
    ears = Ears(options={"threads": args.threads}, workers=args.workers)
    await ears.start()
    rows = []
    try:
        print("language  at once    n    decoded          endpoint         heard (p50/p90/max ms after speech)")
        for language in ("en-US", "zh-CN"):
            row = await measure(ears, language, callers(language)[: args.clips], args.callers)
            rows.append(row)
            cells = [f"{'/'.join(map(str, row[f'{name}_ms'])):<17}" for name in ("decoded", "endpoint", "heard")]
            print(f"{language:9} {args.callers:>7} {row['n']:>4}    {''.join(cells)}", flush=True)
        print(ears.load)
    finally:
        await ears.close()
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--callers", type=int, default=1, help="callers who speak at the same time")
    asked.add_argument("--clips", type=int, default=26, help="sentences a language")
    asked.add_argument("--threads", type=int, default=1, help="cores one decoding uses")
    asked.add_argument("--workers", type=int, default=0, help="recognizer processes (0: one for two cores)")
    asked.add_argument("--json", type=Path, help="write the figures here")
    asyncio.run(run(asked.parse_args()))


if __name__ == "__main__":
    main()
