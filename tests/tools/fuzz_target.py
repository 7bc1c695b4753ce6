"""What every target of coverage_fuzz.py is, and what it finds. Chooses no input and runs nothing by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


class Finding(Exception):
    """Something that must not be."""


class Target:
    """One way in. ``packages``: the compiled and the interpreted one. ``scratch``: a directory of its own."""

    def __init__(self, packages: list[ModuleType], scratch: Path) -> None:
        self.packages = packages
        self.scratch = scratch

    def run(self, data: bytes) -> None:
        """Raise for what must not be."""
        raise NotImplementedError

    def close(self) -> None:
        """End what it has started."""


def outcome(call: Callable[[], Any], *promised: str) -> Any:
    """What a call returns, or the name of what it raises, which has to be one of these."""
    try:
        return call()
    except Exception as error:
        if type(error).__name__ not in promised:
            raise
        return type(error).__name__


def same(what: str, results: list[Any]) -> Any:
    """What both packages came to."""
    if any(each != results[0] for each in results):
        raise Finding(f"{what} differ: {results}")
    return results[0]
