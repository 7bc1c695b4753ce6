"""The snapshots of one storage: which of them count, which are in the way, and what their users may do with them.

Three kinds have their name. Those *within* the log, from its base on: the newest two of them stay. Those *ahead* of it:
they were received, and the log does not begin behind them yet; it may never. A write that lets it do so may be under
way, so each stays until the base has passed it. Those *behind* the base are of no use, and are removed. What belongs to
the log itself, the storage tells: base, last entry, terms.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .._native.files import Directory
from ..errors import SnapshotDamaged, StorageError, UsageError, WalDamaged, WrongDirectory
from ..report import report
from ..types import ConfState
from .protocol import check_base, check_membership
from .snapshot_format import DAMAGED, Descriptor, name_of_place, place_of_name, place_of_part
from .snapshot_receiver import SnapshotReceiver
from .snapshots import KEPT, SnapshotFolder, SnapshotReader, SnapshotWriter

Compact: TypeAlias = "Callable[[int, int, ConfState], None]"

REMEDY = "put the file back as it was, or rebuild the member (raftx wal rebuild)"


@dataclass(frozen=True)
class Judged:
    """The snapshots of a directory."""

    #: those within the log that are kept, and one ahead of it if there is one, newest first
    within: list[Descriptor]
    ahead: list[Descriptor]
    #: the file of each that is damaged, and why
    damaged: list[tuple[str, str]]
    #: files of those that were being received, as far as they are kept
    parts: list[str]


class _Writer(SnapshotWriter):
    """A snapshot that is being made."""

    def __init__(self, store: SnapshotStore, descriptor: Descriptor, level: int | None, compact: Compact) -> None:
        self._store = store
        self._compact = compact
        super().__init__(store.directory, descriptor, level)

    def finish(self) -> Descriptor:
        """Everything is written: make it durable, and forget what is not needed any more."""
        made = super().finish()
        older = self._store.made(made)
        if older is not None:
            self._compact(older.index, older.term, older.conf_state)
        return made


class SnapshotStore:
    """The snapshots in ``directory``, which is open and locked. Any thread; its files may block.

    where: how errors call it. level: of compression, see SnapshotWriter. ``find`` comes first, then ``follow``.
    """

    def __init__(
        self,
        where: str,
        directory: Directory,
        cluster: bytes,
        level: int | None = None,
    ) -> None:
        self.where = where
        self.directory = directory
        self.cluster = cluster
        self.level = level
        #: where the log begins, on disk
        self._base: Callable[[], int] = int
        self._folder = SnapshotFolder(directory)
        self._lock = threading.RLock()
        #: within the log and whole, the newest first
        self._within: list[Descriptor] = []
        #: newer than these, the newest first, and names of those that were not read to their end in this life
        self._ahead: list[Descriptor] = []
        self._unread: set[str] = set()

    # --- opening -----------------------------------------------------------------------------------

    def judge(self, base: int, last: int, term_at: Callable[[int], int], restored: bool) -> Judged:
        """What is there, and what counts of it. Changes nothing on disk.

        The log begins behind ``base`` and ends with ``last``; ``term_at`` tells the terms of its entries. restored: it
        was begun anew behind the snapshot at the base. Raises SnapshotDamaged, WalDamaged, WrongDirectory and
        StorageError.
        """

        def inside(term: int, index: int) -> bool:
            # An entry of another term is there in place of the one that the snapshot was made after.
            return base <= index <= last and term_at(index) == term

        kept, damaged = self._folder.whole(inside)
        for each in kept:
            if each.cluster != self.cluster:
                raise WrongDirectory(f"{self.where}: {each.name} is of another cluster")
        within = [each for each in kept if inside(each.term, each.index)]
        if base and not within:
            self._check_needed(base, last, kept, damaged, name_of_place(term_at(base), base) if restored else "")
        newest = within[0].index if within else base
        ahead = [each for each in kept if each.index > newest and each not in within][:1]
        parts = [name for name in self._folder.parts() if (place_of_part(name) or (0, 0))[1] > newest][:1]
        return Judged(within[:KEPT], ahead, damaged, parts)

    def find(self, base: int, last: int, term_at: Callable[[int], int], restored: bool) -> None:
        """Look at what is there, as ``judge`` does, and remove or put aside what does not count. Before anything else.

        Raises what ``judge`` raises.
        """
        judged = self.judge(base, last, term_at, restored)
        for name, reason in judged.damaged:
            report(logging.WARNING, "%s: %s; it is put aside as %s%s", self.where, reason, name, DAMAGED)
            self._folder.set_aside(name)
        self._within = judged.within
        self._ahead = judged.ahead
        self._unread = {each.name for each in judged.ahead}
        self._folder.clean([each.name for each in judged.within + judged.ahead] + judged.parts)

    def follow(self, base: Callable[[], int]) -> None:
        """From now on the log begins where ``base`` says, whatever happens."""
        self._base = base

    def _check_needed(
        self, base: int, last: int, kept: list[Descriptor], damaged: list[tuple[str, str]], needed: str
    ) -> None:
        """No snapshot reaches the base: refuse, unless it is one that was only asked for.

        needed: the file of the snapshot behind which the log was begun; "" where it was not begun so.
        """
        begins = f"the log begins behind entry {base}, and no other snapshot reaches so far"
        for name, reason in damaged:
            if (place_of_name(name) or (0, 0))[1] <= last:
                raise SnapshotDamaged(f"{self.where}: {reason}; {begins}: {REMEDY}")
        if needed or any([each.index < base for each in kept]):
            newest = f"the newest snapshot is of entry {kept[0].index}" if kept else "there is no snapshot"
            missing = f"{needed}, or a later one, is missing" if needed else "something is missing"
            raise WalDamaged(f"{self.where}: {newest}, and the log has {base + 1}..{last}: {missing}: {REMEDY}")

    # --- for users ---------------------------------------------------------------------------------

    def newest(self) -> Descriptor | None:
        """The newest one within the log."""
        with self._lock:
            self.settle()
            return self._within[0] if self._within else None

    def begin(self, descriptor: Descriptor, last: int, compact: Compact) -> SnapshotWriter:
        """One that is to be written. Raises UsageError, StorageError.

        last: the last entry that is durable. compact: called when there is another one behind which the log may begin.
        """
        with self._lock:
            newest = self._check(descriptor)
            if descriptor.index <= newest:
                raise UsageError(f"index must be above {newest}, that of the newest snapshot, not {descriptor.index}")
            check_base(descriptor.index, descriptor.term, descriptor.conf_state, last)
            return _Writer(self, descriptor, self.level, compact)

    def open(self, index: int = 0) -> SnapshotReader:
        """The one of that entry within the log, to be read; 0: the newest.

        Raises StorageError, SnapshotDamaged; UsageError when there is none.
        """
        with self._lock:
            self.settle()
            for each in self._within:
                if index in (0, each.index):
                    return SnapshotReader(self.directory, each.name)
            raise UsageError(f"{self.where} has no snapshot" + (f" of entry {index}" if index else ""))

    def receive(self, descriptor: Descriptor) -> SnapshotReceiver:
        """One that comes from another member; what was received of others goes. Raises UsageError, StorageError."""
        with self._lock:
            newest = self._check(descriptor)
            least = max(newest, self._base())
            if descriptor.index < least:
                raise UsageError(f"index must be at least {least}, where the log begins, not {descriptor.index}")
            check_membership(descriptor.conf_state)
            descriptor.check()
            mine = descriptor.name
            self._folder.remove([name for name in self._folder.parts() if name.removesuffix(".part") != mine])
            # One of the same entry within the log is in use, and has the same state.
            whole = mine in [each.name for each in self._within] or (
                descriptor in self._ahead and self._is_whole(descriptor)
            )
            return SnapshotReceiver(self.directory, descriptor, self.received, whole)

    def check_behind(self, index: int, term: int, conf_state: ConfState) -> Descriptor:
        """The snapshot at that place, behind which the log is to begin. Raises UsageError when there is none, whole."""
        check_membership(conf_state)
        members = conf_state.encode()
        with self._lock:
            self.settle()
            for each in self._ahead + self._within:
                if (each.index, each.term, each.conf_state.encode()) == (index, term, members) and self._is_whole(each):
                    return each
            raise UsageError(
                f"index must be that of a snapshot that was received and finished, with its term and its membership, "
                f"not {index!r} with term {term!r} and {conf_state!r}"
            )

    # --- what changes ------------------------------------------------------------------------------

    def made(self, made: Descriptor) -> Descriptor | None:
        """One was written and named. The one before it, if there is one: nothing up to there is needed any more."""
        with self._lock:
            self._put(made)
            self.settle()
            return self._within[-1] if len(self._within) == KEPT else None

    def received(self, made: Descriptor) -> None:
        """One came from another member, and was named. Nothing is forgotten before the log begins behind it."""
        with self._lock:
            self.settle()
            if made.name in [each.name for each in self._within]:
                self._put(made)  # it has taken its place
            else:
                self._unread.discard(made.name)
                rest = [each for each in self._ahead if each.name != made.name]
                self._ahead = sorted([made, *rest], key=lambda each: each.index, reverse=True)

    def settle(self) -> None:
        """Follow the base of the log: remove what is of no use any more."""
        with self._lock:
            base = self._base()
            for each in [each for each in self._ahead if each.index == base]:
                self._put(each)
            newest = max(base, self._within[0].index if self._within else 0)
            passed = [each for each in self._ahead if each.index <= newest]
            if passed:
                self._ahead = [each for each in self._ahead if each not in passed]
                self._drop(passed)
            current = [each for each in self._within if each.index >= base][:KEPT]
            old = [each for each in self._within if each not in current]
            # Without one that reaches the base those before it are all there is.
            if old and current:
                self._within = current
                self._drop(old)

    def _put(self, made: Descriptor) -> None:
        rest = [each for each in self._within if each.name != made.name]
        self._within = sorted([made, *rest], key=lambda each: each.index, reverse=True)
        self._ahead = [each for each in self._ahead if each.name != made.name]

    def _drop(self, old: list[Descriptor]) -> None:
        self._folder.remove([each.name for each in old])

    def _check(self, descriptor: Descriptor) -> int:
        """Whose it is; the index of the newest one within the log, 0 for none."""
        self.settle()
        if descriptor.cluster != self.cluster:
            raise UsageError(f"cluster must be that of the storage, not {descriptor.cluster!r}")
        return self._within[0].index if self._within else 0

    def _is_whole(self, each: Descriptor) -> bool:
        """Whether it is; one that is not is removed. What was made or found whole in this life is."""
        if each.name not in self._unread:
            return True
        whole = False
        try:
            with SnapshotReader(self.directory, each.name) as reader:
                whole = reader.verify() == each
        except SnapshotDamaged as error:
            report(logging.WARNING, "%s: %s; it is removed", self.where, error)
        self._unread.discard(each.name)
        if not whole:
            self._ahead = [other for other in self._ahead if other is not each]
            with contextlib.suppress(StorageError):
                self._drop([each])
        return whole
