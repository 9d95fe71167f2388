"""Recordings of callers through the telephone: recognized, then understood. The figure a caller meets.

    python bench/heard.py [--misses] [--json FILE]

Each recording goes through 8 kHz G.711 into the recognizer, which expects the words of the shipped flows as in a call;
the text goes to the flow's intent model with the flow's thresholds.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.understand import rate, shown  # noqa: E402
from gateway.calls.words import expected  # noqa: E402
from gateway.flow.bands import band  # noqa: E402
from gateway.flow.check import load  # noqa: E402
from gateway.flow.understanding import lessons, serve  # noqa: E402
from gateway.lab.transcribe import transcribe  # noqa: E402

SHARED = Path(os.environ.get("TRUNKLINE_SHARED") or ROOT.parent / "shared")


def main() -> None:
    """Prints a row a flow and language, and all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--misses", action="store_true", help="show what was not right")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    flows = {name: load(ROOT / "ivr_flows" / f"{name}.yaml") for name in ("bank", "shop")}
    model = serve({name: lessons(flow) for name, flow in flows.items()})
    results, right, total = {}, 0, 0
    for language in ("en-US", "zh-CN"):
        words = expected(flows.values(), language)
        for name, flow in flows.items():
            folder = SHARED / "callers" / "audio" / f"{name}.{language}"
            with (folder / "index.tsv").open(encoding="utf-8") as table:
                rows = list(csv.DictReader(table, delimiter="\t"))
            d, good = flow.defaults, 0
            for row, (_, heard) in zip(
                rows, transcribe([folder / r["file"] for r in rows], language, words), strict=True
            ):
                ranked = model.rank(name, heard.text, language)
                ok = ranked.best[0] == row["intent"] and band(ranked, d.accept, d.confirm, d.margin) != "reject"
                good += ok
                if not ok and options.misses:
                    print(f"  {row['intent']}: {row['text']} | {heard.text} | {ranked.best}")
            results[f"{name} {language}"] = rate(good, len(rows))
            right, total = right + good, total + len(rows)
    results["all"] = rate(right, total)
    for key, found in results.items():
        print(f"{key:12} {shown(found)}")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
