"""The `trunkline` command. Each command is thin: it reads its options, calls one function, draws what comes back."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway import __version__
from gateway.core.errors import Findings, TrunklineError, nearest

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Trunkline: a telephony IVR and voice-agent gateway.",
)
out = Console()
err = Console(stderr=True)

Language = Annotated[str, typer.Option("--lang", "-l", help="BCP 47 tag: en-US or zh-CN.")]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable: JSON on standard output, nothing else.")]
FlowFile = Annotated[Path, typer.Argument(help="A flow, such as ivr_flows/bank.yaml.")]
Config = Annotated[Path, typer.Option("--config", "-c", help="The gateway's configuration.")]
DEFAULT_CONFIG = Path("sip_config/gateway.yaml")


class LogFormat(StrEnum):
    """For people, or a JSON object a line."""

    console = "console"
    json = "json"


@app.command(epilog="Example: trunkline run --sip 0.0.0.0:5060 --http 127.0.0.1:8080")
def run(
    config: Config = DEFAULT_CONFIG,
    flow: Annotated[list[Path] | None, typer.Option(help="Serve this flow instead of those configured.")] = None,
    sip: Annotated[str, typer.Option(help="HOST:PORT for SIP over UDP and TCP; port 0 takes free ones.")] = "",
    http: Annotated[str, typer.Option(help="HOST:PORT for /healthz and /metrics.")] = "",
    data: Annotated[Path | None, typer.Option(help="Folder of recordings, call records and prompts.")] = None,
    engine: Annotated[str, typer.Option(help="Media engine: native, or reference, the slow one in Python.")] = "",
    log: Annotated[LogFormat, typer.Option(help="How log lines are written to standard error.")] = LogFormat.console,
) -> None:
    """Starts the gateway and stays up until Ctrl-C. SIGHUP, or saving a flow, loads flows anew."""
    from gateway.config import load_config
    from gateway.serve import serve

    settings = load_config(config).with_options(flows=flow, sip=sip, http=http, data=data, engine=engine)
    asyncio.run(serve(settings, console=err, log_format=log.value))


@app.command(epilog="Example: trunkline demo --out demo-out")
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for recordings and records.")] = Path("demo-out"),
    only: Annotated[str, typer.Option(help="Only this language's call: en-US or zh-CN.")] = "",
) -> None:
    """Two whole calls on this machine, English and Mandarin: gateway, agent's phone and caller, checked by sound."""
    from gateway.lab.demo import run_demo

    raise typer.Exit(run_demo(out_dir, out, only or None))


@app.command(epilog="Example: trunkline call sip:1001@127.0.0.1:5060 --wav question.wav --record heard.wav")
def call(
    uri: Annotated[str, typer.Argument(help="Whom to call: sip:USER@HOST:PORT.")],
    wav: Annotated[Path | None, typer.Option(help="Speak this WAV when the first prompt is over.")] = None,
    say: Annotated[str, typer.Option(help="Speak these words, rendered by the offline voice.")] = "",
    keys: Annotated[str, typer.Option(help="Press these keys (RFC 4733).")] = "",
    record: Annotated[Path, typer.Option(help="What the caller hears goes here.")] = Path("heard.wav"),
    lang: Language = "en-US",
    seconds: Annotated[float, typer.Option(help="Hang up after this long at the latest.")] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Calls a number as a caller for tests would, and records what it hears. Exit status 1 where nobody answers."""
    from gateway.lab.caller import call_once

    result = asyncio.run(call_once(uri, wav=wav, say=say, keys=keys, record=record, language=lang, seconds=seconds))
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        table = Table(title=uri, show_header=False)
        for key, value in result.items():
            table.add_row(key, escape(str(value)))
        out.print(table)
    raise typer.Exit(0 if 200 <= result["status"] < 300 else 1)


@app.command(epilog="Example: trunkline check ivr_flows/bank.yaml")
def check(
    flow: FlowFile,
    agents: Annotated[Path | None, typer.Option(help="Agents, to see that somebody holds each queue's skill.")] = None,
    as_json: AsJson = False,
) -> None:
    """Says everything that is wrong with a flow, with line and column. Exit status 2 when there is something."""
    from gateway.config import load_agents
    from gateway.flow.check import Advice
    from gateway.flow.check import check as check_flow

    findings = check_flow(flow, agents=load_agents(agents).agents if agents else None)
    if as_json:
        print(json.dumps([_finding(f) for f in findings], ensure_ascii=False))
    else:
        for finding in findings:
            err.print(escape(str(finding)), soft_wrap=True, highlight=False)
        word = "no findings" if not findings else f"{len(findings)} finding" + "s" * (len(findings) > 1)
        (err if findings else out).print(f"{flow}: {word}", highlight=False)
    raise typer.Exit(2 if any(not isinstance(f, Advice) for f in findings) else 0)


def _finding(error: TrunklineError) -> dict[str, Any]:
    mark = error.where
    place = {"file": mark.file, "line": mark.line, "column": mark.column} if mark else {}
    return {
        **place,
        "what": error.what,
        "read": error.read,
        "expected": error.expected,
        "near": error.near,
        "do": error.do,
    }


@app.command(epilog="Example: trunkline draw ivr_flows/bank.yaml --form dot | dot -Tsvg > bank.svg")
def draw(flow: FlowFile, form: Annotated[str, typer.Option(help="mermaid or dot.")] = "mermaid") -> None:
    """Prints a flow as a graph: menus, keys, intents, queues."""
    from gateway.flow.check import load
    from gateway.flow.draw import draw as draw_flow

    forms = ("mermaid", "dot")
    if form not in forms:
        raise TrunklineError("no such form", read=form, expected=", ".join(forms), near=nearest(form, forms))
    print(draw_flow(load(flow), form))  # type: ignore[arg-type]


@app.command(epilog="Example: echo 'where is my parcel' | trunkline understand ivr_flows/shop.yaml --lang en-US")
def understand(flow: FlowFile, lang: Language = "en-US", as_json: AsJson = False) -> None:
    """Reads sentences from standard input, one a line, and says which intent each has and how sure that is."""
    from gateway.flow.check import load
    from gateway.flow.understanding import lessons, serve
    from gateway.lab.understand import understand as run_understand

    loaded = load(flow)
    _known_language(lang, loaded.languages)
    with err.status("Learning the flow's sentences"):
        model = serve({loaded.id: lessons(loaded, (lang,))})
    limits = (loaded.defaults.accept, loaded.defaults.confirm, loaded.defaults.margin)
    for row in run_understand(sys.stdin, lambda text: model.rank(loaded.id, text, lang), limits):
        if as_json or not out.is_terminal:
            print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            out.print(f"{row['band']:8} {row['score']:.2f} {row['intent']:16} {escape(row['text'])}")


@app.command(epilog="Example: trunkline transcribe question.wav --lang zh-CN --json")
def transcribe(
    wav: Annotated[list[Path], typer.Argument(help="WAV files, mono, 8 or 16 kHz.")],
    lang: Language = "en-US",
    flow: Annotated[list[Path] | None, typer.Option(help="Flows whose words to expect; else those configured.")] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Recognizes recordings through the 8 kHz G.711 path a call takes, expecting the words its flows expect."""
    from gateway.calls.words import expected
    from gateway.config import load_config
    from gateway.flow.check import load
    from gateway.lab.transcribe import transcribe as run_transcribe

    paths = flow or (load_config(config).flows if config.exists() else ())
    for path, hypothesis in run_transcribe(wav, lang, expected([load(p) for p in paths], lang)):
        if as_json:
            row = {"file": path.name, "text": hypothesis.text, "score": round(hypothesis.score, 3)}
            print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            out.print(escape(hypothesis.text))


@app.command(epilog="Example: trunkline simulate ivr_flows/bank.yaml --lang en-US")
def simulate(flow: FlowFile, lang: Language = "en-US") -> None:
    """Talk to a flow in text: type what a caller says, #1 for a key, an empty line for silence."""
    from gateway.flow.check import load
    from gateway.lab.talk import talk

    loaded = load(flow)
    _known_language(lang, loaded.languages)
    talk(loaded, lang, out)


@app.command(epilog="Example: trunkline why 0197")
def why(
    call_id: Annotated[
        str, typer.Argument(metavar="CALL", help="A call's id or its beginning; 'last' is the newest.")
    ] = "last",
    data: Annotated[Path, typer.Option(help="The gateway's data folder.")] = Path("var"),
    as_json: AsJson = False,
) -> None:
    """Tells what happened in a call and why: heard, understood, decided, offered to whom."""
    from gateway.lab.why import show
    from gateway.store.store import open_for_reading

    show(open_for_reading(data), call_id, out, as_json=as_json)


@app.command(epilog="Example: trunkline trace last --pcap call.pcap")
def trace(
    call_id: Annotated[
        str, typer.Argument(metavar="CALL", help="A call's id, its beginning or its end; 'last' is the newest.")
    ] = "last",
    data: Annotated[Path, typer.Option(help="The gateway's data folder.")] = Path("var"),
    pcap: Annotated[Path | None, typer.Option(help="Write the file for Wireshark here; else beside the trace.")] = None,
) -> None:
    """Shows a call's SIP messages as a ladder and writes them as a pcap; keys and passwords are masked."""
    from gateway.lab.trace import show

    show(data, call_id, out, pcap)


@app.command(epilog="Example: trunkline doctor")
def doctor(
    config: Config = DEFAULT_CONFIG,
    sip: Annotated[str, typer.Option(help="As `run` was given it.")] = "",
    http: Annotated[str, typer.Option(help="As `run` was given it: the running gateway is asked there.")] = "",
    as_json: AsJson = False,
) -> None:
    """Says what works on this machine and what is missing, what stands between a phone and the gateway that runs here,
    and what to do about it."""
    from gateway.config import load_config
    from gateway.lab.doctor import examine
    from gateway.lab.models import examined

    asked = config.exists() or config != DEFAULT_CONFIG
    settings = load_config(config).with_options(sip=sip, http=http) if asked else None
    rows = examine(settings, examined)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False))
    else:
        table = Table(box=None)
        for column in ("", "what", "found"):
            table.add_column(column, overflow="fold")
        for row in rows:
            mark = "[green]ok[/]" if row.ok else ("[dim]--[/]" if row.optional else "[red]no[/]")
            table.add_row(mark, escape(row.what), escape(row.found))
        out.print(table)
    raise typer.Exit(0 if all(row.ok or row.optional for row in rows) else 1)


@app.command(epilog="Example: trunkline models --prepare")
def models(
    prepare: Annotated[bool, typer.Option("--prepare", help="Make the default models ready now.")] = False,
    fetch: Annotated[str, typer.Option(help="Download this model, such as vosk-en-US.")] = "",
    as_json: AsJson = False,
) -> None:
    """Lists models and voices: what is here, where it comes from, its licence."""
    from gateway.lab.models import show_models

    show_models(out, prepare=prepare, fetch=fetch or None, as_json=as_json)


@app.command(
    epilog="Example: trunkline bench media --streams 1000 --seconds 20",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def bench(
    context: typer.Context,
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="Left out: lists them.")] = "",
) -> None:
    """Runs a measuring program of the source tree's bench/ folder with its own options (--help shows them)."""
    program = program.replace("-", "_") if not program.startswith("-") else program
    folder = Path(__file__).resolve().parents[1] / "bench"
    programs = {path.stem: path for path in sorted(folder.glob("*.py")) if '__name__ == "__main__"' in _text(path)}
    if not programs:
        raise TrunklineError(
            "the measuring programs are not here",
            read=str(folder),
            do="run it from a clone of the source tree: the installed package leaves bench/ out",
        )
    if program in ("", "--help"):
        table = Table("program", "what it measures", box=None)
        for name, path in programs.items():
            if not name.startswith("peer_") and name != "generator":
                table.add_row(name, escape(_first_line(path)))
        out.print(table)
        raise typer.Exit()
    if program not in programs:
        raise TrunklineError(
            "no such measuring program", read=program, expected=", ".join(programs), near=nearest(program, programs)
        )
    raise typer.Exit(subprocess.call([sys.executable, str(programs[program]), *context.args]))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _first_line(path: Path) -> str:
    """A program's own description."""
    return (ast.get_docstring(ast.parse(_text(path))) or "").partition("\n")[0]


@app.command(epilog="Example: trunkline version")
def version() -> None:
    """Prints the version."""
    print(f"trunkline {__version__}")


def _known_language(language: str, known: tuple[str, ...]) -> None:
    if language not in known:
        raise TrunklineError("the flow does not speak this language", read=language, expected=", ".join(known))


def main() -> None:
    """Entry point. Errors meant for people are printed as such: status 2; Ctrl-C: 130."""
    try:
        app()
    except Findings as error:
        err.print(escape(str(error)), soft_wrap=True, highlight=False)
        sys.exit(2)
    except TrunklineError as error:
        err.print(f"[red]trunkline:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
