"""What a node asks of its storage. A sink: nothing is read back while the node runs.

A user's own storage needs these methods and no base class. All calls come from one thread at a
time (the adapter thread while the node runs), may block, and may raise; the first exception ends
the node, because after a failed write or sync nobody knows what is on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from ..types import ConfState, HardState

# Cells between the writer and the thread that makes segments ahead (reserve.py)
RESERVE_STATE = 0  # one of the next five
RESERVE_NONE = 0  # nothing is there
RESERVE_WANTED = 1  # the writer asks for a segment
RESERVE_MAKING = 2
RESERVE_READY = 3
RESERVE_FAILED = 4  # for good: nothing may be written any more
RESERVE_CODE = 1  # 0, or the -errno of that
RESERVE_TROUBLE = 2  # 0, or the errno of what is short at present
RESERVE_STOP = 3


@dataclass
class Loaded:
    """What a storage held when it was opened."""

    hard_state: HardState
    conf_state: ConfState
    #: How often this storage has been opened, this time included. Invariant: on disk before open() returns.
    incarnation: int
    #: Entry records, back to back in pieces of any length, in the order they were appended: a record
    #: whose index is not above the last one replaces it and everything after it.
    records: Iterable[bytes | memoryview] = field(default_factory=tuple)


@runtime_checkable
class Storage(Protocol):
    """Where a node keeps its hard state and its log."""

    def open(self, id: int, cluster: bytes) -> Loaded:
        """Take the storage for node ``id`` of ``cluster`` (16 bytes) and return what it holds.

        Whatever is returned is on disk: an open after a crash syncs what it found before it trusts it.
        Where something acknowledged may be missing, ``hard_state.in_doubt`` says so, in every open until a hard state
        without it was written.
        Raises ``WrongDirectory``, ``WalDamaged`` or ``StorageError``.
        """

    def append(self, hard_state: HardState, records: Sequence[bytes | memoryview]) -> None:
        """Take the hard state and then the records (same rule of replacement as ``Loaded.records``)."""

    def sync(self) -> None:
        """Return when everything appended so far is on disk."""

    def close(self) -> None:
        """Release files and locks. May be called twice."""
