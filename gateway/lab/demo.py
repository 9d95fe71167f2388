"""`trunkline demo`: two whole calls on this machine, checked by sound.

The gateway, an agent's softphone (pyVoIP, a process of its own) and a caller with real RTP. The caller speaks
recordings, interrupts a prompt, dictates a number, asks for a person and talks with the agent; then the recordings of
both phones must hold the other's words and the other's tone, and nothing else's.
"""

from __future__ import annotations

import asyncio
import difflib
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from gateway.core.errors import TrunklineError
from gateway.flow.words import normal
from gateway.lab import sounds, stage
from gateway.lab.caller import Callers
from gateway.lab.follow import Follower
from gateway.lab.script import Amid, Exchange, Listen, Outcome, Press, Speak, Step, Wait
from gateway.lab.transcribe import transcribe
from gateway.lab.wire import Sound, read_wav, write_wav
from gateway.store.record import CallRecord

AUDIO = Path(__file__).parent / "audio"
SAYS = "caller-says.wav"
"""What the caller tells the agent."""
CALLER_HZ, AGENT_HZ = 620.0, 1150.0
TONE_DBFS = -15.0
APART_S = 1.5
"""The scenes run at the same time; each agent signs in a little after the one before, who is then idle for longer."""

ENOUGH_WORDS = 0.6
"""Share of a speaker's words (characters in Mandarin) that the other phone's recording must hold in their order."""


@dataclass(frozen=True)
class Scene:
    """One call. `number` is dialled; `before` leads to the agent; `thanks` is what the caller then says."""

    language: str
    number: str
    agent: str
    password: str
    before: tuple[Step, ...]
    thanks: str
    hello: str


SCENES = (
    Scene(
        "en-US",
        "1001",
        "anna",
        "anna-demo-2611",
        (
            Listen(1.3),
            Press("9"),
            Amid(0.9),
            Speak(AUDIO / "en-balance.wav"),
            Listen(1.0),
            Speak(AUDIO / "en-4417.wav"),
            Listen(1.3),
            Speak(AUDIO / "en-person.wav"),
        ),
        "en-thanks.wav",
        "en-agent.wav",
    ),
    Scene(
        "zh-CN",
        "1002",
        "chen",
        "chen-demo-2611",
        (
            Listen(1.3),
            Press("9"),
            Amid(0.9),
            Speak(AUDIO / "zh-balance.wav"),
            Listen(1.0),
            Press("9036"),
            Listen(1.3),
            Speak(AUDIO / "zh-person.wav"),
        ),
        "zh-thanks.wav",
        "zh-agent.wav",
    ),
)


@dataclass
class Result:
    """What one scene showed. `faults` is empty where everything was so."""

    scene: Scene
    outcome: Outcome | None = None
    record: CallRecord | None = None
    faults: list[str] = field(default_factory=list)
    checks: list[str] = field(default_factory=list)

    @property
    def replies_ms(self) -> list[float]:
        """From the last voiced sample the caller sent to the first voiced packet of the next prompt it received."""
        return [x.reply_ms for x in self._to_the_flow if x.reply_ms is not None]

    @property
    def stops_ms(self) -> list[float]:
        """From the first voiced packet the caller sent over a prompt to the first silent one it received."""
        return [x.stop_ms for x in self._to_the_flow if x.stop_ms is not None]

    @property
    def _to_the_flow(self) -> list[Exchange]:
        """What was spoken before the agent took over."""
        spoken = self.outcome.exchanges if self.outcome else []
        return [x for x in spoken if x.what.endswith(".wav") and x.what != SAYS]


def run_demo(folder: Path, console: Console, only: str | None = None) -> int:
    """Plays the scenes; 0 where all was as it should be, else 1. Recordings and records stay in `folder`."""
    scenes = [scene for scene in SCENES if only in (None, scene.language)]
    if not scenes:
        raise TrunklineError("no such scene", read=only, expected=", ".join(s.language for s in SCENES))
    began = time.monotonic()
    prompts = folder / "gateway" / "prompts"
    kept = folder.parent / f".{folder.name}-prompts"
    if prompts.exists():  # rendered prompts are worth keeping, earlier calls are not
        shutil.rmtree(kept, ignore_errors=True)
        prompts.rename(kept)
    shutil.rmtree(folder, ignore_errors=True)
    prompts.parent.mkdir(parents=True)
    if kept.exists():
        kept.rename(prompts)
    console.print("Starting the gateway (the first time it renders its prompts)")
    with stage.gateway(folder / "gateway", flows=[stage.ROOT / "ivr_flows" / "bank.yaml"]) as gateway:
        console.print(f"  takes calls on sip:{gateway.sip} after {time.monotonic() - began:.0f} s", highlight=False)
        follower = Follower(gateway.data, console)
        with ThreadPoolExecutor(len(scenes)) as stages:
            results = list(
                stages.map(lambda scene: _play(scene, gateway, folder, console, scenes.index(scene)), scenes)
            )
        records = follower.close()
    for result in results:
        result.record = next((r for r in records if r.head.dialled == result.scene.number), None)
    _verify(results, folder)
    return _report(results, folder, console, time.monotonic() - began)


def _play(scene: Scene, gateway: stage.GatewayProcess, folder: Path, console: Console, place: int) -> Result:
    result = Result(scene)
    time.sleep(place * APART_S)
    here = folder / scene.language
    here.mkdir()
    write_wav(here / "agent-says.wav", _with_tone(AUDIO / scene.hello, AGENT_HZ))
    write_wav(here / SAYS, _with_tone(AUDIO / scene.thanks, CALLER_HZ))
    talk = read_wav(here / "agent-says.wav").size / 8000
    script = (*scene.before, Wait(3.0), Speak(here / SAYS), Wait(max(1.0, talk - 4.0)))
    options = ("--play", str(here / "agent-says.wav"), "--answer-after", "1.0", "--max-seconds", "120")
    try:
        with stage.phone(gateway.sip, scene.agent, scene.password, *options, record=here / "agent-heard.wav") as agent:
            console.print(
                f"  {scene.agent}'s phone is registered; a caller dials [magenta]{scene.number}[/] ({scene.language})",
                highlight=False,
            )
            result.outcome = asyncio.run(_call(gateway.uri(scene.number), script, here / "caller-heard.wav"))
            agent.until("answered", 2.0)
            agent.until("ended", 5.0)
    except TrunklineError as error:
        result.faults.append(str(error))
    return result


async def _call(uri: str, script: Sequence[Step], record: Path) -> Outcome:
    async with Callers() as callers:
        return await callers.call(uri, script, record=record)


def _with_tone(path: Path, hertz: float) -> Sound:
    """A recording followed by a second of tone: words prove who spoke, a tone proves it without a recognizer."""
    gap = np.zeros(2400, np.int16)
    return np.concatenate([read_wav(path), gap, sounds.tone(hertz, 1.0, TONE_DBFS), gap])


def _verify(results: Sequence[Result], folder: Path) -> None:
    """Compares what each phone heard with what the other said."""
    for result in results:
        here = folder / result.scene.language
        if result.record is None or not (here / "caller-heard.wav").exists():
            result.faults.append("there is no record or recording of the call")
            continue
        bridged = next((result.record.at(e) for e in result.record.of("bridged")), None)
        if bridged is None:
            result.faults.append("caller and agent were never joined")
            continue
        heard = read_wav(here / "caller-heard.wav")
        write_wav(here / "caller-heard-from-agent.wav", heard[int(bridged * 8000) :])
        pairs = (
            ("the agent's phone heard the caller", here / "agent-heard.wav", here / SAYS, CALLER_HZ, AGENT_HZ),
            (
                "the caller heard the agent",
                here / "caller-heard-from-agent.wav",
                here / "agent-says.wav",
                AGENT_HZ,
                CALLER_HZ,
            ),
        )
        files = [path for _, heard_by, said, _, _ in pairs for path in (heard_by, said) if path.exists()]
        texts = {path: found.text for path, found in transcribe(files, result.scene.language)}
        for what, heard_by, said, own, foreign in pairs:
            _compare(result, what, heard_by, said, own, foreign, texts)
        if not any(e.data.get("by") == "speech" for e in result.record.of("interrupted")):
            result.faults.append("the caller's words did not interrupt the prompt")
        recording = result.record.head.recording
        if recording is None or not recording.exists():
            result.faults.append("the gateway kept no recording")


def _compare(
    result: Result, what: str, heard: Path, said: Path, own: float, foreign: float, texts: Mapping[Path, str]
) -> None:
    if not heard.exists():
        result.faults.append(f"{what}: there is no recording {heard.name}")
        return
    tones = {hertz: _loudest(read_wav(heard), hertz) for hertz in (own, foreign)}
    if tones[own] < TONE_DBFS - 8 or tones[foreign] > TONE_DBFS - 15:
        result.faults.append(
            f"{what}: tone {own:g} Hz at {tones[own]:.0f} dBFS, foreign {foreign:g} Hz at {tones[foreign]:.0f} dBFS"
        )
    share = likeness(texts[said], texts[heard], result.scene.language)
    result.checks.append(f"{what}: {share:.0%} of the words, tone at {tones[own]:.0f} dBFS: “{texts[heard]}”")
    if share < ENOUGH_WORDS:
        result.faults.append(f"{what}: only {share:.0%} of the words: “{texts[heard]}” where “{texts[said]}” was said")


def _loudest(sound: Sound, hertz: float) -> float:
    """The highest level of a frequency in any half second, dBFS."""
    step = 2000
    return max(
        (sounds.tone_level(sound[i : i + 2 * step], hertz) for i in range(0, max(1, len(sound) - step), step)),
        default=-120.0,
    )


def likeness(said: str, heard: str, language: str) -> float:
    """Share of what was said that was heard, in order: words, or characters in Mandarin."""
    split = list if language.startswith("zh") else str.split
    a, b = split(normal(said)), split(normal(heard))
    matched = sum(block.size for block in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks())
    return matched / max(1, len(a))


def _report(results: Sequence[Result], folder: Path, console: Console, seconds: float) -> int:
    console.rule("What was shown")
    table = Table(box=None)
    for column in ("", "end of speech -> next prompt (ms, at the caller)", "median", "voice -> prompt silent (ms)"):
        table.add_column(column)
    for result in results:
        replies = result.replies_ms
        median = f"{statistics.median(replies):.0f}" if replies else "-"
        shown = ", ".join(f"{r:.0f}" for r in replies)
        table.add_row(result.scene.language, shown, median, ", ".join(f"{s:.0f}" for s in result.stops_ms))
    console.print(table)
    faults = 0
    for result in results:
        for check in result.checks:
            console.print(f"  {result.scene.language}  {check}", highlight=False)
        for fault in result.faults:
            faults += 1
            console.print(f"  [red]{result.scene.language}  not so:[/] {fault}", highlight=False)
    console.print(f"Recordings and records: {folder}   (trunkline why last --data {folder}/gateway)", highlight=False)
    verdict = "[red]The demo failed.[/]" if faults else "[green]Both calls were as they should be.[/]"
    console.print(f"{verdict} {seconds:.0f} s", highlight=False)
    return 1 if faults else 0
