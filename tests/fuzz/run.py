"""Coverage-guided fuzzing by libFuzzer, of native/ and of gateway/sip: python tests/fuzz/run.py SECONDS [TARGET ...]

Inputs that reach something new are kept under build/fuzz/corpus; an input that breaks something is saved as
tests/fuzz/corpus/TARGET/crash-*, which tests/fuzz/test_corpus.py replays from then on. `--keep` renews the small corpus
of tests/fuzz/corpus with the fewest inputs that reach what was reached so far.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fuzz.build import HERE, OUT, build, runtime
from tests.fuzz.scripts import TARGETS
from tests.fuzz.sip_scripts import SIP_TARGETS

CORPUS = HERE / "corpus"
LARGEST = 2048
LARGEST_SIP = 4096
"""Octets of an input."""
SEEDS = {"message": [HERE.parent / "sip" / "torture"], "description": [HERE.parent / "sip" / "sdp"]}
"""Inputs that stand elsewhere."""


def child(target: str, options: list[str]) -> None:
    """Runs libFuzzer in this process, which was started with AddressSanitizer loaded."""
    driver = ctypes.CDLL(str(OUT / "driver.so"))
    sys.path.insert(0, str(OUT))
    import target as targets

    again = OUT / f"again-{target}"  # libFuzzer starts itself anew by its first argument, to merge
    loaded = f"LD_PRELOAD={shlex.quote(os.environ.pop('LD_PRELOAD'))}"  # for this program alone, no symbolizer
    command = " ".join(map(shlex.quote, (sys.executable, __file__, "--child", target)))
    again.write_text(f'#!/bin/sh\n{loaded} exec {command} "$@"\n')
    again.chmod(0o755)
    arguments = [str(again).encode(), *(option.encode() for option in options)]
    count = ctypes.c_int(len(arguments))
    values = ctypes.cast((ctypes.c_char_p * (len(arguments) + 1))(*arguments), ctypes.c_void_p)
    driver.LLVMFuzzerRunDriver.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    sys.exit(driver.LLVMFuzzerRunDriver(ctypes.byref(count), ctypes.byref(values), targets.TARGETS[target]))


def start_sip(target: str, *options: str) -> list[str]:
    """The command that fuzzes a target of sip_scripts.py, with a name by which libFuzzer starts it again."""
    again = OUT / f"again-{target}"
    again.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE / "sip_child.py"), target, str(again)]
    again.write_text(f'#!/bin/sh\nexec {" ".join(map(shlex.quote, command))} "$@"\n')
    again.chmod(0o755)
    return [*command, f"-max_len={LARGEST_SIP}", "-timeout=10", f"-dict={HERE / 'sip.dict'}", *options]


def start(target: str, *options: str) -> tuple[int, str]:
    """The exit status and all that libFuzzer said."""
    if target in SIP_TARGETS:
        return run(target, start_sip(target, *options), dict(os.environ))
    environment = {
        **os.environ,
        "LD_PRELOAD": f"{OUT / 'driver.so'} {runtime(f'libclang_rt.asan-{os.uname().machine}.so')}",
        # The driver stands first, for its coverage functions go before AddressSanitizer's empty ones. What Python leaks
        # is not ours to find.
        "ASAN_OPTIONS": "verify_asan_link_order=0:detect_leaks=0:allocator_may_return_null=1",
    }
    command = [sys.executable, __file__, "--child", target, f"-max_len={LARGEST}", "-timeout=10", *options]
    return run(target, command, environment)


def run(target: str, command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    log = OUT / f"{target}.log"
    with log.open("w") as said:
        status = subprocess.run(command, env=environment, stdout=said, stderr=said).returncode
    return status, log.read_text(errors="replace")


def folders(target: str) -> tuple[Path, Path]:
    grown, kept = OUT / "corpus" / target, CORPUS / target
    for folder in (grown, kept):
        folder.mkdir(parents=True, exist_ok=True)
    return grown, kept


def fuzz(target: str, seconds: int) -> bool:
    """True where nothing broke."""
    grown, kept = folders(target)
    prefix = f"-artifact_prefix={kept}/"
    folder = [str(path) for path in (grown, kept, *SEEDS.get(target, ()))]
    status, said = start(target, f"-max_total_time={seconds}", "-print_final_stats=1", prefix, *folder)
    runs = re.findall(r"number_of_executed_units: (\d+)", said)
    reached = re.findall(r"cov: (\d+) ft: (\d+)", said)
    points, features = reached[-1] if reached else ("-", "-")
    verdict = "nothing broke" if status == 0 else "BROKEN"
    told = f"{runs[-1] if runs else '-':>9} inputs  {points:>5} points, {features:>5} features reached"
    print(f"{target:11} {told}  {verdict}", flush=True)
    if status:
        telling = ("ERROR", "Test unit", "runtime error:", "Error", "Exception")
        print("\n".join(line for line in said.splitlines() if any(word in line for word in telling)))
        print(f"  all it said: {OUT / f'{target}.log'}")
    return status == 0


def keep(target: str) -> None:
    """The corpus of the repository anew: the fewest inputs; what broke something once stays."""
    grown, kept = folders(target)
    fresh = OUT / "kept" / target
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    sources = [str(path) for path in (grown, kept, *SEEDS.get(target, ()))]
    status, said = start(target, "-set_cover_merge=1", "-use_counters=0", str(fresh), *sources)
    if status or not any(fresh.iterdir()):
        sys.exit(f"{target}: the corpus can't be merged\n{said[-2000:]}")
    for path in kept.iterdir():
        if not path.name.startswith("crash-"):
            path.unlink()
    for path in fresh.iterdir():
        shutil.copy(path, kept / path.name[:12])
    print(f"{target:11} {len(list(kept.iterdir()))} inputs kept")


def main(arguments: list[str]) -> int:
    renew = "--keep" in arguments
    seconds, *named = [word for word in arguments if word != "--keep"] or ["60"]
    known = [*TARGETS, *SIP_TARGETS]
    targets = named or known
    if not seconds.isdigit() or set(targets) - set(known):
        print(f"expected: SECONDS [TARGET ...], targets: {', '.join(known)}; read: {' '.join(arguments)}")
        return 2
    if set(targets) & set(TARGETS):
        build()
    whole = [fuzz(target, max(1, int(seconds) // len(targets))) for target in targets]
    for target in targets if renew else ():
        keep(target)
    return 0 if all(whole) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    sys.exit(main(sys.argv[1:]))
