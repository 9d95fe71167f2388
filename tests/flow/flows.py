"""The shipped flows, a small flow to bend, and a way to talk to them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from gateway.core.ports import Ranked
from gateway.flow.check import load
from gateway.flow.model import Flow

FLOWS = Path(__file__).parents[2] / "ivr_flows"


@cache
def shipped(name: str) -> Flow:
    """bank or shop."""
    return load(FLOWS / f"{name}.yaml")


def sure(intent: str) -> Ranked:
    """A ranking that is accepted."""
    return Ranked(((intent, 0.95), ("-", 0.02)))


def perhaps(intent: str) -> Ranked:
    """A ranking that wants confirming."""
    return Ranked(((intent, 0.6), ("-", 0.2)))


class Always:
    """Ranks every sentence alike."""

    def __init__(self, ranked: Ranked) -> None:
        self.ranked = ranked

    def rank(self, text: str, language: str) -> Ranked:
        return self.ranked


class Named:
    """Understands `intent:name` as that intent for sure, `maybe:name` as perhaps that one, anything else as nothing."""

    def rank(self, text: str, language: str) -> Ranked:
        kind, _, name = text.partition(":")
        return {"intent": sure, "maybe": perhaps}.get(kind, lambda _: Ranked())(name)


SMALL = """\
ivr: 1
flow: {id: small, version: "1", languages: [en-US], start: root}
defaults:
  no_input: [{after_ms: 4000, say: again}, {goto: "queue:general"}]
  no_match: [{say: again}, {goto: "queue:general"}]
prompts:
  welcome: {en-US: Welcome.}
  ask: {en-US: What else?}
  again: {en-US: Again please.}
  sorry_value: {en-US: Sorry.}
  keys_only: {en-US: Keys only.}
  confirm: {en-US: "You want {intent}?"}
  yes_no: {en-US: Yes or no?}
  more: {en-US: More?}
  goodbye: {en-US: Bye.}
  emergency: {en-US: At once.}
  trouble: {en-US: Trouble.}
  hold: {en-US: Hold on.}
  position: {en-US: "Place {position}."}
  wait: {en-US: "{minutes} minutes."}
  nobody: {en-US: Nobody.}
  closed: {en-US: Closed.}
  message_taken: {en-US: Taken.}
  root_keys: {en-US: Press 1.}
intents:
  agent:
    label: {en-US: a person}
    utterances: {en-US: [a person]}
    goto: queue:general
menus:
  root: {say: welcome, help: root_keys, keys: {"1": agent}}
queues:
  general:
"""
