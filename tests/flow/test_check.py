"""Checking flows: all errors at once, each with its place, none that only follows from another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import Findings, TrunklineError
from gateway.flow.check import Advice, check, load
from gateway.flow.flatten import MAX_CHOICES, choices, sayable, table
from gateway.flow.templates import fixed_texts
from gateway.routing.model import Agent
from tests.flow.flows import FLOWS, SMALL, shipped

INTENTS = {
    "bank": "balance card_lost fraud transfer_money loan card_bill card_activate pin_reset branch_info open_account "
    "exchange_rate complaint agent",
    "shop": "order_status return_refund exchange_item product_info repair invoice complaint cancel_order "
    "change_address membership store_info payment_problem agent",
}


def found(tmp_path: Path, text: str) -> list[str]:
    """`line:column what` of every finding."""
    path = tmp_path / "flow.yaml"
    path.write_text(text, encoding="utf-8")
    return [f"{e.where.line}:{e.where.column} {e.what}" for e in check(path) if e.where]


def changed(old: str, new: str) -> str:
    assert old in SMALL
    return SMALL.replace(old, new, 1)


@pytest.mark.parametrize("name", ["bank", "shop"])
def test_shipped_flows_are_clean(name: str) -> None:
    agents = [
        Agent("a", "A", "sip:a", {"cards": 3, "loans": 3, "orders": 3, "returns": 3, "en-US": 5}),
        Agent("b", "B", "sip:b", {"senior": 3, "zh-CN": 5}),
    ]
    assert [str(e) for e in check(FLOWS / f"{name}.yaml", agents)] == []
    flow = shipped(name)
    assert set(flow.intents) == set(INTENTS[name].split())
    assert max(choices(flow).values()) == MAX_CHOICES
    assert flow.languages == ("en-US", "zh-CN")
    assert len([1 for _, language in fixed_texts(flow) if language == "zh-CN"]) <= 70


@pytest.mark.parametrize("name", ["bank", "shop"])
def test_flattened_every_intent_can_be_said_in_every_menu_and_keyed_from_the_start(name: str) -> None:
    flow = shipped(name)
    for menu in flow.menus:
        assert set(sayable(flow, menu)) == set(flow.intents)
    rows = {row.intent: row.keys for row in table(flow) if row.menu == flow.start}
    assert all(keys and len(keys) <= MAX_CHOICES for keys in rows.values())


def test_small_flow_is_clean(tmp_path: Path) -> None:
    assert found(tmp_path, SMALL) == []


BROKEN = [
    ('keys: {"1": agent}', 'keys: {"1": agnet}', "31:53 unknown intent or place agnet"),
    ('keys: {"1": agent}', 'keys: {"1": "menu:cards"}', "31:53 unknown menu cards"),
    ('keys: {"1": agent}', 'keys: {"12": agent}', "31:48 not a telephone key"),
    ('keys: {"1": agent}', 'keys: {"1": "queu:general"}', "31:53 not a place to go"),
    ("say: welcome", "say: welcom", "31:15 unknown prompt welcom"),
    ("goto: queue:general\nmenus", "goto: queue:generl\nmenus", "29:11 unknown queue generl"),
    ("goto: queue:general\nmenus", "goto: menu:root\nmenus", "3:1 no way to a human"),
    ("  goodbye: {en-US: Bye.}\n", "", "6:1 prompt goodbye is missing"),
    ("  closed: {en-US: Closed.}\n", "", "6:1 prompt closed is missing"),
    ("  nobody: {en-US: Nobody.}\n  closed: {en-US: Closed.}\n", "", "6:1 2 prompts are missing"),
    ("en-US: Hold on.", "en-UK: Hold on.", "18:10 unknown language of prompt hold: en-UK"),
    ("en-US: Hold on.", "en-US: 'Hold {on'", "18:17 prompt hold in en-US: `{` has no partner"),
    ('en-US: "Place {position}."', 'en-US: "Place {positon}."', "19:21 unknown name in prompt position: {positon}"),
    ("languages: [en-US]", "languages: [en-US, zh-CN]", "26:3 intent agent has no label in zh-CN"),
    ("languages: [en-US]", "languages: [en-US, zh-CN]", "26:3 intent agent has no utterances in zh-CN"),
    ("languages: [en-US]", "languages: [en-US, zh-CN]", "7:3 prompt welcome has no text in zh-CN"),
    ("[a person]}", "['a (person|human']}", "28:26 the utterances of intent agent in en-US: `(` is not closed"),
    ("start: root", "start: rot", "2:60 unknown menu rot"),
    ("ivr: 1", "ivr: 2", "1:6 unknown schema version"),
    ("{after_ms: 4000,", "{after_ms: soon,", "4:25 after_ms of a step of no_input can't be used"),
    (', {goto: "queue:general"}]\n  no_match', "]\n  no_match", "4:14 no_input never ends at a human"),
    ("menus:\n", "menus:\n  end: {say: ask, help: root_keys, intents: [agent]}\n", "31:3 menu end can't be reached"),
    ('agent}}', 'agent, "2": "menu:end"}}\n  end: {say: ask, help: root_keys}', "32:3 menu end leads nowhere"),
    ('keys: {"1": agent}', 'keys: {"1": agent, "1": agent}', "31:60 key 1 stands twice in one map"),
    ("  general:\n", "  general: {hours: work}\n", "33:20 unknown hours work"),
    ("  general:\n", "  general: {skils: {a: 1}}\n", "33:13 unknown key in queue general: skils"),
    ("  general:\n", "  general: {ring_s: 0}\n", "33:21 ring_s of queue general can't be used"),
    ("  general:\n", "  general: {skills: {a: 9}}\n", "33:25 the level of skill a can't be used"),
    ("queues:", 'hours: {work: {tz: Mars/Base, open: {mon-fri: "9-5", noday: x}}}\nqueues:', "32:20 unknown time zone"),
    ("queues:", 'hours: {work: {tz: UTC, open: {mon-fri: "9-5", noday: closed}}}\nqueues:', "32:41 not opening hours"),
    ("queues:", 'hours: {work: {tz: UTC, open: {noday: closed}}}\nqueues:', "32:32 not a day"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), BROKEN)
def test_each_mistake_is_found_where_it_stands(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert expected in found(tmp_path, changed(old, new))


@pytest.mark.parametrize(("old", "new", "expected"), [b for b in BROKEN if "languages" not in b[0]])
def test_one_mistake_is_one_finding(tmp_path: Path, old: str, new: str, expected: str) -> None:
    findings = found(tmp_path, changed(old, new))
    assert len(findings) <= 1 + ("9-5" in new) + ("9-5" in new and "Mars" in new), findings


def test_near_matches_are_offered(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(changed("goto: queue:general\nmenus", "goto: queue:generl\nmenus"))
    assert [e.near for e in check(path)] == ["general"]
    path.write_text(changed('keys: {"1": agent}', 'keys: {"1": genral}'))
    assert [e.near for e in check(path)] == ["queue:general"]


def test_depth_is_counted_in_choices(tmp_path: Path) -> None:
    deep = "".join(
        f'  m{i}: {{say: ask, help: root_keys, keys: {{"1": agent, "2": "menu:m{i + 1}"}}}}\n' for i in range(1, 3)
    )
    text = changed(
        'keys: {"1": agent}}\n',
        'keys: {"2": "menu:m1"}}\n' + deep + '  m3: {say: ask, help: root_keys, keys: {"1": agent}}\n',
    )
    assert found(tmp_path, text) == ["34:3 menu m3 asks for choice number 4"]


def test_all_errors_at_once(tmp_path: Path) -> None:
    text = changed("say: welcome", "say: welcom").replace("{after_ms: 4000,", "{after_ms: soon,")
    text = text.replace("  more: {en-US: More?}", "  more: {en-US: [More]}").replace(
        '{"1": agent}', '{"1": agnet, "x": agent}'
    )
    assert found(tmp_path, text) == [
        "4:25 after_ms of a step of no_input can't be used",
        "14:17 prompt more has no words in en-US",
        "31:15 unknown prompt welcom",
        "31:52 unknown intent or place agnet",
        "31:59 not a telephone key",
    ]  # fmt: skip


def test_a_broken_section_does_not_cascade(tmp_path: Path) -> None:
    head, _, tail = SMALL.partition("intents:")
    assert found(tmp_path, head[: head.index("prompts:")] + "prompts: none\nintents:" + tail) == [
        "6:10 prompts must be a map"
    ]
    assert found(tmp_path, "") == ["1:1 the file is empty"]
    assert found(tmp_path, "[1, 2]") == ["1:1 a flow file must be a map"]


def test_load_raises_them_all(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(changed("say: welcome", "say: welcom").replace("start: root", "start: rot"))
    with pytest.raises(Findings) as caught:
        load(path)
    assert len(caught.value.items) == 2
    assert "did you mean: welcome" in str(caught.value)
    assert f"{path}: 2 errors" in str(caught.value)
    with pytest.raises(Findings, match="no such file"):
        load(tmp_path / "missing.yaml")


def test_advice_does_not_keep_a_flow_from_running(tmp_path: Path) -> None:
    path = tmp_path / "flow.yaml"
    text = changed("  general:\n", "  general: {skills: {cards: 2}}\n")
    text = text.replace("menus:", "slots: {pin: {type: digits, length: 4, ask: ask, sensitive: true}}\nmenus:")
    path.write_text(text.replace("More?", "'More {pin}?'"))
    load(path)
    advice = check(path, [Agent("a", "A", "sip:a", {"card": 5})])
    assert all(isinstance(a, Advice) for a in advice)
    assert [(a.what, a.near) for a in advice] == [
        ("prompt more speaks the sensitive slot pin into the recording", None),
        ("slot pin is never asked for", None),
        ("nobody can take calls of queue general", "card"),
    ]


def test_shared_sentences(tmp_path: Path) -> None:
    more = """\
  boss:
    label: {en-US: the boss}
    utterances: {en-US: [the boss, 'A (Person|chief)!']}
    goto: queue:general
"""
    assert "32:36 intents agent and boss share a sentence" in found(tmp_path, changed("menus:\n", more + "menus:\n"))
    nearly = changed("menus:\n", more.replace("A (Person|chief)!", "person a") + "menus:\n")
    assert "32:36 intents agent and boss nearly share a sentence" in found(tmp_path, nearly)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_damage_gives_findings_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    lines = SMALL.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        i = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "swap", "value", "null", "list"]))
        if change == "drop":
            lines[i] = ""
        elif change == "swap":
            j = data.draw(st.integers(0, len(lines) - 1))
            lines[i], lines[j] = lines[j], lines[i]
        else:
            key = lines[i].partition(":")[0]
            lines[i] = f"{key}: " + {"value": "12", "null": "", "list": "[a, {b: c}]"}[change]
    path = tmp_path_factory.mktemp("damage") / "flow.yaml"
    path.write_text("\n".join(lines))
    for finding in check(path):
        assert isinstance(finding, TrunklineError)
        assert finding.where is not None
