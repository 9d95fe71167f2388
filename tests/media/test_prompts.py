"""The prompt store: what is rendered, what is kept, who is asked."""

from __future__ import annotations

import resource
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gateway.core.audio import Audio
from gateway.core.errors import Findings, MediaError, ModelMissing, TrunklineError
from gateway.media import host
from gateway.media.clip import Clip
from gateway.media.engine import MediaEngine
from gateway.media.leg import Leg
from gateway.media.prompts import Phrase, PromptStore, sayable
from gateway.media.tones import RINGING, hold_music, tone
from gateway.media.wire import at_rate, to_wire
from gateway.speech.tts_pieces import PiecesVoice
from gateway.speech.tts_piper import PiperVoice
from gateway.speech.tts_recorded import RecordedVoice
from tests.media.peer import strength, until


class Hum:
    """A Synthesizer whose speech is a hum, longer for longer texts. `asked` keeps what it rendered."""

    def __init__(self, name: str = "hum", *, live: bool = True, languages: str = "en zh", unable: str = "\0") -> None:
        self.name, self.live = name, live
        self.languages, self.unable = languages, unable
        self.asked: list[str] = []
        self.threads: set[int] = set()

    def voice(self, language: str) -> str | None:
        return "low" if language[:2] in self.languages else None

    def render(self, text: str, language: str) -> Audio:
        self.asked.append(text)
        self.threads.add(threading.get_ident())
        if self.unable in text:
            raise ModelMissing("Hum has no such note.", do="sing it")
        wave = 0.15 * np.sin(2 * np.pi * 300 * np.arange(1600 * len(text)) / 16000)
        return Audio((wave * 32767).astype("<i2").tobytes())


def files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


async def test_prompts_are_rendered_once_for_all_time(engine: MediaEngine, tmp_path: Path) -> None:
    first = Hum()
    told: list[tuple[int, int, str]] = []
    store = PromptStore(tmp_path, [first], engine.load)
    items = [("Hello.", "en-US"), ("Bye", "en-US"), ("Hello.", "en-US"), ("你好", "zh-CN")]
    assert await store.render_all(items, lambda *step: told.append(step)) == 3
    assert sorted(first.asked) == sorted(["Hello.", "Bye", "你好"])
    assert [step[:2] for step in told] == [(1, 3), (2, 3), (3, 3)]
    assert threading.get_ident() not in first.threads, "rendering must not hold up calls"
    (hello,) = await store.clips(["Hello."], "en-US")
    assert hello is (await store.clips(["Hello."], "en-US"))[0], "one clip for all calls"
    assert hello.seconds == pytest.approx(0.6 + 0.22, abs=0.001), "a full stop is followed by a pause"

    second = Hum()
    again = PromptStore(tmp_path, [second], engine.load)
    await again.render_all(items)
    assert second.asked == []
    assert (await again.clips(["Hello."], "en-US"))[0].samples == hello.samples


async def test_a_callers_value_never_reaches_the_disk(engine: MediaEngine, tmp_path: Path) -> None:
    store = PromptStore(tmp_path, [Hum()], engine.load)
    (clip,) = await store.clips([Phrase("four two one seven", live=True)], "en-US")
    assert clip.samples == 800 * 18
    assert files(tmp_path) == []


async def test_the_first_voice_that_can_speaks(engine: MediaEngine, tmp_path: Path) -> None:
    slow, able = Hum("slow", live=False, unable="x"), Hum("able")
    store = PromptStore(tmp_path, [slow, able], engine.load)
    await store.clips(["plain"], "en-US")
    assert (slow.asked, able.asked) == (["plain"], [])
    await store.clips(["x-ray"], "en-US")
    assert able.asked == ["x-ray"]
    await store.clips([Phrase("forty", live=True)], "en-US")
    assert able.asked[-1] == "forty", "a voice that is not live never makes a caller wait"


async def test_every_prompt_without_a_voice_is_named_and_the_others_are_ready(
    engine: MediaEngine, tmp_path: Path
) -> None:
    store = PromptStore(tmp_path, [Hum(unable="!"), Hum("zh-only", languages="zh", unable="!")], engine.load)
    with pytest.raises(Findings) as caught:
        await store.render_all([("no!", "en-US"), ("yes", "en-US"), ("不!", "zh-CN"), ("hallo", "de-DE")])
    shown = str(caught.value)
    assert len(caught.value.items) == 3
    for part in ("en-US: no!", "zh-CN: 不!", "de-DE: hallo", "hum: Hum has no such note. (sing it)", "do: record it"):
        assert part in shown
    assert "zh-only: Hum has no such note." in shown
    assert len(await store.clips(["yes"], "en-US")) == 1


async def test_an_error_about_a_value_does_not_tell_the_value(engine: MediaEngine, tmp_path: Path) -> None:
    store = PromptStore(tmp_path, [Hum(unable="4417")], engine.load)
    with pytest.raises(TrunklineError) as caught:
        await store.clips([Phrase("card 4417", live=True)], "en-US")
    assert "4417" not in str(caught.value)


@pytest.mark.parametrize("damage", [b"", b"RIFF", b"RIFF\x00\x00\x00\x00WAVEfmt "])
async def test_a_damaged_file_is_rendered_anew(engine: MediaEngine, tmp_path: Path, damage: bytes) -> None:
    voice = Hum()
    await PromptStore(tmp_path, [voice], engine.load).clips(["hello"], "en-US")
    (path,) = files(tmp_path)
    for broken in (damage, path.read_bytes()[:-100]):
        path.write_bytes(broken)
        before = len(voice.asked)
        (clip,) = await PromptStore(tmp_path, [voice], engine.load).clips(["hello"], "en-US")
        assert len(voice.asked) == before + 1
        assert clip.samples == 4000


async def test_a_full_cache_folder_costs_only_the_cache(engine: MediaEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = PromptStore(tmp_path / "file", [Hum()], engine.load)
    assert len(await store.clips(["hello"], "en-US")) == 1


async def test_a_full_disk_is_told_once_until_it_has_room(
    engine: MediaEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = PromptStore(tmp_path, [Hum()], engine.load)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for round_ in range(2):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            assert len(await store.clips([f"{word} {round_}" for word in ("one", "two", "three")], "en-US")) == 3
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert len(caplog.records) == round_ + 1
        assert len(files(tmp_path)) == round_, "nothing half written stays"
        await store.clips([f"room {round_}"], "en-US")


async def test_the_least_recent_clips_are_let_go(engine: MediaEngine, tmp_path: Path) -> None:
    voice = Hum()
    store = PromptStore(tmp_path, [voice], engine.load, held_s=2.0)
    (first,) = await store.clips(["a" * 10], "en-US")
    await store.clips(["b" * 8], "en-US")
    assert (await store.clips(["a" * 10], "en-US"))[0] is first
    await store.clips(["c" * 8], "en-US")
    assert (await store.clips(["a" * 10], "en-US"))[0] is first, "b was used longer ago"
    await store.clips(["b" * 8], "en-US")
    assert len(voice.asked) == 3, "b came back from the disk"


async def test_a_wide_leg_hears_what_was_rendered_and_only_then_is_it_loaded(
    engine: MediaEngine, tmp_path: Path
) -> None:
    voice, loaded = Hum(), []

    def load(pcm: NDArray[np.int16], rate: int) -> Clip:
        loaded.append(rate)
        return engine.load(pcm, rate)

    store = PromptStore(tmp_path, [voice], load)
    await store.render_all([("hello.", "en-US"), ("bye", "en-US")])
    assert loaded == [8000, 8000]
    (narrow,), (wide,) = await store.clips(["hello."], "en-US"), await store.clips(["hello."], "en-US", 16000)
    assert (wide.rate, wide.samples, wide.seconds) == (16000, 2 * narrow.samples, narrow.seconds)
    assert (await store.clips(["hello."], "en-US", 16000))[0] is wide
    assert (await store.clips(["hello."], "en-US"))[0] is narrow
    assert loaded == [8000, 8000, 16000]
    assert voice.asked.count("hello.") == 1, "both come from what is on disk"


RSS_FIELD = 1


def resident() -> int:
    """Octets of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[RSS_FIELD]) * resource.getpagesize()


async def test_a_prompt_that_a_thousand_callers_hear_is_held_once(tmp_path: Path) -> None:
    callers = 1000
    assert not host.raise_open_files(callers)
    store = PromptStore(tmp_path, [Hum()], (engine := MediaEngine(max_legs=callers, seed=3)).load)
    await engine.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            ear.bind(("127.0.0.1", 0))
            legs = [engine.open_leg("127.0.0.1") for _ in range(callers)]
            for leg in legs:
                leg.attach("127.0.0.1", ear.getsockname()[1], 0)
            (short,) = await store.clips(["a"], "en-US")
            await heard(legs, short)  # whatever a leg needs to play at all is there now
            (long,) = await store.clips(["b" * 600], "en-US")
            before = resident()
            await heard(legs, long)
            assert resident() - before < 4 * long.samples < callers * long.samples / 100
    finally:
        await engine.close()


async def heard(legs: list[Leg], clip: Clip) -> None:
    """All legs play the clip, and a packet of it has left each."""
    began: set[int] = set()
    for leg in legs:
        leg.on_event = lambda event, handle=leg.handle: began.add(handle)
        leg.play([clip], token=1)
    await until(lambda: len(began) == len(legs), 20.0)


async def test_live_voices_start_with_the_flow_and_end_with_the_store(engine: MediaEngine, tmp_path: Path) -> None:
    store = PromptStore(tmp_path, [PiperVoice(), RecordedVoice(tmp_path)], engine.load)
    (voice, _) = store.synthesizers
    assert isinstance(voice, PiperVoice)
    with pytest.raises(Findings):
        await store.render_all([("你好", "zh-CN")])
    assert voice.pid is None, "nobody speaks English"
    await store.render_all([("Hello.", "en-US")])
    await store.close()
    assert voice.pid is None
    await store.render_all([("Hello.", "en-US")])
    assert voice.pid is not None, "the prompt was on disk, but values are not"
    await store.close()


async def test_marks_alone_are_silence(engine: MediaEngine, tmp_path: Path) -> None:
    voice = Hum()
    store = PromptStore(tmp_path, [voice], engine.load)
    assert await store.clips(["。", " ", "", "?"], "zh-CN") == []
    assert await store.render_all([("。", "zh-CN")]) == 0
    assert voice.asked == []
    assert [sayable(text) for text in ("3", "三", "，。")] == [True, True, False]


async def test_mandarin_prompt_with_a_value_from_what_is_shipped(
    engine: MediaEngine, tmp_path: Path, recordings: Path
) -> None:
    store = PromptStore(tmp_path, [RecordedVoice(recordings), PiecesVoice(recordings)], engine.load)
    clips = await store.clips(["您的账户余额是", Phrase("一千二百四十元五角", live=True), "。"], "zh-CN")
    assert len(clips) == 2
    assert all(0.5 < clip.seconds < 5 for clip in clips)


async def test_tones(engine: MediaEngine, tmp_path: Path) -> None:
    store = PromptStore(tmp_path, [], engine.load)
    assert store.tone("hold") is store.tone("hold")
    assert store.tone("beep").seconds == pytest.approx(0.4)
    assert store.tone("ringback", "en-US").seconds == pytest.approx(6.0)
    with pytest.raises(MediaError, match="did you mean: ringback"):
        store.tone("ringbak")


@pytest.mark.parametrize("language", RINGING)
def test_ringing_has_its_countrys_frequencies_and_cadence(language: str) -> None:
    hertz, cadence = RINGING[language]
    sound = tone("ringback", language)
    assert len(sound) == round(sum(cadence) * 8000)
    on = round(cadence[0] * 8000)
    assert sum(strength(sound[:on], hz) for hz in hertz) > 0.98
    assert not sound[on : on + round(cadence[1] * 8000)].any()


@pytest.mark.parametrize("name", ["hold", "ringback", "beep"])
def test_tones_are_as_loud_as_prompts(name: str) -> None:
    sound = tone(name).astype(np.float64) / 32768
    sounding = sound[np.abs(sound) > 1e-4]
    assert 20 * np.log10(np.sqrt((sounding**2).mean())) == pytest.approx(-20, abs=1)
    assert np.abs(sound).max() < 0.9


def test_hold_music_loops_without_a_click() -> None:
    music = hold_music().astype(np.float64)
    steps = np.abs(np.diff(np.concatenate([music, music[:1]])))
    assert steps[-1] <= np.percentile(steps, 99.9)
    loudness = np.sqrt((music.reshape(-1, 4000) ** 2).mean(axis=1))
    assert loudness.min() > 0.25 * loudness.max(), "it never fades to nothing"


@pytest.mark.parametrize(("hz", "kept"), [(300, 1.0), (1000, 1.0), (3300, 1.0), (4800, 0.0), (7000, 0.0)])
def test_the_way_to_the_wire_keeps_the_telephone_band_alone(hz: int, kept: float) -> None:
    wave = (0.5 * 32767 * np.sin(2 * np.pi * hz * np.arange(16000) / 16000)).astype("<i2")
    wire = to_wire(Audio(wave.tobytes())).astype(np.float64)[400:-400]
    assert len(wire) == 8000 - 800
    gain = np.sqrt((wire**2).mean()) / (0.5 * 32767 / np.sqrt(2))
    assert gain == pytest.approx(kept, abs=0.03)


@pytest.mark.parametrize("source", [8000, 16000])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_speech_comes_to_a_legs_rate_in_time(source: int, rate: int) -> None:
    click = np.zeros(source, np.int16)
    click[source // 2 - source // 400 : source // 2 + source // 400] = 8000
    pcm = at_rate(Audio(click.tobytes(), source), rate)
    assert len(pcm) == rate
    loud = np.flatnonzero(np.abs(pcm) > 4000)
    assert (loud[0] + loud[-1] + 1) / 2 / rate == pytest.approx(0.5, abs=0.0002)
