"""C libraries found by path: what is there works, what is missing is named with what to do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from native import foreign


@pytest.mark.parametrize("name", sorted(foreign.LIBRARIES))
def test_every_function_of_a_library_is_found(name: str) -> None:
    found, problem = foreign.find(name)
    assert problem == ""
    assert set(found) == set(foreign.LIBRARIES[name].signatures)
    assert all(found.values())


@pytest.mark.parametrize("name", sorted(foreign.LIBRARIES))
def test_a_missing_library_is_named_with_what_to_do(name: str) -> None:
    library = foreign.LIBRARIES[name]
    found, problem = foreign.load(replace(library, files=lambda: iter(())))
    assert found == {}
    for part in (library.needs, library.install, library.without, "is not installed"):
        assert part in problem


@pytest.mark.parametrize("name", sorted(foreign.LIBRARIES))
def test_a_file_that_is_no_library_or_another_one_is_passed_over(name: str, tmp_path: Path) -> None:
    broken = tmp_path / "libbroken.so"
    broken.write_bytes(b"\x7fELF" + bytes(60))
    library = foreign.LIBRARIES[name]

    def only_wrong() -> Iterator[str]:
        yield str(broken)
        yield "libm.so.6"

    def wrong_first() -> Iterator[str]:
        yield from only_wrong()
        yield from library.files()

    found, problem = foreign.load(replace(library, files=only_wrong))
    assert found == {}
    assert "can't be used" in problem
    assert foreign.load(replace(library, files=wrong_first))[1] == ""


def test_a_library_that_answers_wrongly_is_not_used() -> None:
    def wrong(library: object) -> None:
        raise ValueError("1 + 1 was 3")

    found, problem = foreign.load(replace(foreign.LIBRARIES["opus"], check=wrong))
    assert found == {}
    assert "1 + 1 was 3" in problem


def test_libopus_is_looked_for_in_the_wheels_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package, file in (("av", "av.libs/libopus-1.so.0.11"), ("opuslib_next", "opuslib_next/_native/libopus.so")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('imported')")
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "av.libs" / "libx264-1.so.165").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("av", "opuslib_next"):
        monkeypatch.delitem(sys.modules, package, raising=False)  # what runs in this process already is found as it is
    files = list(foreign.opus_files())
    assert files == [
        str(tmp_path / "av.libs/libopus-1.so.0.11"),
        str(tmp_path / "opuslib_next/_native/libopus.so"),
        "libopus.so.0",
    ]
