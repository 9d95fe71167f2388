"""Speech detection beside prompts, echoes and noises: hours of line in seconds, through the engine's own detector."""

from __future__ import annotations

import numpy as np
import pytest

from native import kernels

from . import lines


def starts(found: np.ndarray) -> np.ndarray:
    return found[found[:, 0] == 1]


@pytest.mark.parametrize("payload", [0, 8])
def test_an_hour_of_the_prompts_own_echo_never_interrupts(speech: list[np.ndarray], payload: int) -> None:
    rng = np.random.default_rng(10 + payload)
    denied = 0
    for delay in np.linspace(20, 300, 60):
        played = lines.coded(lines.talk(rng, speech, 30, rng.choice([-26, -20, -15])), payload)
        # on the way there and back the audio also waits for packets: up to two frames
        heard = lines.coded(lines.echo(played, -12, delay + rng.uniform(0, 40)), payload)
        found, facts = kernels.detect(heard, played)
        assert len(found) == 0, f"delay {delay:.0f} ms"
        denied += facts["denied"]
    assert denied > 60  # the guard had to say no at least once for each delay


@pytest.mark.parametrize("colour", [(0.25, 0.5, 0.25), (0.5, 0.0, 0.0, 0.0, 0.6, -0.4, 0.0, 0.2, 0.1)])
def test_a_coloured_or_noisy_echo_does_not_interrupt(speech: list[np.ndarray], colour: tuple[float, ...]) -> None:
    rng = np.random.default_rng(3)
    shape = np.array(colour) / np.sqrt(np.sum(np.square(colour)))
    for delay in np.linspace(20, 300, 10):
        played = lines.coded(lines.talk(rng, speech, 30, -20))
        back = np.convolve(lines.echo(played, -12, delay), shape)[: len(played)]
        back += lines.noise(rng, "pink", 30, -58, speech)
        assert len(kernels.detect(lines.coded(back), played)[0]) == 0, f"delay {delay:.0f} ms"


def test_an_echo_whose_delay_jumps_in_a_pause_does_not_interrupt(speech: list[np.ndarray]) -> None:
    rng = np.random.default_rng(8)
    for _ in range(20):
        parts = [lines.talk(rng, speech, 8, -20), np.zeros(4000), lines.talk(rng, speech, 8, -20)]
        played = lines.coded(np.concatenate(parts))
        first, second = (lines.echo(played, -12, d) for d in rng.uniform(40, 320, 2))
        heard = np.concatenate([first[: 68000 - 1000], second[68000 - 1000 :]])
        assert len(kernels.detect(lines.coded(heard), played)[0]) == 0


@pytest.mark.parametrize(("caller", "echo_db"), [(-20, None), (-26, None), (-20, -12.0), (-26, -12.0)])
def test_a_caller_over_the_prompt_is_heard_in_time(
    speech: list[np.ndarray], caller: float, echo_db: float | None
) -> None:
    rng = np.random.default_rng(6)
    waits = []
    for _ in range(100):
        played = lines.coded(lines.talk(rng, speech, 5, -20))
        voice = lines.coded(lines.at_level(speech[rng.integers(len(speech))], caller))
        begin = int(rng.integers(100, 180)) * 160
        heard = np.zeros(len(played))
        length = min(len(voice), len(heard) - begin)
        heard[begin : begin + length] = voice[:length]
        if echo_db is not None:
            heard += lines.echo(played, echo_db, rng.uniform(20, 340))
        found = starts(kernels.detect(lines.coded(heard), played)[0])
        assert all(found[:, 1] > begin)
        waits.append((found[0, 1] - begin - lines.onset(voice)) / 8 if len(found) else 9999)
    waits_ms = np.array(waits)
    assert np.median(waits_ms) <= 60
    assert np.mean(waits_ms <= 100) >= 0.9
    assert np.mean(waits_ms <= 300) >= 0.97


@pytest.mark.parametrize("kind", lines.NOISES)
def test_noise_does_not_interrupt(speech: list[np.ndarray], kind: str) -> None:
    """Ten minutes a noise: levels from -50 to -35 dBFS (babble -50), steady and in steps."""
    rng = np.random.default_rng(21)
    silent = np.zeros(120 * 8000, np.int16)
    false = 0
    for level in (-50, -50, -50, -50) if kind == "babble" else (-50, -45, -40, -35):
        false += len(starts(kernels.detect(lines.coded(lines.noise(rng, kind, 120, level, speech)), silent)[0]))
    stepped = lines.noise(rng, kind, 120, -45 if kind == "babble" else -35, speech)
    if kind != "babble":
        stepped = lines.steps(rng, stepped)
    false += len(starts(kernels.detect(lines.coded(stepped), silent)[0]))
    assert false <= 1


def test_speech_ends_after_a_fifth_of_a_second(speech: list[np.ndarray]) -> None:
    line = np.concatenate([np.zeros(8000), lines.at_level(speech[0], -20), np.zeros(8000)])
    line = lines.coded(line)[: len(line) // 160 * 160]
    found, _ = kernels.detect(line, np.zeros(len(line), np.int16))
    assert [int(k) for k in found[:2, 0]] == [1, 2]
    assert found[-1, 0] == 2
    last = np.flatnonzero(np.abs(line.astype(int)) > 400)[-1]
    assert 0 <= found[-1, 1] - last <= 0.5 * 8000
