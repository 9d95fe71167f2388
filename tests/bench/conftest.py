"""Human speech that the generator's streams are made of."""

from __future__ import annotations

import os

import pytest

from bench.generate import speech


@pytest.fixture(scope="session")
def spoken() -> None:
    """Skips by name, or fails in CI, where the prompts' package is not installed."""
    try:
        speech.pieces()
    except FileNotFoundError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
