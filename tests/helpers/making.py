"""Things that a test makes by the dozen, and that are closed behind it. Not a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def each_closed(make: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """For a fixture: what makes such things, as ``make`` does; all of them are closed at the end."""
    every = []

    def one(*arguments: Any, **settings: Any) -> Any:
        every.append(make(*arguments, **settings))
        return every[-1]

    yield one
    for each in every:
        each.close()
