"""Values that change by being copied."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

T = TypeVar("T")


def replace(value: T, /, **changes: Any) -> T:
    """`dataclasses.replace` at a fifth of its cost where a dataclass has no slots (and no `__post_init__`, which is not
    called): a call's state is copied a dozen times. Raises TypeError for a field that there is not."""
    if not hasattr(value, "__dict__"):
        return dataclasses.replace(value, **changes)  # type: ignore[type-var]
    made = object.__new__(type(value))
    fields = made.__dict__
    fields.update(value.__dict__)
    if not changes.keys() <= fields.keys():
        raise TypeError(f"{type(value).__name__} has no {', '.join(changes.keys() - fields.keys())}")
    fields.update(changes)
    return made
