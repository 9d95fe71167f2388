"""What callers hear while they wait: a queue's own prompts with its values in them."""

from __future__ import annotations

from gateway.flow.model import Flow, QueueRole
from gateway.flow.templates import position_values, prompt
from gateway.flow.turn import Say


def announce(
    flow: Flow, role: QueueRole, language: str, queue: str, *, position: int = 0, wait_s: float | None = None
) -> Say | None:
    """The prompt a queue uses in a role, or None where the flow has none. It can't be interrupted: nothing is asked."""
    name = flow.prompt_for(queue, role)
    if name not in flow.prompts:
        return None
    values = position_values(position, wait_s)
    return Say(name, prompt(flow, name, language, values), language, barge_in=False, keys_stop=False)
