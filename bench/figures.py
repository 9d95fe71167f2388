"""Figures of a run: rates with their intervals, percentiles, slopes, CPU seconds of other processes, tables, JSON."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

HERTZ = os.sysconf("SC_CLK_TCK")
SHARES = {"p50": 50.0, "p99": 99.0, "p99.9": 99.9, "worst": 100.0}
NEEDED = {"p50": 1, "p99": 1_000, "p99.9": 10_000, "worst": 1}
"""A percentile is a figure from so many values on."""

out = Console() if sys.stdout.isatty() else Console(width=160)


def wilson(right: int, n: int) -> tuple[float, float]:
    """95% interval of a rate (Wilson 1927); (0, 1) where nothing was tried."""
    if n == 0:
        return 0.0, 1.0
    z = 1.96
    p = right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def rate(right: int, n: int) -> dict[str, Any]:
    """A rate as it is written to JSON: how many of how many, and its 95% interval."""
    low, high = wilson(right, n)
    return {"right": right, "n": n, "low": round(low, 5), "high": round(high, 5)}


def spread(values: NDArray[Any]) -> dict[str, Any]:
    """n and percentiles of values (ms); None where n is too small for one."""
    n = len(values)
    return {"n": n} | {
        name: round(float(np.percentile(values, share)), 3) if n >= NEEDED[name] else None
        for name, share in SHARES.items()
    }


def spread_of(histogram: NDArray[np.int64], step: float = 0.1) -> dict[str, Any]:
    """The same from counts in buckets of `step` ms (upper edges); the last bucket is open."""
    total = np.cumsum(histogram)
    n = int(total[-1]) if len(total) else 0
    return {"n": n} | {
        name: round(float(np.searchsorted(total, math.ceil(n * share / 100)) + 1) * step, 3)
        if n >= NEEDED[name]
        else None
        for name, share in SHARES.items()
    }


@dataclass(frozen=True)
class Slope:
    """Least squares: change of y for one x, with its 95% interval."""

    value: float
    low: float
    high: float


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """A straight line through at least three points; the interval takes the residuals as independent and normal."""
    a, b = np.asarray(x, float), np.asarray(y, float)
    centred = a - a.mean()
    value = float((centred * b).sum() / (centred**2).sum())
    rest = b - b.mean() - value * centred
    half = 1.96 * math.sqrt(float((rest**2).sum()) / max(1, len(a) - 2) / float((centred**2).sum()))
    return Slope(value, value - half, value + half)


# --- processes ----------------------------------------------------------------------------------------------------


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far of whole processes, ended threads included (clock_getcpuclockid)."""
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def resident_kb(pid: int) -> int:
    """Memory a process holds (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def stolen_seconds() -> float:
    """Time the machine's host took from all its cores so far (`steal` of /proc/stat)."""
    return int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) / HERTZ


def dropped(ports: Iterable[int]) -> int:
    """Datagrams the kernel threw away so far because a socket's buffer was full, of these local UDP ports (IPv4)."""
    wanted = set(ports)
    rows = (line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:])
    return sum(int(row[-1]) for row in rows if int(row[1].rpartition(":")[2], 16) in wanted)


# --- what is printed ----------------------------------------------------------------------------------------------


@contextmanager
def progress(what: str) -> Iterator[None]:
    """A line that shows that something runs, and since when."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as shown:
        shown.add_task(what, total=None)
        yield


def shown(value: object) -> str:
    """A cell: numbers short, what is not known as a dash, a rate with its interval."""
    if value is None:
        return "-"
    if isinstance(value, dict) and "low" in value:
        return f"{value['right']:,}/{value['n']:,} [{100 * value['low']:.1f}-{100 * value['high']:.1f}%]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints rows; the first column is left, numbers are right."""
    drawn = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        drawn.add_column(column, justify="left" if at == 0 else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(shown(cell) for cell in row))
    out.print(drawn)


def late_rows(rows: dict[str, dict[str, Any]]) -> list[list[object]]:
    """Rows of a lateness table: name, n, percentiles."""
    return [[name, found["n"], *(found[share] for share in SHARES)] for name, found in rows.items() if found]


def write_json(path: Path | None, figures: object) -> None:
    """Keeps the figures, where a file was named."""
    if path:
        path.write_text(json.dumps(figures, indent=1, default=str) + "\n", encoding="utf-8")
