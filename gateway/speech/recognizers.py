"""Recognizers by name: those built in, and those other packages offer under the entry point group
`trunkline.recognizers`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, cast

from gateway.core.errors import ConfigError, nearest
from gateway.core.ports import Recognizer

BUILT_IN = {
    "whisper": "gateway.speech.asr_whisper:create",
    "vosk": "gateway.speech.asr_vosk:create",
}
GROUP = "trunkline.recognizers"


def known() -> dict[str, str]:
    """Name -> "module:function" of every recognizer that is installed."""
    return {**{entry.name: entry.value for entry in entry_points(group=GROUP)}, **BUILT_IN}


def create(name: str, options: Mapping[str, Any]) -> Recognizer:
    """Build a recognizer in this process. `name` may also be "module:function". Raises ConfigError, ModelMissing."""
    factory = name if ":" in name else known().get(name)
    if factory is None:
        raise ConfigError(
            "no such recognizer is installed",
            read=name,
            expected=", ".join(sorted(known())),
            near=nearest(name, known()),
        )
    module, _, function = factory.partition(":")
    return cast(Recognizer, getattr(importlib.import_module(module), function)(**options))


def needs(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Models (gateway.speech.models) that a built-in recognizer loads with these options."""
    if name == "whisper" and not options.get("model"):
        return ("whisper-base",)
    if name == "vosk" and not options.get("folders"):
        from gateway.speech.asr_vosk import DEFAULT, named

        return tuple(named(language) for language in options.get("languages", DEFAULT))
    return ()
