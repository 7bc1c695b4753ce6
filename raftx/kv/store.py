"""Keys and values by revision: what every change left behind, up to what was compacted. Deterministic; no locks here.

Each change of the store takes the next revision, which all its keys share. A key has a history of versions, and the
log has, by revision, what changed: both share the same values, which never change. Lists of versions only grow, and
compaction puts new ones in their place: so a copy of the table is a copy of the state.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sortedcontainers import SortedDict

from .errors import COMPACTED, FUTURE_REVISION

FIRST_REVISION = 1  # of an empty store
VERSION_BYTES = 400  # of memory around a version's key and value, about
NEVER = -1  # the compacted revision of a store that was never compacted


class Version(NamedTuple):
    """What one change left of a key. ``version`` 0: it was deleted."""

    key: bytes
    #: the revision of the change, and its place among those of that revision
    mod: int
    sub: int
    #: the revision in which the key came to be, and how often it was put since
    create: int
    version: int
    value: bytes
    lease: int


def _mod_of(version: Version) -> int:
    return version.mod


def _size_of(version: Version) -> int:
    return len(version.key) + len(version.value) + VERSION_BYTES


class Store:
    """All keys. Reads at a revision ``at``: what is there after the change of that revision; 0 or less: now."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        self.compacted = NEVER
        #: by key: versions, oldest first; never empty
        self.keys: SortedDict[bytes, list[Version]] = SortedDict()
        #: what changed in the revisions from ``first`` on, in order; one list for each
        self.log: list[list[Version]] = []
        self.first = FIRST_REVISION + 1
        #: bytes of the versions that are kept, in memory
        self.size = 0

    # --- reading -----------------------------------------------------------------------------------

    def check(self, at: int, now: int) -> int:
        """The revision that is read where ``at`` is asked for. Raises COMPACTED, FUTURE_REVISION."""
        if at > now:
            raise FUTURE_REVISION
        at = at if at > 0 else now
        if at < self.compacted:
            raise COMPACTED
        return at

    def get(self, key: bytes, at: int) -> Version | None:
        """A key as of that revision, which is kept; None: it is not there."""
        history = self.keys.get(key)
        return None if history is None else _as_of(history, at)

    def range(self, key: bytes, end: bytes | None, at: int) -> Iterator[Version]:
        """Keys in their order, from ``key`` to before ``end``: None: this one alone; b"": without an end."""
        if end is None:
            one = self.get(key, at)
            if one is not None:
                yield one
            return
        if end and end <= key:
            return
        for each in self.keys.irange(key, end or None, (True, False)):
            there = _as_of(self.keys[each], at)
            if there is not None:
                yield there

    def changed(self, first: int, last: int) -> Iterable[list[Version]]:
        """What changed in these revisions, both included and kept; a list for each."""
        return self.log[max(0, first - self.first) : last + 1 - self.first]

    def is_gone(self, version: Version) -> bool:
        """Whether a change of the compacted revision is compacted: it was a deletion, or another one came behind it.

        The log has it all the same, for who was to be told of it when it was compacted.
        """
        return version.mod == self.compacted and self.get(version.key, version.mod) is not version

    def before(self, version: Version) -> Version | None:
        """What a key was before that change; None: it was not there, or that is compacted."""
        if version.mod - 1 < self.compacted or version.create == version.mod:
            return None
        return self.get(version.key, version.mod - 1)

    # --- writing -----------------------------------------------------------------------------------

    def write(self) -> Writing:
        """A change that is being made."""
        return Writing(self)

    def compact(self, revision: int) -> None:
        """Forget what is older than that revision. Raises COMPACTED, FUTURE_REVISION."""
        if revision <= self.compacted:
            raise COMPACTED
        if revision > self.revision:
            raise FUTURE_REVISION
        self.compacted = revision
        gone = max(0, revision - self.first)
        touched = {each.key for changes in self.log[: gone + 1] for each in changes}
        for key in touched:
            self._forget(key, revision)
        if revision > self.first:
            del self.log[:gone]
            self.first = revision

    def _forget(self, key: bytes, revision: int) -> None:
        history = self.keys.get(key)
        if history is None:
            return
        keep = bisect_right(history, revision, key=_mod_of) - 1
        if keep < 0:
            return
        if not history[keep].version:
            keep += 1
        for each in history[:keep]:
            self.size -= _size_of(each)
        if keep == len(history):
            del self.keys[key]
        elif keep:
            self.keys[key] = history[keep:]

    def add(self, version: Version) -> None:
        """A change, of the newest revision or the next one, behind all others."""
        history = self.keys.get(version.key)
        if history is None:
            self.keys[version.key] = [version]
        else:
            history.append(version)
        if version.sub == 0:
            self.log.append([version])
        else:
            self.log[-1].append(version)
        self.size += _size_of(version)

    # --- snapshots -----------------------------------------------------------------------------------

    def become(self, other: Store) -> None:
        """Have what the other one has, which nobody else uses."""
        self.revision, self.compacted, self.first = other.revision, other.compacted, other.first
        self.keys, self.log, self.size = other.keys, other.log, other.size

    def load(self, revision: int, compacted: int, histories: Iterable[list[Version]]) -> None:
        """The state of a snapshot: histories in the order of their keys."""
        self.revision, self.compacted = revision, compacted
        self.keys = SortedDict({history[0].key: history for history in histories})
        self.first = max(FIRST_REVISION + 1, compacted)
        self.log = [[] for _ in range(self.first, revision + 1)]
        self.size = 0
        for history in self.keys.values():
            for each in history:
                self.size += _size_of(each)
                if each.mod >= self.first and (each.version or each.mod > compacted):
                    self.log[each.mod - self.first].append(each)
        for changes in self.log:
            changes.sort(key=lambda each: each.sub)


def _as_of(history: list[Version], at: int) -> Version | None:
    there = history[-1]
    if there.mod > at:
        place = bisect_right(history, at, key=_mod_of)
        if place == 0:
            return None
        there = history[place - 1]
    return there if there.version else None


class Writing:
    """A change that is being made: what it does is there at once, under one revision. ``end`` makes that the newest."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.next = store.revision + 1
        self.changes = 0

    @property
    def revision(self) -> int:
        """The revision that is read now: with what was changed so far."""
        return self.next if self.changes else self.next - 1

    def put(self, key: bytes, value: bytes, lease: int) -> Version | None:
        """Set a key; what it was before."""
        store = self.store
        before = store.get(key, self.next)
        create, version = (before.create, before.version + 1) if before is not None else (self.next, 1)
        store.add(Version(key, self.next, self.changes, create, version, value, lease))
        self.changes += 1
        return before

    def delete(self, keys: Iterable[Version]) -> None:
        """Delete these, which are there."""
        for each in keys:
            self.store.add(Version(each.key, self.next, self.changes, 0, 0, b"", 0))
            self.changes += 1

    def end(self) -> int:
        """The newest revision."""
        if self.changes:
            self.store.revision = self.next
        return self.store.revision
