"""The caller's side of a call: words, keys, barge-in that may turn out false, prompts that begin and end."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.calls import commands as do
from gateway.calls import model as m
from gateway.calls.carry import Commands, beep, end, feed_flow, message_end
from gateway.calls.handover import message_over
from gateway.calls.units import units
from gateway.core.clock import Moment
from gateway.core.values import replace
from gateway.flow import turn

BARGE_VOICED_MS = 600
"""Voice of this length ends a prompt for good even while no word is recognized yet."""

MESSAGE_QUIET_S = 4.0

SHORT_WORD_SCORE = 0.5
"""An utterance shorter than the prompt's minimum units counts only where it means something with this score."""


def confirmed(call: m.Call, event: m.Confirmed, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.ANSWERING:
        return call, []
    call = replace(call, stage=m.Stage.FLOW, own_deadline=None)
    commands: Commands = [do.Write("answered", {"language": call.language})]
    call, more = feed_flow(call, turn.Started(call.language, call.caller, call.dialled, event.recorded), now)
    return call, commands + more


def caller_left(call: m.Call, event: m.CallerLeft, now: Moment) -> tuple[m.Call, Commands]:
    call, commands = end(call, event.reason, now, hang_up=False)
    told: Commands = [do.Write("caller_left", {"told": event.told})] if event.told else []
    return call, told + commands


def speech_started(call: m.Call, event: m.SpeechStarted, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is m.Stage.MESSAGE:
        return replace(call, own_deadline=message_end(call)), []
    if call.stage is not m.Stage.FLOW:  # what is said in the queue can't be interrupted
        return call, []
    return feed_flow(replace(call, muted=call.muted or event.muted), turn.SpeechBegan(), now)


def speech_ended(call: m.Call, _: m.SpeechEnded, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is m.Stage.MESSAGE and call.message_from is not None:
        quiet = now.mono + MESSAGE_QUIET_S
        return replace(call, own_deadline=min(quiet, message_end(call))), []
    return call, []


def turn_dropped(call: m.Call, _: m.TurnDropped, now: Moment) -> tuple[m.Call, Commands]:
    """No words after all: a muted prompt goes on, and the flow counts silence again."""
    commands: Commands = [do.Hear(call.listen)] if call.listen else []
    if call.muted:
        commands.append(do.ResumePrompt())
    call, more = feed_flow(replace(call, muted=False), turn.SpeechDropped(), now)
    return call, commands + more


def partial(call: m.Call, event: m.PartialHeard, now: Moment) -> tuple[m.Call, Commands]:
    commands: Commands = []
    enough = call.say is not None and units(event.text, call.language) >= call.say.min_units
    if call.muted and (enough or event.voiced_ms >= BARGE_VOICED_MS):
        call, commands = _interrupt(call, "speech", now)
    if event.text:
        call, more = feed_flow(call, turn.PartialHeard(event.text), now)
        commands += more
    return call, commands


def _interrupt(call: m.Call, by: str, now: Moment) -> tuple[m.Call, Commands]:
    """Ends what is being said for good. By speech, the words are still to come."""
    if not call.speaking:
        return replace(call, muted=False), []
    prompt = call.say.prompt if call.say else ""
    call = replace(call, speaking=0, muted=False)
    commands: Commands = [do.StopPrompt(), do.Write("interrupted", {"prompt": prompt, "by": by})]
    call, more = feed_flow(call, turn.PromptDone(interrupted=True), now)
    commands += more
    if by == "speech":
        call, more = feed_flow(call, turn.SpeechBegan(), now)
        commands += more
    return call, commands


def utterance(call: m.Call, event: m.UtteranceHeard, now: Moment) -> tuple[m.Call, Commands]:
    if call.stage is not m.Stage.FLOW:
        return call, []
    too_short = (
        call.muted
        and call.say is not None
        and units(event.text, call.language) < call.say.min_units
        and event.ranked.best[1] < SHORT_WORD_SCORE
    )
    if not event.text or too_short:
        return turn_dropped(call, m.TurnDropped(), now)
    call, commands = _interrupt(call, "speech", now)
    asked = call
    call = replace(call, speech_ended=event.speech_ended or None)
    call, more = feed_flow(call, turn.Heard(event.text, event.ranked, event.asr_score), now)
    text = "" if asked.sensitive else _as_noted(more, event.text)
    call = replace(call, last_heard=text or call.last_heard)
    commands.append(do.Write("heard", _heard_data(asked, event, text)))
    if text and text != event.text:  # masked by the flow: a sensitive value was said before it was asked for
        commands.append(do.Blank(event.speech_started, event.speech_ended))
    return call, commands + more


def _as_noted(commands: Commands, text: str) -> str:
    """The words as the flow noted them: it masks a sensitive value that stands in the middle of a sentence."""
    notes = (c for c in commands if isinstance(c, do.Write) and c.kind in ("matched", "no_match"))
    return next((str(note.data["text"]) for note in notes if "text" in note.data), text)


def _heard_data(call: m.Call, event: m.UtteranceHeard, text: str) -> dict[str, object]:
    intent, score = event.ranked.best
    runner_up, runner_up_score = event.ranked.runner_up
    return {
        "text": text,
        "language": call.language,
        "intent": intent,
        "score": round(score, 3),
        "runner_up": runner_up,
        "runner_up_score": round(runner_up_score, 3),
        "asr_score": round(event.asr_score, 3),
        "speech_s": round(event.speech_ended - event.speech_started, 2),
        "endpoint_ms": round((event.endpoint_at - event.speech_ended) * 1000),
        "decode_ms": round(max(0.0, event.decoded_at - event.endpoint_at) * 1000),
        "understand_ms": round((event.understood_at - max(event.decoded_at, event.endpoint_at)) * 1000),
        "redacted": call.sensitive,
    }


def unheard(call: m.Call, event: m.Unheard, now: Moment) -> tuple[m.Call, Commands]:
    call, commands = _interrupt(call, "speech", now) if call.muted else (call, [])
    commands.append(do.Write("unheard", {"reason": event.reason}))
    call, more = feed_flow(call, turn.Unheard(event.reason), now)
    return call, commands + more


def key(call: m.Call, event: m.KeyPressed, now: Moment) -> tuple[m.Call, Commands]:
    # a key typed ahead may belong to a sensitive value nobody asked for yet; the flow notes what each key chose
    commands: Commands = [do.Write("key", {"digit": event.digit, "sensitive": True})]
    if call.stage is m.Stage.MESSAGE and call.message_from is not None and event.digit == "#":
        call, more = message_over(call, now)
        return call, commands + more
    if call.stage is not m.Stage.FLOW:
        return call, commands
    if call.speaking and call.say and call.say.keys_stop:
        call, more = _interrupt(call, "key", now)
        commands += more
    if call.listen:  # words half said before the key belong to nobody
        commands.append(do.Hear(call.listen))
    call = replace(call, speech_ended=now.mono)
    call, more = feed_flow(call, turn.Key(event.digit), now)
    return call, commands + more


def prompt_started(call: m.Call, event: m.PromptStarted, now: Moment) -> tuple[m.Call, Commands]:
    lined_up = dict(call.lined_up)
    call = replace(call, say=lined_up.get(event.token, call.say))
    if call.speech_ended is None or event.token > call.token:
        return call, []
    latency = round(max(0.0, event.at - call.speech_ended) * 1000)
    return replace(call, speech_ended=None), [do.Write("replied", {"latency_ms": latency, "language": call.language})]


def prompt_done(call: m.Call, event: m.PromptDone, now: Moment) -> tuple[m.Call, Commands]:
    if event.token != call.speaking:
        return call, []
    call = replace(call, speaking=0, muted=False)
    after, call = call.then, replace(call, then=None)
    if after is not None:
        return _AFTER[after](call, now)
    return feed_flow(call, turn.PromptDone(), now)


def action_done(call: m.Call, event: turn.ActionDone, now: Moment) -> tuple[m.Call, Commands]:
    return feed_flow(call, event, now)


def _music(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    return call, [do.PlayMusic()]


def _take_message_now(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    call = replace(call, message_from=now.mono, own_deadline=now.mono + MESSAGE_QUIET_S * 2)
    return call, [do.Record("message_start")]


def _leave(call: m.Call, now: Moment) -> tuple[m.Call, Commands]:
    return end(call, call.end_reason, now, hang_up=True)


_AFTER: Mapping[m.Then, Callable[[m.Call, Moment], tuple[m.Call, Commands]]] = {
    "music": _music,
    "beep": beep,
    "message": _take_message_now,
    "hangup": _leave,
}
