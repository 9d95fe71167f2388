"""A file from the web: resumed where it stopped, checked by SHA-256, put in place in one step. Standard library
only.
"""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from gateway.core.errors import ModelMissing

BLOCK = 1 << 16
TIMEOUT_S = 20.0


def download(url: str, goal: Path, sha256: str, progress: Callable[[int, int], None]) -> Path:
    """`goal`, holding what `url` serves. A part file beside it is continued with an HTTP range request (RFC 9110
    section 14).

    `sha256` empty: not checked. `progress(done, total)` in bytes. Raises ModelMissing when the network or the check
    fails.
    """
    part = goal.with_name(goal.name + ".part")
    goal.parent.mkdir(parents=True, exist_ok=True)
    try:
        if goal.exists():  # put there by hand
            goal.replace(part)
        else:
            fetch(url, part, progress)
    except (urllib.error.URLError, OSError) as problem:
        reason = getattr(problem, "reason", None) or problem
        raise ModelMissing(
            "a model could not be fetched",
            read=f"{url}: {reason}",
            do=f"connect to the network and try again (it goes on where it stopped), or put the file at {goal}",
        ) from None
    if sha256 and (found := digest(part)) != sha256:
        part.unlink()
        raise ModelMissing(
            "a fetched model is not the file it should be; it was deleted",
            read=f"{url}: SHA-256 {found}",
            expected=f"SHA-256 {sha256}",
            do="try again; if it stays so, the file was changed at its source: do not use it",
        )
    part.replace(goal)
    return goal


def fetch(url: str, part: Path, progress: Callable[[int, int], None]) -> None:
    """Append what is missing of `url` to `part`."""
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as problem:
        if problem.code == 416:  # nothing is missing
            return
        raise
    with answer:
        if answer.status != 206:
            done = 0
        total = done + int(answer.headers.get("Content-Length") or 0)
        with part.open("ab" if done else "wb") as out:
            while block := answer.read(BLOCK):
                out.write(block)
                done += len(block)
                progress(done, total)
    if done < total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as held:
        return hashlib.file_digest(held, "sha256").hexdigest()
