"""What a mistake is that mutants.py puts into the source: texts that become others. Values and their reading only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Edit(NamedTuple):
    """In ``file`` the text ``old``, which stands there once, becomes ``new``."""

    file: str
    old: str
    new: str


class Mutant(NamedTuple):
    """One mistake. ``first`` is the test file that is likely to see it: tried before the others."""

    name: str
    number: int
    says: str
    first: str
    edits: tuple[Edit, ...]


class DoesNotApply(Exception):
    """The source has changed: the text to replace is not there exactly once."""


def mutated(root: Path, mutant: Mutant) -> dict[str, str]:
    """The new text of each file that a mutant changes, by its path under ``root``. Raises DoesNotApply."""
    texts: dict[str, str] = {}
    for file, old, new in mutant.edits:
        text = texts.get(file) or (root / file).read_text()
        if text.count(old) != 1:
            raise DoesNotApply(f"{mutant.name}: {file} has this {text.count(old)} times, it must be once:\n{old}")
        texts[file] = text.replace(old, new)
    return texts
