"""Prompts that words and keys interrupt and noise does not, keys by RTP and INFO, and numbers kept nowhere."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import pytest

from gateway.lab.script import Amid, Listen, Press, Speak, Stay, Wait
from gateway.lab.sounds import lag, likeness, noise, voiced_spans
from gateway.lab.wire import Sound, level, write_wav
from gateway.store.record import MASK, CallRecord
from tests.peers import sipp, whole
from tests.peers.programs import Programs
from tests.peers.whole import AUDIO, Calling, Hall, Until, story, wait

pytestmark = [pytest.mark.peers, pytest.mark.timeout(300)]

SPOKEN, KEYED = "76480393", "73918264"
STORY = Until("said", data={"prompt": "story"})
NUMBER = Until("said", data={"prompt": "ask_number"})
FOUND = Until("said", data={"prompt": "order_is"})
INFO_CALLER = "5559901"


@dataclass
class Lines:
    calls: dict[str, Calling]
    sipp: sipp.Sipp


def begin(hall: Hall, crew: Programs) -> Lines:
    """All callers at once."""
    bursts = []
    for number, sound in enumerate((click(), cough(0.25, 5), grunt(0.2))):
        bursts.append(crew.folder / f"burst{number}.wav")
        write_wav(bursts[-1], sound)
    alarms = [step for wav in bursts for step in (Speak(wav), Wait(1.5))]
    tale = [Listen(), Press("5"), STORY]
    number = [NUMBER, Listen(1.0), Speak(AUDIO / "en-order.wav"), Until("heard", 2), Listen(1.0)]
    scripts = {
        "plain": ("3001", [*tale, Listen(1.5, 60.0)]),
        "noise": ("3001", [*tale, Amid(1.0), *alarms, Listen(1.5, 60.0)]),
        "speech": ("3001", [*tale, Amid(1.5), Speak(AUDIO / "en-parcel.wav"), *number]),
        "key": ("3001", [*tale, Amid(1.5), Press("0"), Until("nobody"), Listen(1.0)]),
        "keyed": ("3001", [Listen(), Press("6"), NUMBER, Listen(), Press(KEYED), FOUND, Listen()]),
        "by keys": ("1001", [Listen(), Press("2"), Listen(), Press("3"), Listen(), Press("2"), Until("queued")]),
        "ahead": ("1001", [Amid(0.4), Press("232"), Until("queued")]),
        "one by one": ("1001", [Stay(0.2), Press("2"), Press("3"), Press("2"), Until("queued")]),
    }
    calls = {name: hall.start(number, script) for name, (number, script) in scripts.items()}
    parts = ["invite", "answered", "stay", "info:2", "stay", "info:3", "stay", "info:2", "stay", "bye"]
    words = {"from": INFO_CALLER, "to": "1001", "talk_ms": "1500"}
    return Lines(calls, sipp.start(crew, parts, hall.gateway.sip, **words))


@pytest.fixture(scope="module")
def lines(scenes: dict[str, Future[Lines]]) -> Lines:
    return scenes[__name__].result(whole.LONG_S)


def click() -> Sound:
    """A knock on the handset."""
    sound = np.zeros(400, np.int16)
    sound[40:56] = 20000
    sound[56:72] = -20000
    return sound


def cough(seconds: float, seed: int) -> Sound:
    """A burst of noise that fades, about as loud as speech."""
    sound = noise(seconds, -14.0, seed, "pink").astype(np.float64)
    return (sound * np.exp(-np.arange(len(sound)) / (0.3 * len(sound)))).astype(np.int16)


def grunt(seconds: float) -> Sound:
    """A short voice-like sound that is no word: harmonics of 140 Hz under the formants of an open vowel."""
    time = np.arange(round(seconds * 8000)) / 8000
    wave = np.zeros(len(time))
    for hertz in range(140, 3000, 140):
        loudness = sum(1 / (1 + ((hertz - at) / wide) ** 2) for at, wide in ((700, 90), (1200, 110), (2500, 160)))
        wave += loudness * np.sin(2 * np.pi * hertz * time + hertz**2)
    wave *= np.hanning(len(time)) ** 0.3
    return (wave * 9000 / np.abs(wave).max()).astype(np.int16)


def tale(call: Calling) -> Sound:
    """What the caller heard from the story's beginning on."""
    told = next(e for e in call.record.of("said") if e.data["prompt"] == "story")
    return call.heard[int(call.record.at(told) * 8000) :]


def last_words(lines: Lines) -> Sound:
    """The last two seconds of the story, as a caller heard them who did not interrupt it; another prompt follows it."""
    heard = tale(lines.calls["plain"])
    end = voiced_spans(heard, 0.25)[-2][1]
    return heard[int((end - 2.0) * 8000) : int(end * 8000)]


def test_a_false_alarm_lets_the_prompt_go_on(lines: Lines) -> None:
    plain, noisy = lines.calls["plain"], lines.calls["noise"]
    story_at = next(e.number for e in noisy.record.of("said") if e.data["prompt"] == "story")
    assert not [e for e in noisy.record.of("interrupted", "heard") if e.number > story_at], story(noisy.record)
    told = tale(plain)[: 8000 * 12]
    assert likeness(told, tale(noisy)) >= 0.9
    ended, surely = lag(last_words(lines), tale(noisy))
    assert surely >= 0.9
    assert ended > lag(last_words(lines), tale(plain))[0] + 0.3  # it was silent for a while and then went on


def test_words_stop_the_prompt_for_good(lines: Lines) -> None:
    call = lines.calls["speech"]
    spoken = next(x for x in call.outcome.exchanges if x.what == "en-parcel.wav")
    assert spoken.stop_ms is not None
    assert [d["by"] for d in call.data("interrupted")] == ["speech"], story(call.record)
    assert lag(last_words(lines), tale(call))[1] < 0.6
    assert call.data("heard")[0]["intent"] == "order"


def test_a_key_stops_the_prompt(lines: Lines) -> None:
    call = lines.calls["key"]
    pressed = next(x for x in call.outcome.exchanges if x.what == "keys 0")
    assert pressed.stop_ms is not None
    assert [d["by"] for d in call.data("interrupted")] == ["key"], story(call.record)
    assert lag(last_words(lines), tale(call))[1] < 0.6


def steps(record: CallRecord) -> tuple[object, ...]:
    """What a caller went through, whatever the way the keys came."""
    return (record.path, [e.data["queue"] for e in record.of("queued")], [e.data["digit"] for e in record.of("key")])


def test_keys_lead_the_same_way_by_rtp_by_info_and_typed_ahead(lines: Lines, hall: Hall) -> None:
    assert lines.sipp.finishes(whole.LONG_S) == 0, lines.sipp.text
    by_info = wait(lambda: hall.records.of(INFO_CALLER), "the record of the call with INFO")
    wanted = (["root", "cards", "card_service"], ["cards"], [MASK] * 3)
    assert steps(by_info) == wanted, whole.story(by_info)
    for name in ("by keys", "ahead", "one by one"):
        record = lines.calls[name].record
        assert steps(record) == wanted, f"{name}\n{story(record)}"


def test_a_sensitive_number_is_kept_nowhere(lines: Lines, hall: Hall) -> None:
    spoken, keyed = lines.calls["speech"], lines.calls["keyed"]
    assert any(d["prompt"] == "order_is" for d in keyed.data("said")), story(keyed.record)
    assert set(keyed.record.slots["number"]) <= set("*•")
    assert all(d["digit"] == MASK for d in keyed.data("key"))
    assert all(d["text"] in ("", MASK) and d["redacted"] for d in spoken.data("heard")[1:]), story(spoken.record)
    kept = whole.bytes_of_records(hall.gateway.data) + hall.gateway.log.read_bytes()
    for number in (SPOKEN, KEYED):
        assert number.encode() not in kept
    assert "seven six four" not in whole.texts_of_records(hall.gateway.data).lower()


def test_a_spoken_sensitive_number_is_silent_in_the_recording(lines: Lines) -> None:
    call = lines.calls["speech"]
    record = call.record
    assert record.head.recording is not None
    left, right = whole.sides(record.head.recording)
    states = {str(e.data["state"]): e.moment.mono for e in reversed(record.of("recording"))}
    over = states.get("resumed", record.of("ended")[0].moment.mono)
    first, last = (int((at - states["started"]) * 8000) for at in (states["paused"], over))
    spoken = next(x for x in call.outcome.exchanges if x.what == "en-order.wav")
    assert spoken.started is not None
    assert spoken.ended is not None
    assert last - first > 8000 * (spoken.ended - spoken.started)
    assert level(left[first + 1600 : last - 1600]) <= -90
    assert level(left[: first - 1600]) > -45
    assert level(right[: first - 1600]) > -45
