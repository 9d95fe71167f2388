"""`native.dtmf` in numpy: windows of 20 ms taken whole, one every 5 ms. Without the filter against dial tones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
Floats = NDArray[np.float64]

LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
KEYS = "123A456B789C*0#D"
PIECE, PIECES, WINDOW = 40, 4, 160


def mean_square(dbm0: float) -> float:
    """Of a level: a full-scale sine is at 3.14 dBm0 (ITU-T G.711)."""
    return float(32768**2 / 2 * 10 ** ((dbm0 - 3.14) / 10))


def sums(windows: Floats, hertz: tuple[int, ...]) -> NDArray[np.complex128]:
    """(windows, tones): each window's Fourier sum at the tones, its own first sample as origin."""
    return np.asarray(windows @ np.exp(-2j * np.pi * np.outer(np.arange(WINDOW), hertz) / 8000))


def advance(row: NDArray[np.complex128], hertz: int) -> float:
    """The frequency, Hz, by which the phase of successive windows' sums goes ahead."""
    turned = (row[1:] * row[:-1].conj()).sum() * np.exp(-2j * np.pi * hertz * PIECE / 8000)
    return hertz + float(np.angle(turned)) * 8000 / (2 * np.pi * PIECE)


def flatness(x: Floats) -> float:
    """Share of the power that a linear prediction of order 8 leaves."""
    r = np.array([x[k:] @ x[: len(x) - k] for k in range(9)])
    r[0] += 1
    matrix = r[np.abs(np.subtract.outer(np.arange(8), np.arange(8)))]
    return float((r[0] - r[1:] @ np.linalg.solve(matrix, r[1:])) / r[0])


def tones_hold(x: Floats, key: int, hertz: list[float]) -> bool:
    """Whether a window is the key's two tones, near `hertz`, and noise: least squares with ramps."""
    ramp = (np.arange(WINDOW) - 79.5) / 80
    waves = [np.exp(2j * np.pi * f * ramp * 80 / 8000) for f in hertz]
    columns = np.stack([part for w in waves for part in (w.real, w.imag, ramp * w.real, ramp * w.imag)], 1)
    fit, *_ = np.linalg.lstsq(columns, x, rcond=None)
    rest = x - columns @ fit
    share = float(rest @ rest / (x @ x + 1))
    size, change = fit[::4] - 1j * fit[1::4], fit[2::4] - 1j * fit[3::4]
    off, power = (change / size).imag * 8000 / (2 * np.pi * 80), np.abs(size) ** 2 / 2
    wanted = np.array([LOW[key // 4], HIGH[key % 4]])
    steady = np.abs((change / size).real) < 0.05 + 3 * share
    tuned = np.abs((np.array(hertz) + off) / wanted - 1) < 0.022
    twist = 10 * np.log10(power[0] / power[1])
    return bool(
        tuned.all()
        and steady.all()
        and (power > mean_square(-45)).all()
        and -5.5 < twist < 9.5
        and share < 0.2
        and (share < 0.03 or flatness(rest) > 0.6)
    )


def keys(pcm: Pcm) -> list[tuple[str, int]]:
    """(key, samples after which it was known) of every key in `pcm`."""
    x = np.concatenate([np.zeros(3 * WINDOW), pcm[: len(pcm) // PIECE * PIECE].astype(float)])
    windows = np.lib.stride_tricks.sliding_window_view(x, WINDOW)[::PIECE][2 * PIECES + 1 :]
    low, high = sums(windows, LOW), sums(windows, HIGH)
    row, col = np.abs(low).argmax(1), np.abs(high).argmax(1)
    each = np.arange(len(windows))
    row_power = 2 * np.abs(low[each, row] / WINDOW) ** 2
    col_power = 2 * np.abs(high[each, col] / WINDOW) ** 2
    power, least = row_power + col_power, 0.3 * mean_square(-45)
    likely = (power > 0.33 * (windows**2).mean(1)) & (row_power > least) & (col_power > least)
    likely &= (col_power < 3 * 10**0.55 * row_power) & (row_power < 3 * 10**0.95 * col_power)
    index = np.where(likely, 4 * row + col, -1)
    found: list[tuple[str, int]] = []
    held, level, missing = -1, 0.0, 0
    for k in each:
        if held >= 0:
            if index[k] == held and power[k] > 0.16 * level:
                missing, level = 0, max(level, power[k])
            else:
                missing += 1
                held = held if missing < 3 else -1
        last = slice(k - PIECES + 1, k + 1)
        if k < PIECES - 1 or index[k] in (-1, held) or len(set(index[last])) > 1:
            continue
        if power[last].min() < 0.63 * power[last].max():
            continue
        hertz = [advance(low[last, row[k]], LOW[row[k]]), advance(high[last, col[k]], HIGH[col[k]])]
        end = 3 * WINDOW + (k + 1) * PIECE
        if tones_hold(x[end - 220 : end - 60], int(index[k]), hertz):
            held, level, missing = int(index[k]), power[k], 0
            found.append((KEYS[held], int(k + 1) * PIECE))
    return found


def made(digit: str, n: int) -> Floats:
    """The key for `n` samples, faded in over 2 ms: -10 dBm0 the low tone, -8 dBm0 the high one."""
    key = KEYS.index(digit)
    t = 2 * np.pi * np.arange(n) / 8000
    low, high = np.sqrt(2 * mean_square(-10)), np.sqrt(2 * mean_square(-8))
    wave = low * np.sin(LOW[key // 4] * t) + high * np.sin(HIGH[key % 4] * t)
    return np.asarray(wave * np.minimum(1, (np.arange(n) + 1) / 16))
