"""Composition root: builds every concrete part of a gateway, joins them, and takes them down in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from gateway.calls.actions import Actions
from gateway.calls.exchange import Exchange
from gateway.calls.negotiation import Terms
from gateway.calls.phones import Phones
from gateway.calls.served import by_id, queues
from gateway.calls.switchboard import Switchboard
from gateway.calls.tracing import trace_calls
from gateway.config import GatewayConfig, Roster, load_agents
from gateway.core.clock import SystemClock
from gateway.core.errors import ConfigError, StoreError, TrunklineError
from gateway.core.ids import node_id
from gateway.core.ports import Ranked
from gateway.core.worker import Worker
from gateway.desk.figures import watch, watch_trunks
from gateway.desk.http import Health, make_app
from gateway.desk.http import serve as serve_http
from gateway.flow import dialled
from gateway.flow.check import load
from gateway.flow.model import Flow
from gateway.flow.templates import fixed_texts
from gateway.flow.understanding import lessons
from gateway.media import host
from gateway.media.addresses import Addresses
from gateway.media.engine import MediaEngine
from gateway.media.prompts import PromptStore
from gateway.media.recorder import Recorder, repair
from gateway.observe.metrics import Metrics
from gateway.routing import policy
from gateway.sip.auth import Account
from gateway.sip.config import SipConfig
from gateway.sip.crypto import OPTIONAL, POLICIES, SUITES, Srtp
from gateway.sip.edge import Edge
from gateway.sip.endpoint import Endpoint
from gateway.sip.resolver import DnsResolver
from gateway.speech.ears import Ears
from gateway.speech.pool import Saturated
from gateway.speech.tts_voices import voices
from gateway.store.sqlite import SqliteStore, open_store
from gateway.trunks_file import Trunks, check_agents, check_pickup, load_trunks

log = logging.getLogger(__name__)

MIND_DEPTH = 32
MIND_TIMEOUT_S = 5.0
"""Sentences that may wait for the intent model, which takes 10 to 40 ms each, and how long one may take."""

WATCH_S = 1.0
"""How often a flow's file is looked at for a newer version."""


class Gateway:
    """One running gateway. `open` builds it; the stack it is given takes it down."""

    def __init__(self, config: GatewayConfig, console: Console) -> None:
        self.config = config
        self.console = console
        self.clock = SystemClock()
        self.metrics = Metrics()
        self.flows: dict[str, Flow] = {}
        self.roster = Roster(())
        self.trunks = Trunks()
        self.seen: dict[Path, float] = {}
        self.addresses = Addresses(
            tuple(dict.fromkeys(each.host for each in config.sip.listen)),
            () if config.media_address == "auto" else (config.media_address,),
            config.sip.outside,
        )
        self.exchange: Exchange
        self.sip: Edge
        self.http_port = 0
        self.ready = False
        self._reloading = asyncio.Lock()
        self._mind: Worker
        self._prompts: PromptStore
        self._ears: Ears
        self._store: SqliteStore

    async def open(self, stack: AsyncExitStack) -> None:
        """Builds everything. Raises TrunklineError; what was built by then is taken down by `stack`."""
        config = self.config
        _servable(config)
        self.seen = self._saved()
        self.flows = by_id([load(path) for path in config.flows])
        self.roster = load_agents(config.agents, config.domain) if config.agents else Roster(())
        self.trunks = load_trunks(config.trunks) if config.trunks else Trunks()
        dialled.check(self.trunks.dids.values(), self.flows, self.trunks.file)
        served = dialled.numbers(self.flows.values())
        check_agents(self.roster, self.trunks, served)
        check_pickup(config, self.roster, self.trunks, served)
        recordings = _folder(config.data / "recordings")
        store = open_store(config.data, node_id())
        self._store = store
        stack.callback(store.close)
        for lost in store.recover(self.clock.now(), recordings):
            if lost.recording:
                try:
                    repair(lost.recording)
                except StoreError as error:
                    log.error("a recording can't be mended", extra={"fields": {"call": lost.call, "error": str(error)}})
            log.warning("a call was cut off by a crash", extra={"fields": {"call": lost.call}})
        recorder = Recorder(f".{config.recordings[0]}", config.recordings[1])
        self._open_files()
        media = MediaEngine(
            config.media_engine,
            max_legs=config.legs,
            recorder=recorder,
            threads=config.media_threads,
            io=config.media_io,
            auto_gain=config.auto_gain,
        )
        await media.start()
        stack.push_async_callback(media.close)
        self._prompts = PromptStore(config.data / "prompts", voices(config.voices, recordings_of(config)), media.load)
        options = {"folders": dict(config.recognizer_models)} if config.recognizer_models else {}
        self._ears = Ears(config.recognizer, options, workers=config.recognizers, vad=config.vad)
        self._mind = self._new_mind(self.flows)
        self.exchange = self._exchange(store, media, recordings)
        await self._listen(stack)  # a port that is taken is known before a minute of loading
        await self._prepare(stack)
        stack.push_async_callback(self.exchange.close)
        self.sip.drain(False)
        self.sip.connect_trunks()
        self.exchange.sign_in_outside()
        self.ready = True

    def _open_files(self) -> None:
        if short := host.raise_open_files(self.config.legs, self.config.sip.connections.total):
            log.warning("too few files may be open", extra={"fields": {"why": short}})
            self.console.print(f"[yellow]{short}[/]", highlight=False, soft_wrap=True)

    def _exchange(self, store: SqliteStore, media: MediaEngine, recordings: Path) -> Exchange:
        terms = self._terms()
        protected = {policy: replace(terms, srtp=replace(terms.srtp, policy=policy)) for policy in POLICIES}
        return Exchange(
            clock=self.clock,
            switchboard=Switchboard(media, self.addresses, self.config.media_ports, terms),
            ears=self._ears,
            prompts=self._prompts,
            understand=self._understand,
            actions=Actions(),
            store=store,
            metrics=self.metrics,
            recordings=recordings,
            numbers=dialled.numbers(self.flows.values()),
            dids=self.trunks.dids,
            trunk_terms={
                trunk.name: replace(protected[trunk.srtp or terms.srtp.policy], codecs=trunk.codecs or terms.codecs)
                for trunk in self.trunks.trunks
            },
            agent_terms={agent: protected[policy] for agent, policy in self.roster.srtp.items()},
            flows=self.flows,
            agents={agent.id: agent for agent in self.roster.agents},
            routing_state=policy.start(queues(self.flows.values())),
            max_calls=self.config.max_calls,
            pickup=self.config.pickup,
        )

    async def _prepare(self, stack: AsyncExitStack) -> None:
        """Renders prompts and loads models, all at once, with a bar for what takes time."""
        stack.push_async_callback(self._prompts.close)
        stack.push_async_callback(self._ears.close)
        stack.push_async_callback(self._close_mind)
        items = [item for flow in self.flows.values() for item in fixed_texts(flow)]
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            rendering = bars.add_task("prompts", total=len(items))
            hearing = bars.add_task("recognizer", total=1)
            meaning = bars.add_task("intents", total=1)

            async def render() -> None:
                await self._prompts.render_all(
                    items, lambda done, total, _: bars.update(rendering, completed=done, total=total)
                )

            async def hear() -> None:
                await self._ears.start(
                    lambda what, done, total: bars.update(
                        hearing, description=what, completed=done, total=total or None
                    )
                )
                bars.update(hearing, description="recognizer", completed=1, total=1)

            async def mean() -> None:
                await self._mind.start()
                bars.update(meaning, completed=1)

            try:
                async with asyncio.TaskGroup() as group:
                    for work in (render(), hear(), mean()):
                        group.create_task(work)
            except ExceptionGroup as problems:
                raise problems.exceptions[0] from None

    async def _listen(self, stack: AsyncExitStack) -> None:
        config = self.config
        exchange = self.exchange
        accounts = tuple(Account(agent, password) for agent, password in self.roster.passwords.items())
        policies = {config.srtp, *(t.srtp for t in self.trunks.trunks if t.srtp), *self.roster.srtp.values()}
        settings = SipConfig(
            domain=config.domain,
            accounts=accounts,
            registrar=config.registrar,
            trunks=self.trunks.trunks,
            outside=self.trunks.destinations,
            codecs=tuple(dict.fromkeys([*config.codecs, *(c for trunk in self.trunks.trunks for c in trunk.codecs)])),
            srtp=policies.pop() if len(policies) == 1 else OPTIONAL,  # what differs is refused by the exchange
            defence=config.defence,
            session_expires=config.dialogs.session_expires,
            min_se=config.dialogs.min_se,
            reliable=config.dialogs.reliable,
            destinations=("*",),  # the exchange answers 404 to a number that leads nowhere
        )
        listen = config.sip.listen
        endpoint = Endpoint(config.sip.applied(settings, self.addresses.own))
        resolver = DnsResolver(
            endpoint.config.transports,
            tuple(dict.fromkeys("AAAA" if ":" in each.host else "A" for each in listen)),
            config.dns.servers,
            config.dns.timeout,
            count=endpoint.count,
        )
        self.sip = await Edge.open(endpoint, listen, exchange.on_sip, resolver)
        self.sip.drain()
        stack.push_async_callback(trace_calls(exchange, self.sip, config.data / "traces", config.traces).close)
        stack.push_async_callback(self.sip.close)
        exchange.switchboard.endpoint = self.sip
        stack.push_async_callback(Phones(config.data / "phones.json", self.sip, self.clock).follow().close)
        app = make_app(self._health, self.metrics.exposition, lambda: self.sip.endpoint.report(time.monotonic()))
        server = await serve_http(app, *config.http)
        stack.push_async_callback(server.close)
        self.http_port = server.port
        watch(self.metrics, exchange.switchboard.media, lambda: self._ears.load, self.sip)
        watch_trunks(self.metrics, self.sip.endpoint.trunks)

    def _health(self) -> Health:
        load, records, recorder = self._ears.load, self._store, self.exchange.switchboard.media.recorder
        checks = {
            "records": records.trouble or (f"{records.dropped} lines dropped" if records.dropped else "ok"),
            "recordings": recorder.trouble or (f"{recorder.failed} lost sound" if recorder.failed else "ok"),
            "recognizer": "ok" if load.ready else "starting again",
            "intents": "ok" if self._mind.ready else "starting again",
            "certificates": "; ".join(self.sip.certificate_trouble(time.time())) or "ok",
        }
        for name, state in self.sip.endpoint.trunks.items():
            checks[f"trunk {name}"] = "ok" if state.up else state.words(time.monotonic())
        return Health(self.ready, node_id(), self.exchange.draining, len(self.exchange.calls), checks)

    # --- understanding --------------------------------------------------------------------------------------------

    def _new_mind(self, flows: dict[str, Flow]) -> Worker:
        of_flows = {flow.id: lessons(flow) for flow in flows.values()}
        return Worker("gateway.flow.understanding:serve", (of_flows,), name="intents", env={"OMP_NUM_THREADS": "1"})

    async def _close_mind(self) -> None:
        await self._mind.close()

    async def _understand(self, flow: Flow, text: str, language: str) -> Ranked:
        if self._mind.busy >= MIND_DEPTH:
            raise Saturated("too many sentences wait to be understood")
        ranked = await self._mind.call("rank", flow.id, text, language, timeout_s=MIND_TIMEOUT_S)
        return ranked if isinstance(ranked, Ranked) else Ranked()

    # --- reload ---------------------------------------------------------------------------------------------------

    async def reload(self) -> bool:
        """Loads every flow anew; where one is broken all stay as they are. True when new flows are in use."""
        async with self._reloading:
            self.seen = self._saved()
            return await self._reload()

    async def _reload(self) -> bool:
        try:
            flows = by_id([load(path) for path in self.config.flows])
            found = dialled.numbers(flows.values())
            dialled.check(self.trunks.dids.values(), flows, self.trunks.file)
            await self._prompts.render_all([item for flow in flows.values() for item in fixed_texts(flow)])
            mind = self._new_mind(flows)
            await mind.start()
        except TrunklineError as error:
            log.error("flows can't be loaded; the old ones stay in use", extra={"fields": {"error": str(error)}})
            self.console.print(f"[red]The flows in use stay as they were:[/]\n{error}", highlight=False)
            return False
        old, self._mind = self._mind, mind
        self.flows = flows
        self.exchange.use_flows(flows, found, queues(flows.values()))
        await old.close()
        log.info("flows loaded", extra={"fields": {"flows": {f.id: f.version for f in flows.values()}}})
        return True

    async def watch(self) -> None:
        """Reloads when a flow's file changes, for ever."""
        while True:
            await asyncio.sleep(WATCH_S)
            if self._saved() != self.seen:
                await self.reload()

    def _saved(self) -> dict[Path, float]:
        """When each flow's file was saved."""
        times = {}
        for path in self.config.flows:
            with contextlib.suppress(OSError):
                times[path] = path.stat().st_mtime
        return times

    def _terms(self) -> Terms:
        """What may be agreed with everybody: encrypted by what libsrtp there is."""
        suites = tuple(suite for suite in SUITES if not host.srtp_missing(suite))
        return Terms(self.config.codecs, Srtp(self.config.srtp, suites))


def recordings_of(config: GatewayConfig) -> Path:
    """Where recorded prompts lie: beside the first flow that has a folder of them, else beside the shipped flows."""
    shipped = Path(config.file).parent.parent / "ivr_flows"
    folders = [flow.parent / "recordings" for flow in config.flows] + [shipped / "recordings"]
    return next((folder for folder in folders if folder.is_dir()), folders[0])


def _servable(config: GatewayConfig) -> None:
    """Raises ConfigError where a gateway would start and yet serve nobody."""
    if not config.flows:
        raise ConfigError(
            "there is no flow to serve", do=f"name one under flows: in {config.file or 'gateway.yaml'}, or with --flow"
        )


def _folder(path: Path) -> Path:
    """`path`, made where it is not there yet. Raises StoreError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"can't make the folder {path}", read=error.strerror, do="give another one with --data, or change its owner"
        ) from None
    return path
