"""Carries out a flow's actions: a table in the flow, or a web service."""

from __future__ import annotations

import asyncio
import json
import logging
import urllib.request
from http.client import HTTPException

from gateway.flow.actions import look_up
from gateway.flow.model import Flow, Http
from gateway.flow.turn import ActionDone, RunAction

log = logging.getLogger(__name__)

MAX_ANSWER = 64_000
"""Bytes of a web service's answer that are read."""


class Actions:
    """Runs one action and always answers: an error becomes ActionDone.error, the flow says what follows."""

    async def run(self, flow: Flow, wanted: RunAction) -> ActionDone:
        """Looks the action up in the table, or asks the web service with its time limit."""
        action = flow.actions[wanted.action]
        if action.http is None:
            return look_up(action, wanted.slots)
        try:
            result = await asyncio.to_thread(ask, action.http, wanted.slots)
        except (OSError, ValueError, HTTPException) as error:
            log.warning("an action failed", extra={"fields": {"action": wanted.action, "error": type(error).__name__}})
            return ActionDone(wanted.action, {}, f"{type(error).__name__}: {error}")
        return ActionDone(wanted.action, result)


def ask(http: Http, slots: dict[str, str]) -> dict[str, str]:
    """Sends the slots as JSON and gives the JSON object that comes back, values as text. Raises OSError, ValueError,
    HTTPException."""
    body = json.dumps(slots).encode() if http.method == "POST" else None
    request = urllib.request.Request(
        http.url, data=body, method=http.method, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=http.timeout_s) as answer:
        found = json.loads(answer.read(MAX_ANSWER))
    if not isinstance(found, dict):
        raise ValueError("the web service did not answer with a JSON object")
    return {str(key): str(value) for key, value in found.items() if not isinstance(value, dict | list)}
