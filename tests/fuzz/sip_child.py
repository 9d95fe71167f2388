"""Runs libFuzzer on a target of sip_scripts.py, its coverage counted by atheris.

`run.py` starts it with the target, a program that starts it likewise (libFuzzer wants one to merge), and libFuzzer's
options.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
with atheris.instrument_imports(include=["gateway.sip"]):
    from tests.fuzz.sip_scripts import SIP_TARGETS


def main(target: str, again: str, options: list[str]) -> None:
    atheris.Setup([again, *options], SIP_TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
