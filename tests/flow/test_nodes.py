"""Marked YAML: every value has its place, and nothing a file holds can do harm."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import ConfigError, Findings, FlowError, Mark, TrunklineError
from gateway.flow.fields import Fields, Report
from gateway.flow.nodes import MAX_DEPTH, read, read_text


def test_every_key_and_value_has_a_place() -> None:
    root = read_text("a: 1\nb:\n  - x\n  - {c: two}\n", "f.yaml")
    item = root.value["b"].value[1]
    assert root.value["a"].key_mark == Mark("f.yaml", 1, 1)
    assert root.value["a"].mark == Mark("f.yaml", 1, 4)
    assert root.value["b"].value[0].mark == Mark("f.yaml", 3, 5)
    assert item.value["c"].key_mark == Mark("f.yaml", 4, 6)


def test_scalars_follow_yaml_1_2() -> None:
    root = read_text('[no, 12:30, 010, 0.5, true, null, "7", 1e3, -2, ~]', "f.yaml")
    assert [n.value for n in root.value] == ["no", "12:30", 10, 0.5, True, None, "7", 1000.0, -2, None]
    assert root.value[2].raw == "010"


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: [1, 2\nb: 3\n", 2, 2, "not valid YAML"),
        ("a:\n\tb: 1\n", 2, 1, "a tab stands"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "key a stands twice"),
        ("a: *nothing\n", 1, 4, "unknown alias *nothing"),
        ("a: &x [1, *x]\n", 1, 11, "alias *x holds itself"),
        ("a: &x {k: 1}\nb:\n  <<: *x\n", 3, 3, "merge keys"),
        ("a: 1\n---\nb: 2\n", 2, 1, "a second document"),
        ("? [a]\n: 1\n", 1, 3, "a key must be a word"),
        ("a: b\x07c\n", 1, 5, "a character YAML does not allow"),
        ("a: 'open\n", 2, 1, "not valid YAML"),
        ("a: {b: 1}}\n", 1, 10, "not valid YAML"),
        ("a: @b\n", 1, 4, "not valid YAML"),
    ],
)
def test_syntax_errors_have_a_place(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(FlowError) as caught:
        read_text(text, "f.yaml")
    assert words in caught.value.what
    assert caught.value.where == Mark("f.yaml", line, column)


def test_wrong_encoding_and_missing_file(tmp_path: Path) -> None:
    broken = tmp_path / "gbk.yaml"
    broken.write_bytes("a: 1\nb: 中文\n".encode("gbk"))
    with pytest.raises(ConfigError) as caught:
        read(broken, ConfigError)
    assert caught.value.what == "not UTF-8 text"
    assert caught.value.where == Mark(str(broken), 2, 4)
    with pytest.raises(FlowError, match="no such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(FlowError, match="is a directory"):
        read(tmp_path)
    with_bom = tmp_path / "bom.yaml"
    with_bom.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(with_bom).value["a"].value == 1


def test_too_deep_too_large_and_alias_bombs() -> None:
    with pytest.raises(FlowError, match="nested too deep"):
        read_text("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "f.yaml")
    with pytest.raises(FlowError, match="nested too deep"):
        read_text("[" * 50_000, "f.yaml")
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
    )
    with pytest.raises(FlowError, match="too many values"):
        read_text(bomb, "f.yaml")


def test_fields_report_everything_once_and_never_cascade() -> None:
    text = "ring_s: soon\npriorty: 3\nskills: [a]\nflag: perhaps\ncolour: red\nwait: 15x\n"
    report = Report()
    with Fields(read_text(text, "f.yaml"), report, "queue x") as f:
        assert f.number("ring_s", 15.0) == 15.0
        assert f.integer("priority", 1) == 1
        assert f.named("skills") == []
        assert f.flag("flag", False) is False
        assert f.choice("colour", ("reds", "blue"), "blue") == "blue"
        assert f.duration("wait", 2.0) == 2.0
        assert f.text("name") is None
    with pytest.raises(Findings) as caught:
        report.settle("f.yaml")
    found = [(str(e.where), e.what, e.near) for e in caught.value.items]
    assert found == [
        ("f.yaml:1:1", "queue x has no name", None),
        ("f.yaml:1:9", "ring_s of queue x can't be used", None),
        ("f.yaml:2:1", "unknown key in queue x: priorty", "priority"),
        ("f.yaml:3:9", "skills must be a map", None),
        ("f.yaml:4:7", "flag of queue x can't be used", None),
        ("f.yaml:5:9", "colour of queue x can't be used", "reds"),
        ("f.yaml:6:7", "wait of queue x can't be used", None),
    ]
    assert str(caught.value).endswith("f.yaml: 7 errors")


def test_a_value_that_is_no_map_is_one_error() -> None:
    report = Report(ConfigError)
    with Fields(read_text("[1]", "f.yaml"), report, "agents") as f:
        assert f.text("name") is None
        assert f.number("x", 3.0) == 3.0
    assert [type(e) for e in report.items] == [ConfigError]
    assert report.items[0].what == "agents must be a map"


def test_durations() -> None:
    report = Report()
    with Fields(read_text("a: 500ms\nb: 15s\nc: 2m\nd: 1h\ne: 3\n", "f.yaml"), report, "x") as f:
        assert [f.duration(k) for k in "abcde"] == [0.5, 15.0, 120.0, 3600.0, 3.0]
    assert report.items == []


@given(st.text(alphabet="ab:- \n\t[]{}&*!|>'\"%@`#,?0中", max_size=80))
def test_any_text_gives_a_tree_or_an_error_with_a_place(text: str) -> None:
    try:
        read_text(text, "f.yaml")
    except TrunklineError as error:
        assert error.where is not None  # noqa: PT017  either outcome is right
