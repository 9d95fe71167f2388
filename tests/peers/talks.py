"""A conversation of two baresips through a gateway, for tests that ask what each of them heard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from gateway.lab.wire import read_wav
from gateway.store.record import CallRecord
from tests.peers import baresip
from tests.peers.whole import Records, story, tones, wait

AGENT_HZ, CALLER_HZ = 1110.0, 620.0
"""What the agent and the caller never stop saying."""

OCTETS = 2 * 8000 * 2
"""Two seconds in a recording of baresip, which is a whole WAV only when the call is over."""


@dataclass
class Talk:
    """One call: its record, and the tones that each side heard."""

    record: CallRecord
    agent: set[float]
    caller: set[float]

    @property
    def profiles(self) -> dict[str, object]:
        """SRTP of each party, None in the clear."""
        return {str(e.data["party"]): e.data.get("srtp") for e in self.record.of("media")}


def talk(records: Records, phone: baresip.Baresip, agent: baresip.Baresip, number: str, keys: str) -> Talk:
    """`phone` calls and presses keys for the agent, and both speak for a while."""
    user, before = phone.name, len(agent.recordings())

    def far() -> str:
        record = records.of(user)
        return (story(record) if record else "") + phone.text

    phone.command("dial", number)
    wait(lambda: (r := records.of(user)) and r.of("no_input"), "the end of the prompts", far)
    for place, key in enumerate(keys):
        phone.command("sndcode", key)
        wait(partial(_pressed, records, user, place + 1), f"key {key}", far)
    wait(lambda: records.of(user).of("bridged"), "the agent", far)
    wait(lambda: any(p.stat().st_size > OCTETS for p in agent.recordings()[before:]), "two seconds of talk", far)
    phone.command("hangup")
    record = wait(lambda: (r := records.of(user)) and r.head.ended and r, "the end of the call", far)
    phone.end()
    theirs = wait(lambda: [p for p in agent.recordings()[before:] if baresip.complete(p)], "the agent's recording")
    both = [AGENT_HZ, CALLER_HZ]
    return Talk(record, tones(read_wav(theirs[-1]), both), tones(read_wav(phone.recordings()[0]), both))


def _pressed(records: Records, user: str, count: int) -> bool:
    record = records.of(user)
    return record is not None and len(record.of("key")) >= count
