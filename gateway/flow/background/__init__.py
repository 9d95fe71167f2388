"""What callers say that no flow serves: `<language>.txt`, one sentence a line."""

from __future__ import annotations

from importlib import resources


def sentences(language: str) -> list[str]:
    """The background sentences of a language (BCP 47), of a sister tag such as en-GB's en-US, or an empty list."""
    stem = language.split("-")[0]
    files = sorted(resources.files(__name__).iterdir(), key=lambda f: (f.name != f"{language}.txt", f.name))
    for file in files:
        if file.name.endswith(".txt") and file.name.split("-")[0] == stem:
            lines = file.read_text(encoding="utf-8").splitlines()
            return [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return []
