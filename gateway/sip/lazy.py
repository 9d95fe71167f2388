"""Properties that are worked out once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class lazy(Generic[T]):  # noqa: N801
    """A property worked out when it is first asked for, and then kept. functools' own takes a lock each time (Python
    3.11), a tenth of what a message costs."""

    def __init__(self, work: Callable[[Any], T]) -> None:
        self.work = work
        self.__doc__ = work.__doc__

    def __get__(self, instance: object, owner: type) -> T:
        value = self.work(instance)
        instance.__dict__[self.work.__name__] = value
        return value
