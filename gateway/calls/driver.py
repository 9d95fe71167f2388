"""Carries one call's commands out: engine, recognizer, SIP, record. All on the asyncio thread, never blocking it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from gateway.calls import agent_side, reducer
from gateway.calls import commands as do
from gateway.calls import model as m
from gateway.calls.agent_side import AgentSide
from gateway.calls.party import Owner, Party
from gateway.calls.words import phrases
from gateway.core.errors import TrunklineError
from gateway.core.ports import Ranked
from gateway.flow import turn
from gateway.flow.emergency import emergency_in
from gateway.flow.words import wish
from gateway.media import events as media
from gateway.media.clip import Clip
from gateway.media.leg import Leg
from gateway.media.prompts import Phrase
from gateway.media.recorder import Prepared
from gateway.sip.events import TransferAsked, TransferProgress
from gateway.speech import ear
from gateway.speech.pool import Saturated

if TYPE_CHECKING:
    from gateway.calls.exchange import Exchange

log = logging.getLogger(__name__)

BLANK_MARGIN_S = 0.4
"""Silenced around a sensitive sentence, for the jitter buffer and for what the turn detector heard late."""


class CallDriver(Owner):
    """One call's hands. `feed` takes an event now; events that come while one is being handled wait their turn.
    As an owner it hears of the caller's phone. `trunk`: by which the caller came, empty for a phone of ours."""

    def __init__(self, exchange: Exchange, call: m.Call, caller: Party, trunk: str = "") -> None:
        self.exchange = exchange
        self.trunk = trunk
        self.call = call
        self.caller = caller
        self.leg = caller.leg
        self.ear = exchange.ears.open(call.id, self._on_ear)
        self.agent = AgentSide(self)
        self.recording_from = 0.0
        self._prepared: Prepared | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._last_said: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._loop = asyncio.get_running_loop()
        caller.owner = self
        self.leg.on_event = self._on_leg
        self.leg.on_audio = self.ear.feed

    @property
    def call_id(self) -> str:
        return self.call.id

    # --- events in ------------------------------------------------------------------------------------------------

    def feed(self, event: m.CallEvent) -> None:
        """Moves the call and carries out what comes of it."""
        self.exchange.post(self, event)

    def handle(self, event: m.CallEvent) -> None:
        """Called by the exchange only, one event at a time."""
        self.call, commands = reducer.step(self.call, event, self.exchange.clock.now())
        for command in commands:
            try:
                _RUN[type(command)](self, command)
            except TrunklineError as error:
                log.error("a command of the call failed", extra={"fields": {"call": self.call.id, "error": str(error)}})
            except Exception:  # one command's fault must not keep the call from its other commands
                log.exception("a command of the call failed", extra={"fields": {"call": self.call.id}})
        self._set_timer()

    # --- the caller's phone ---------------------------------------------------------------------------------------

    def confirmed(self, party: Party) -> None:
        """The caller's ACK came. The recording begins first, so that what the caller is told of it is true."""
        recorded = self._start_recording() if self.call.stage is m.Stage.ANSWERING else True
        self.feed(m.Confirmed(recorded))

    def left(self, party: Party, by_peer: bool, reason: str) -> None:
        told = reason if by_peer and reason != "hung up" else ""
        self.feed(m.CallerLeft("caller hung up" if by_peer else reason, told))

    def holds(self, party: Party) -> None:
        self.feed(m.HoldChanged("caller", party.held))

    def asks_transfer(self, party: Party, event: TransferAsked) -> None:
        """Callers are put through by agents only."""
        self.exchange.switchboard.endpoint.reject_transfer(event.transfer, 403)

    def cancelled(self, party: Party) -> None:
        self.feed(m.CallerLeft("caller cancelled"))

    def key(self, party: Party, digit: str) -> None:
        self.feed(m.KeyPressed(digit))

    def vanished(self, party: Party) -> None:
        """Nothing comes from the caller's phone any more. It is told, should it be there still."""
        self.exchange.switchboard.hang_up(party, "the caller's phone fell silent")
        self.feed(m.CallerLeft("the caller's phone fell silent"))

    def _set_timer(self) -> None:
        """A timer that rings too early looks again: most deadlines move on before they come."""
        due = self.call.deadline
        if due is None or self.call.stage is m.Stage.ENDED or (self._timer and self._timer_at <= due):
            return
        if self._timer:
            self._timer.cancel()
        self._timer_at = due
        wait = max(0.0, due - self.exchange.clock.now().mono)
        self._timer = self._loop.call_later(wait + 0.001, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self.call.deadline is not None and self.call.deadline > self.exchange.clock.now().mono:
            self._set_timer()
        else:
            self.feed(m.Tick())

    def _on_leg(self, event: media.MediaEvent) -> None:
        match event:
            case media.SpeechStarted(at=at, muted=muted):
                self.exchange.metrics.barge_in(muted)
                self.ear.voice(True, at)
                self.feed(m.SpeechStarted(muted))
            case media.SpeechEnded(at=at):
                self.ear.voice(False, at - media.CALM_S)
                self.feed(m.SpeechEnded())
            case media.KeyPressed(digit=digit):
                self.feed(m.KeyPressed(digit))
            case media.PromptStarted(token=token, at=at):
                self.feed(m.PromptStarted(token, at))
            case media.PromptDone(token=token, interrupted=interrupted):
                if not interrupted:
                    self.feed(m.PromptDone(token))
            case media.RtpLost():
                self.exchange.switchboard.silence(self.caller)
            case media.RtpBack():
                self.exchange.switchboard.silence_over(self.caller)

    # --- hearing --------------------------------------------------------------------------------------------------

    def _on_ear(self, event: ear.EarEvent) -> None:
        match event:
            case ear.TurnDropped():
                self.feed(m.TurnDropped())
            case ear.Partial(text=text, voiced_ms=voiced_ms):
                self.feed(m.PartialHeard(text, voiced_ms))
            case ear.UtteranceHeard():
                self._spawn(self._understand(event))
            case ear.Unheard(reason=reason):
                self.feed(m.Unheard("saturated" if reason == "saturated" else "failed"))

    async def _understand(self, heard: ear.UtteranceHeard) -> None:
        ranked = Ranked()
        if heard.text:
            try:
                ranked = await self.exchange.understand(self.call.flow, heard.text, heard.language)
            except TrunklineError as error:
                log.error("the intent model failed", extra={"fields": {"call": self.call.id, "error": str(error)}})
                if self._only_the_model_knows(heard.text):
                    self.feed(m.Unheard("saturated" if isinstance(error, Saturated) else "failed"))
                    return
        self.feed(
            m.UtteranceHeard(
                heard.text,
                ranked,
                heard.score,
                heard.speech_started,
                heard.speech_ended,
                heard.endpoint_at,
                heard.decoded_at,
                self.exchange.clock.now().mono,
            )
        )

    def _only_the_model_knows(self, text: str) -> bool:
        """A menu's answer that is neither a word for everywhere nor an emergency."""
        menu = self.call.listen is not None and self.call.listen.expect == "menu"
        return menu and wish(text) is None and emergency_in(self.call.flow, text) is None

    def _hear(self, command: do.Hear) -> None:
        listen = command.listen
        if listen is None:
            self.ear.stop()
            self.leg.listen(False)
            return
        self.leg.listen(True)
        self.ear.listen(
            listen.language,
            expect=listen.expect,
            silence_ms=listen.silence_ms,
            max_ms=listen.max_ms,
            length=listen.length,
            hints=self.exchange.hints(self.call.flow, listen.language) if listen.expect == "menu" else listen.hints,
        )

    # --- speaking -------------------------------------------------------------------------------------------------

    def _speak(self, command: do.Speak) -> None:
        before = self._last_said if command.say.queue else None
        words = self._words(command)
        clips = self.exchange.prompts.at_hand(words, command.say.language, self.leg.rate)
        if clips is not None and (before is None or before.done()):
            self._last_said = None
            self._play(command, clips)
        else:
            self._last_said = self._spawn(self._render_and_play(command, words, before))

    def _words(self, command: do.Speak) -> list[Phrase]:
        try:
            return phrases(command.say.segments, command.say.language)
        except Exception:  # a prompt that is lost must still be over, or the caller waits for it
            log.exception("a prompt can't be put into words", extra={"fields": {"call": self.call.id}})
            return []

    async def _render_and_play(self, command: do.Speak, words: list[Phrase], before: asyncio.Task[None] | None) -> None:
        """Sentences are rendered at the same time and played in their order; one that was overtaken is not played."""
        say = command.say
        clips: list[Clip] = []
        try:
            clips = await self.exchange.prompts.clips(words, say.language, self.leg.rate)
        except TrunklineError as error:
            log.error("a prompt can't be spoken", extra={"fields": {"call": self.call.id, "error": str(error)}})
        except Exception:  # a prompt that is lost must still be over, or the caller waits for it
            log.exception("a prompt can't be spoken", extra={"fields": {"call": self.call.id}})
        if before is not None:
            await asyncio.wait([before])
        self._play(command, clips)

    def _play(self, command: do.Speak, clips: list[Clip]) -> None:
        say, token = command.say, command.token
        if self.call.stage is m.Stage.ENDED or self.call.speaking < token:
            return
        if clips:
            self.leg.play(clips, token=token, barge_in=say.barge_in, keys_stop=say.keys_stop, append=say.queue)
        else:
            self.feed(m.PromptDone(token))

    def _stop_prompt(self, _: do.StopPrompt) -> None:
        self.leg.stop()

    def _resume_prompt(self, _: do.ResumePrompt) -> None:
        self.leg.resume()

    def _music(self, _: do.PlayMusic) -> None:
        self.leg.play([self.exchange.prompts.tone("hold")], token=0, loop=True)

    def _beep(self, command: do.PlayBeep) -> None:
        self.leg.play([self.exchange.prompts.tone("beep")], token=command.token)

    def _agent_side(self, command: do.CallCommand) -> None:
        self.agent.run(command)

    def referred(self, party: Party, event: TransferProgress) -> None:
        self.feed(m.CallerReferred(event.status, event.final))

    def _refer_caller(self, command: do.ReferCaller) -> None:
        try:
            self.exchange.switchboard.endpoint.refer(self.caller.sip, command.uri)
        except TrunklineError:  # a caller whose call can't be moved now
            self.feed(m.CallerReferred(491, True))

    def _tell_transfer(self, command: do.TellTransfer) -> None:
        endpoint = self.exchange.switchboard.endpoint
        if command.status < 300:
            endpoint.accept_transfer(command.ask)
        else:
            endpoint.reject_transfer(command.ask, command.status, command.reason)
        if command.status > 100:
            endpoint.transfer_progress(command.ask, command.status, command.reason)

    def _route(self, command: do.Route) -> None:
        self.exchange.route(command.event)

    # --- record and end -------------------------------------------------------------------------------------------

    def _record(self, command: do.Record) -> None:
        now = self.exchange.clock.now()
        match command.what:
            case "mask":
                self.leg.pause_recording()
            case "unmask":
                self.leg.resume_recording()
            case "message_start":
                if not self.leg.recorded:
                    self._start_recording()
                path = self.exchange.recording_path(self.call)
                path = path.with_suffix(f".message{path.suffix}")
                self.leg.record_message(path)
                at = round(now.mono - self.recording_from, 2)
                self._write(do.Write("message_start", {"at_s": at, "file": path.name}))
            case "message_end":
                self.leg.stop_message()

    def prepare_recording(self) -> None:
        """Has the file made while the call is being answered, so that nobody waits for it."""
        self._prepared = self.exchange.switchboard.media.recorder.prepare(self.exchange.recording_path(self.call))

    def _start_recording(self) -> bool:
        """Whether the call is recorded from now on. One that can't be goes on without."""
        path = self.exchange.recording_path(self.call)
        try:
            prepared, self._prepared = self._prepared, None
            self.leg.record(path, prepared)
        except TrunklineError as error:
            log.error("a call is not recorded", extra={"fields": {"call": self.call.id, "error": str(error)}})
            self._write(do.Write("recording", {"state": "failed"}))
            return False
        self.recording_from = self.exchange.clock.now().mono
        self._write(do.Write("recording", {"state": "started", "file": path.name}))
        return True

    def _blank(self, command: do.Blank) -> None:
        from_s, to_s = (at - self.recording_from for at in (command.start, command.end))
        self.leg.blank_recording(from_s - BLANK_MARGIN_S, to_s + BLANK_MARGIN_S)

    def _act(self, command: do.Act) -> None:
        self._spawn(self._run_action(command.action))

    async def _run_action(self, action: turn.RunAction) -> None:
        self.feed(await self.exchange.actions.run(self.call.flow, action))

    def _write(self, command: do.Write) -> None:
        self.exchange.write(self.call, command.kind, command.data)

    def _measure(self, _: do.Measure) -> None:
        self.write_quality("caller", self.leg)

    def write_quality(self, party: str, leg: Leg) -> None:
        if found := leg.quality():
            self._write(do.Write("media", {"party": party, **found.as_data()}))

    def _hang_up_caller(self, command: do.HangUpCaller) -> None:
        self.exchange.switchboard.hang_up(self.caller, command.reason)

    def _finish(self, command: do.Finish) -> None:
        if self._timer:
            self._timer.cancel()
        self.ear.close()
        self.agent.close(command.reason)
        if self._prepared:
            self.exchange.switchboard.media.recorder.abandon(self._prepared, self.exchange.recording_path(self.call))
        for task in self._tasks:
            task.cancel()
        self.exchange.finished(self, command.reason)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a task of the call failed", extra={"fields": {"call": self.call.id, "error": repr(error)}})


_RUN: Mapping[type, Callable[[CallDriver, Any], None]] = {
    do.Speak: CallDriver._speak,
    do.StopPrompt: CallDriver._stop_prompt,
    do.ResumePrompt: CallDriver._resume_prompt,
    do.PlayMusic: CallDriver._music,
    do.PlayBeep: CallDriver._beep,
    do.Hear: CallDriver._hear,
    do.Route: CallDriver._route,
    do.TellTransfer: CallDriver._tell_transfer,
    do.ReferCaller: CallDriver._refer_caller,
    **dict.fromkeys(agent_side.COMMANDS, CallDriver._agent_side),
    do.HangUpCaller: CallDriver._hang_up_caller,
    do.Record: CallDriver._record,
    do.Blank: CallDriver._blank,
    do.Act: CallDriver._act,
    do.Write: CallDriver._write,
    do.Measure: CallDriver._measure,
    do.Finish: CallDriver._finish,
}
