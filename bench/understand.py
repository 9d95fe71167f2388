"""How well callers are understood: the shipped flows against sentences nobody trained on.

    python bench/understand.py [--heard] [--flow bank] [--lang zh-CN] [--tsv FILE --flow F --lang L] [--misses]
        [--json FILE]

Sentences come from the shared callers' folder (TRUNKLINE_SHARED, or ../shared beside the project); --heard takes what a
recognizer wrote for their audio instead; --tsv any table with the columns intent and text (or asr). An intent of "-"
means that the flow serves no such thing. Thresholds are the flow's own.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gateway.flow.bands import band  # noqa: E402
from gateway.flow.check import load  # noqa: E402
from gateway.flow.embedding import default_embedder  # noqa: E402
from gateway.flow.intents import FlowUnderstanding, lessons  # noqa: E402
from gateway.flow.model import Flow  # noqa: E402

SHARED = Path(os.environ.get("TRUNKLINE_SHARED") or ROOT.parent / "shared")


def wilson(k: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95% interval of a rate (Wilson, 1927)."""
    if n == 0:
        return 0.0, 1.0
    p, d = k / n, 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, (p + z * z / (2 * n) - half) / d), min(1.0, (p + z * z / (2 * n) + half) / d)


def rate(k: int, n: int) -> dict[str, Any]:
    low, high = wilson(k, n)
    return {"k": k, "n": n, "rate": round(k / n, 4) if n else None, "low": round(low, 3), "high": round(high, 3)}


def shown(found: dict[str, Any]) -> str:
    if not found["n"]:
        return "-"
    return f"{found['rate']:.3f} ({found['k']}/{found['n']}, {found['low']:.2f}-{found['high']:.2f})"


def rows(path: Path, column: str) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as table:
        return [(row["intent"], row[column]) for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)]


def measure(flow: Flow, model: FlowUnderstanding, language: str, cases: list[tuple[str, str]]) -> dict[str, Any]:
    at = flow.defaults
    right, accepted_right, accepted, rejected, outside = 0, 0, 0, 0, 0
    inside_n, outside_n = 0, 0
    confusion: Counter[tuple[str, str]] = Counter()
    misses, spent = [], []
    for truth, text in cases:
        started = time.perf_counter()
        ranked = model.rank(text, language)
        spent.append((time.perf_counter() - started) * 1000)
        verdict = band(ranked, at.accept, at.confirm, at.margin)
        best, score = ranked.best
        if truth == "-":
            outside_n += 1
            outside += verdict == "reject"
            if verdict != "reject":
                misses.append((truth, best, verdict, score, text))
                confusion["-", best] += 1
            continue
        inside_n += 1
        right += best == truth and verdict != "reject"
        rejected += verdict == "reject"
        accepted += verdict == "accept"
        accepted_right += verdict == "accept" and best == truth
        if best != truth or verdict == "reject":
            misses.append((truth, best, verdict, score, text))
            confusion[truth, "reject" if verdict == "reject" else best] += 1
    spent.sort()
    return {
        "right": rate(right, inside_n),
        "accepted": rate(accepted, inside_n),
        "accepted_right": rate(accepted_right, accepted),
        "inside_rejected": rate(rejected, inside_n),
        "outside_rejected": rate(outside, outside_n),
        "ms_median": round(spent[len(spent) // 2], 2),
        "ms_p95": round(spent[int(len(spent) * 0.95)], 2),
        "confusion": [[*pair, n] for pair, n in confusion.most_common()],
        "misses": misses,
    }


def total(parts: list[dict[str, Any]], key: str) -> dict[str, Any]:
    return rate(sum(p[key]["k"] for p in parts), sum(p[key]["n"] for p in parts))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flow", action="append")
    parser.add_argument("--lang", action="append")
    parser.add_argument("--heard", action="store_true", help="recognized text instead of written text")
    parser.add_argument("--tsv", type=Path)
    parser.add_argument("--misses", action="store_true", help="show every sentence that went wrong")
    parser.add_argument("--no-embedding", action="store_true", help="words, letters and sounds only")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    columns = ("right", "accepted", "accepted_right", "inside_rejected", "outside_rejected")
    print("flow   language  " + "".join(f"{c:<30}" for c in columns) + "ms median/p95   fit s")
    result: dict[str, Any] = {}
    for name in args.flow or ["bank", "shop"]:
        flow = load(ROOT / "ivr_flows" / f"{name}.yaml")
        said, unsaid = lessons(flow)
        for language in args.lang or flow.languages:
            path = args.tsv or (
                SHARED / "callers" / "audio" / f"{name}.{language}" / "index.tsv"
                if args.heard
                else SHARED / "callers" / f"{name}.{language}.tsv"
            )
            started = time.perf_counter()
            embedder = None if args.no_embedding else default_embedder()
            model = FlowUnderstanding({language: said[language]}, embedder, unsaid)
            fit_s = time.perf_counter() - started
            part = measure(flow, model, language, rows(path, "asr" if args.heard else "text"))
            result[f"{name}.{language}"] = part
            times = f"{part['ms_median']:.1f}/{part['ms_p95']:.1f}"
            print(
                f"{name:<7}{language:<10}"
                + "".join(f"{shown(part[c]):<30}" for c in columns)
                + f"{times:<16}{fit_s:.1f}"
            )
            for miss in part.pop("misses") if args.misses else ():
                print("   ", *miss)
            part.pop("misses", None)
    parts = list(result.values())
    result["all"] = {c: total(parts, c) for c in columns}
    print(f"{'all':<17}" + "".join(f"{shown(result['all'][c]):<30}" for c in columns))
    for key, part in result.items():
        pairs = ", ".join(f"{a}->{b} {n}" for a, b, n in part.get("confusion", [])[:12])
        if pairs:
            print(f"{key}: {pairs}")
    if args.json:
        args.json.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
