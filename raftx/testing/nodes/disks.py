"""What simulated nodes keep their logs on: the log's own code on a simulated disk, or a storage written in Python.

Both lose in a power cut what was not synced. Only the simulated disk tears, reorders, stalls, fills up and fails.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from ...errors import StorageFailed
from ...storage.memory import MemoryStorage


class Disk(Protocol):
    """The disk of one member over its lives."""

    def storage(self) -> Any:
        """A storage for the next life."""

    def power_cut(self, totals: Counter[str]) -> None:
        """What was not synced may be lost."""

    def kill(self) -> None:
        """The process is gone: what was written stays."""

    def closed(self) -> None:
        """The node was closed."""

    def slice(self) -> None:
        """Some time passes."""

    def broken(self) -> bool:
        """Whether the power has gone, in the middle of what the node was doing."""

    def may_fail(self, error: BaseException | None) -> bool:
        """Whether a node that runs may end with this, after what was done to the disk."""

    def may_refuse(self, error: BaseException) -> bool:
        """Whether a node may not start because of this, after what was done to the disk."""

    def fault(self, rng: random.Random, totals: Counter[str]) -> None:
        """Something goes wrong from now on, for a while or once."""

    def damage(self, rng: random.Random, totals: Counter[str]) -> bool:
        """While no node runs: what was durable is damaged. False where that cannot be."""

    def heal(self) -> None:
        """No further faults; those that nodes can live with are over."""


class PlainDisk:
    """A storage written in Python: written and synced in one go, and never wrong but for a sync that raises."""

    def __init__(self, voters: Iterable[int]) -> None:
        self._storage = MemoryStorage(voters)
        self._failing = False

    def storage(self) -> MemoryStorage:
        self._failing = False
        return self._storage

    def power_cut(self, totals: Counter[str]) -> None:
        self.heal()
        self._storage.crash()

    def kill(self) -> None:
        self.heal()
        self._storage.crash()

    def closed(self) -> None:
        self.heal()

    def slice(self) -> None:
        pass

    def broken(self) -> bool:
        return False

    def may_fail(self, error: BaseException | None) -> bool:
        return self._failing and isinstance(error, StorageFailed)

    def may_refuse(self, error: BaseException) -> bool:
        return False

    def fault(self, rng: random.Random, totals: Counter[str]) -> None:
        self._failing = True
        self._storage.fail_next_sync = OSError(5, "the disk fails")
        totals["disk failures"] += 1

    def damage(self, rng: random.Random, totals: Counter[str]) -> bool:
        return False

    def heal(self) -> None:
        self._storage.fail_next_sync = None
