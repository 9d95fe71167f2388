"""Log lines as they leave the process."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from gateway.core.errors import ConfigError, Mark
from gateway.observe import logs

log = logging.getLogger("gateway.calls.sample")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, gateway = logging.getLogger(), logging.getLogger("gateway")
    before = (list(root.handlers), root.level, gateway.level)
    yield io.StringIO()
    root.handlers[:], level, gateway_level = before
    root.setLevel(level)
    gateway.setLevel(gateway_level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_time_level_node_message_and_redacted_fields(stream: io.StringIO) -> None:
    logs.set_up("json", node="node-a", stream=stream)
    log.info("heard", extra={"fields": {"call": "c-1", "text": "my balance", "score": 0.93, "message": "mine"}})
    (line,) = lines(stream)
    assert (line["level"], line["logger"], line["node"]) == ("info", "gateway.calls.sample", "node-a")
    assert (line["message"], line["call"], line["score"]) == ("heard", "c-1", 0.93)
    assert str(line["time"]).endswith("+00:00")
    assert "balance" not in stream.getvalue()
    assert "mine" not in stream.getvalue()


def test_an_error_of_a_library_shows_where_but_not_what_the_caller_said(stream: io.StringIO) -> None:
    logs.set_up("json", stream=stream)
    try:
        int("my pin is 7719")
    except ValueError:
        log.exception("a digit could not be read")
    (line,) = lines(stream)
    assert "7719" not in stream.getvalue()
    assert line["error"]["type"] == "ValueError"  # type: ignore[index]
    assert "test_logs.py" in str(line["error"])


def test_an_error_of_our_own_speaks_for_people(stream: io.StringIO) -> None:
    logs.set_up("human", stream=stream)
    try:
        raise ConfigError("unknown key", where=Mark("gateway.yaml", 3, 5), near="http")
    except ConfigError:
        log.exception("not loaded")
    text = stream.getvalue()
    assert "gateway.yaml:3:5" in text
    assert "did you mean: http" in text
    assert "Traceback" not in text


def test_network_text_can_not_forge_a_line_or_drive_the_terminal(stream: io.StringIO) -> None:
    logs.set_up("human", stream=stream)
    log.warning("from %s", "evil\n12:00:00 call answered\x1b[2J", extra={"fields": {"agent": "a\nb", "reason": "x y"}})
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()
    assert 'reason="x y"' in stream.getvalue()


def test_setting_up_again_replaces_and_libraries_stay_quiet(stream: io.StringIO) -> None:
    logs.set_up("json", stream=io.StringIO())
    logs.set_up("json", stream=stream, level="debug")
    log.debug("one")
    logging.getLogger("uvicorn").info("noise")
    logging.getLogger("uvicorn").warning("trouble")
    assert [line["message"] for line in lines(stream)] == ["one", "trouble"]


def test_a_line_with_wrong_arguments_is_still_written(stream: io.StringIO) -> None:
    handler = logs.set_up("json", stream=stream)
    handler.handle(log.makeRecord(log.name, logging.INFO, __file__, 1, "%d calls", ("three",), None))
    assert lines(stream)[0]["message"] == "%d calls"
