"""The two small notations in a flow: utterance templates `(a|b) [optional]` and prompt templates with `{names}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product

from gateway.flow.model import Flow
from gateway.flow.turn import Segment, Text, Value
from gateway.flow.words import is_mandarin

MAX_EXPANSIONS = 500

_NAME = re.compile(r"\{([^{}]*)\}")
_PUNCTUATION = " ,.;:!?，。；：！？、"
_SPACES = re.compile(r"\s+")


class TemplateError(ValueError):
    """A template that can't be read; `at` is the offset of the trouble in characters."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.at = at


def expand(template: str) -> tuple[str, ...]:
    """Every sentence an utterance template stands for, in order, without doubles.

    `(a|b)` is one of, `[x]` is x or nothing, `[a|b]` one of or nothing; they nest. Raises TemplateError.
    """
    sentences, at = _alternatives(template, 0, "")
    if at < len(template):
        raise TemplateError(f"`{template[at]}` closes nothing", at)
    return tuple(dict.fromkeys(_SPACES.sub(" ", s).strip() for s in sentences))


def _alternatives(text: str, at: int, close: str) -> tuple[list[str], int]:
    """Sentences of `a|b|c` from `at` up to `close` (which is not consumed)."""
    found: list[str] = []
    branch = [""]
    while at < len(text) and text[at] not in ")]":
        if text[at] == "|":
            if not close:
                raise TemplateError("`|` stands outside ( ) and [ ]", at)
            found, branch, at = [*found, *branch], [""], at + 1
        elif text[at] in "([":
            inner, at = _group(text, at)
            branch = [a + b for a, b in product(branch, inner)]
        else:
            end = at
            while end < len(text) and text[end] not in "()[]|":
                end += 1
            branch, at = [a + text[at:end] for a in branch], end
        if len(branch) + len(found) > MAX_EXPANSIONS:
            raise TemplateError(f"more than {MAX_EXPANSIONS} sentences", at)
    return [*found, *branch], at


def _group(text: str, at: int) -> tuple[list[str], int]:
    close = {"(": ")", "[": "]"}[text[at]]
    inner, end = _alternatives(text, at + 1, close)
    if end >= len(text) or text[end] != close:
        raise TemplateError(f"`{text[at]}` is not closed", at)
    return ([*inner, ""] if close == "]" else inner), end + 1


def names(template: str) -> list[str]:
    """The `{names}` a prompt speaks. Raises TemplateError for a brace that is not closed."""
    rest = _NAME.sub("", template)
    for brace in "{}":
        if brace in rest:
            raise TemplateError(f"`{brace}` has no partner", template.index(brace))
    return _NAME.findall(template)


def segments(template: str, values: Mapping[str, Segment]) -> tuple[Segment, ...]:
    """What is spoken: fixed words merged where they touch, Values between them. A name without a value is left out.

    English fragments keep their spaces and punctuation, so that a sentence with a value in it can be rendered whole.
    Mandarin ones are recordings of their own: they begin with a word, and punctuation alone is none.
    """
    parts: list[Segment] = [Text("")]
    for piece in re.split(r"(\{[^{}]*\})", template):
        value = values.get(piece[1:-1]) if piece.startswith("{") else Text(piece)
        last = parts[-1]
        if isinstance(value, Text) and isinstance(last, Text):
            parts[-1] = Text(last.text + value.text)
        elif value is not None:
            parts.append(value)
    return tuple(_trimmed(parts, is_mandarin(template)))


def _trimmed(parts: list[Segment], mandarin: bool) -> Iterator[Segment]:
    for i, part in enumerate(parts):
        if not isinstance(part, Text):
            yield part
            continue
        words = _SPACES.sub(" ", part.text)
        words = words.lstrip(_PUNCTUATION).rstrip() if mandarin else words
        words = words.lstrip() if i == 0 else words
        words = words.rstrip() if i == len(parts) - 1 else words
        if words:
            yield Text(words)


def prompt(flow: Flow, name: str, language: str, values: Mapping[str, Segment] | None = None) -> tuple[Segment, ...]:
    """The segments of a flow's prompt in a language (or the flow's first, where it has no text in that one)."""
    texts = flow.prompts.get(name, {})
    template = texts.get(language) or texts.get(flow.languages[0], "")
    return segments(template, values or {})


def position_values(position: int, wait_s: float | None) -> dict[str, Segment]:
    """What the queue prompts `position` and `wait` speak: {position} as an ordinal, {minutes} rounded up."""
    minutes = max(1, -(-int(wait_s or 0) // 60))
    return {"position": Value("ordinal", str(position)), "minutes": Value("number", str(minutes))}


def fixed_texts(flow: Flow) -> list[tuple[str, str]]:
    """Every (text, language) the flow can say that is known when it is loaded, for rendering ahead; no doubles.

    Of prompts with values in them the Mandarin fragments are given; in other languages such a sentence is rendered
    whole when its values are known.
    """
    found: dict[tuple[str, str], None] = {}
    for texts in flow.prompts.values():
        for language, template in texts.items():
            for values in _fillings(flow, template, language):
                parts = segments(template, values)
                if is_mandarin(template) or len(parts) == 1:
                    found |= {(part.text, language): None for part in parts if isinstance(part, Text)}
    return list(found)


def _fillings(flow: Flow, template: str, language: str) -> Iterator[dict[str, Segment]]:
    """Each way of filling the names whose words are known beforehand; any other name gets a Value."""
    wanted = list(dict.fromkeys(_NAME.findall(template)))
    choices: list[list[Segment]] = [_choices(flow, name, language) for name in wanted]
    for chosen in product(*choices):
        yield dict(zip(wanted, chosen, strict=True))


def _choices(flow: Flow, name: str, language: str) -> list[Segment]:
    if name == "intent":
        return [Text(intent.label.get(language, "")) for intent in flow.intents.values()]
    for action in flow.actions.values():
        result = action.returns.get(name)
        if result is not None and result.kind == "word":
            return [Text(texts.get(language, "")) for texts in result.words.values()]
    return [Value("text", name)]
