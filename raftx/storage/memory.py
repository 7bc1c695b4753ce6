"""MemoryStorage: a storage for tests, with a disk that can lose power.

Keeps what a node wrote for as long as the object lives. ``crash`` forgets what was not synced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..errors import ConfigError, StorageError, WrongDirectory
from ..types import NUMBER_MAX, ConfState, HardState, is_id
from .protocol import Loaded


class MemoryStorage:
    """Hard state and records in memory.

    voters, learners: the first membership. ``sync_delay``: seconds that each sync takes.
    """

    def __init__(self, voters: Iterable[int] = (), learners: Iterable[int] = (), *, sync_delay: float = 0.0) -> None:
        self._conf_state = ConfState(voters=tuple(sorted(voters)), learners=tuple(sorted(learners)))
        members = self._conf_state.voters + self._conf_state.learners
        if not self._conf_state.voters:
            raise ConfigError("voters must name at least one member")
        if len(set(members)) != len(members) or not all(map(is_id, members)):
            raise ConfigError(f"voters and learners must be different ids in 1..{NUMBER_MAX}")
        self.sync_delay = sync_delay
        #: tests: the next sync raises this
        self.fail_next_sync: BaseException | None = None
        self._lock = threading.Lock()
        self._owner: tuple[int, bytes] | None = None
        self._open = False
        self._incarnation = 0
        self._durable_state = HardState()
        self._durable: list[bytes] = []
        self._state = HardState()
        self._written: list[bytes] = []
        #: why it is in doubt (HardState.in_doubt); "" when it is not, as far as ``put_in_doubt`` is concerned
        self.doubt = ""

    def open(self, id: int, cluster: bytes) -> Loaded:
        """Take it for a node. Raises WrongDirectory when it is in use or another node's."""
        with self._lock:
            if self._open:
                raise WrongDirectory("this storage is in use by another node")
            if self._owner not in (None, (id, cluster)):
                raise WrongDirectory(f"this storage belongs to node {self._owner[0] if self._owner else id}")
            self._owner = (id, cluster)
            self._open = True
            self._incarnation += 1
            self._durable += self._written
            self._written = []
            self._durable_state = self._state
            return Loaded(self._durable_state, self._conf_state, self._incarnation, list(self._durable))

    def append(self, hard_state: HardState, records: Sequence[bytes | memoryview]) -> None:
        """Take a hard state and records; durable after ``sync``."""
        with self._lock:
            if not self._open:
                raise StorageError("the storage is closed")
            self._state = hard_state
            self._written += [bytes(piece) for piece in records]

    def sync(self) -> None:
        """Make everything appended durable."""
        if self.sync_delay:
            time.sleep(self.sync_delay)
        with self._lock:
            error, self.fail_next_sync = self.fail_next_sync, None
            if error is not None:
                raise error
            self._durable += self._written
            self._written = []
            self._durable_state = self._state
            if not self._state.in_doubt:
                self.doubt = ""

    def put_in_doubt(self, reason: str = "a test put it in doubt") -> None:
        """As if something acknowledged might be missing: what opens it next starts in doubt. Not while it is open."""
        with self._lock:
            if self._open:
                raise StorageError("the storage is open")
            self.doubt = reason
            self._state = self._durable_state = replace(self._state, in_doubt=True)

    def crash(self) -> None:
        """Power cut: what was not synced is gone."""
        with self._lock:
            self._written = []
            self._state = self._durable_state
            self._open = False

    def close(self) -> None:
        """Let another node (the same one, restarted) open it."""
        with self._lock:
            self._open = False
