"""What checks of storages are made of: a storage under test, and what they expect of it. Used by storage_suite.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from .._core import EntryLog
from .._native.memory import Entry
from ..errors import RaftError
from ..storage.protocol import Loaded, Storage
from ..types import ENTRY_NORMAL, ConfState, HardState

CLUSTER = b"storage-suite---"
FOUNDERS = ConfState(voters=(1, 2, 3))

Row: TypeAlias = "tuple[int, int, bytes]"  # of an entry: index, term, data


@dataclass
class Subject:
    """A storage that is looked at.

    make: makes it, over what the last one has left. crash: called with an open one, after which nothing of it is used
    any more: the power fails, so that what was not synced may be lost; None: there is no way to do that.
    """

    make: Callable[[], Any]
    crash: Callable[[Any], None] | None = None

    def opened(self, id: int = 1, cluster: bytes = CLUSTER) -> tuple[Any, Loaded]:
        """A storage, open, and what it held."""
        storage = self.make()
        return storage, storage.open(id, cluster)


Check: TypeAlias = Callable[[Subject], None]


def expect(found: object, wanted: object, what: str) -> None:
    """Raise AssertionError unless both are equal."""
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, must be {wanted!r}")


def expect_error(error: type[BaseException], what: str, call: Callable[..., object], *arguments: Any) -> None:
    """Raise AssertionError unless the call raises that."""
    try:
        call(*arguments)
    except error:
        return
    raise AssertionError(f"{what}: {error.__name__} must be raised")


def record(index: int, term: int, data: bytes = b"", kind: int = ENTRY_NORMAL) -> bytes:
    """One entry as a storage gets it."""
    return Entry(index, term, data, kind).encode()


def log_of(loaded: Loaded) -> EntryLog:
    """The log that a node makes of what a storage held."""
    log = EntryLog()
    if loaded.base_index:
        log.py_restore(loaded.base_index, loaded.base_term)
    try:
        for piece in loaded.records:
            log.py_extend(piece)
    except RaftError as error:
        raise AssertionError(f"the records that open() gave are not those of a log: {error}") from error
    return log


def rows_of(loaded: Loaded) -> list[Row]:
    """Its entries."""
    log = log_of(loaded)
    return [(entry.index, entry.term, entry.data) for entry in log.entries(log.first, log.last)]


def write(storage: Storage, state: HardState, *records: bytes | memoryview) -> None:
    """Append and sync."""
    storage.append(state, records)
    storage.sync()
