"""When a state machine is asked for a snapshot, what becomes of it, and how it gets one back. On the apply thread.

It never waits for the disk but when the node starts, for the snapshot that the state machine is to have first.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._native.outbox import snapshot_record
from ..config import Config
from ..errors import Busy, StorageError, UsageError, WalDamaged
from ..report import report
from ..storage import snapshot_format
from ..storage.protocol import keeps_snapshots
from ..storage.snapshot_copy import BackupWriter
from ..storage.snapshot_format import Descriptor
from ..storage.snapshot_store import REMEDY
from ..storage.snapshots import check_unpackable
from ..types import NUMBER_MAX, Snapshot
from .channels import CommandQueue
from .contracts import version_of
from .machines import said_by
from .outcomes import Outcomes
from .snapshots import Snapshotter, in_words
from .status import SnapshotStatus
from .unfinished import UNFINISHED, refuse_result

ASKED_MAX = 1000  # snapshots and backups that may wait for their turn
NOTHING_YET = "nothing is applied yet, or the term of the last entry that is applied is not known yet: ask again"

#: (index, term, version of the state machine) to what is known of a snapshot before it is written
Describe = Callable[[int, int, int], Descriptor]


def applied_by(machine: Any) -> int:
    """The entry up to which it has everything in durable state of its own; 0 where it has none."""
    index = said_by(machine, "applied_index", StorageError)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index <= NUMBER_MAX:
        raise StorageError(f"state_machine.applied_index must be an integer in 0..2^63-1, not {index!r}")
    return index


def check_machine(
    machine: Any, snapshot: Snapshot | None, base_index: int, last_index: int, rebuilt: bool
) -> Descriptor | None:
    """What the newest snapshot of a storage is. Raises StorageError where the state machine cannot begin with it.

    rebuilt: the log was lost once, so that the state machine may have more than it.
    """
    held = applied_by(machine)
    if held > last_index and not rebuilt:
        # What is applied was durable here before.
        raise StorageError(
            f"state_machine.applied_index is {held}, and the log ends with entry {last_index}: its state is of another "
            "log, and what is proposed next would not be applied to it. Begin with an empty state, or with the state "
            "that belongs to this log"
        )
    if snapshot is None:
        if base_index and held < base_index and hasattr(machine, "applied_index"):
            raise StorageError(
                f"the log begins behind entry {base_index}, and the state machine has what was applied up to {held}: "
                "what is between them is lost; put a backup of the state machine in place"
            )
        return None
    found = snapshot_format.decode(snapshot.data)
    check_restore(machine, found)
    return found


def check_reached(machine: Any, storage: Any, snapshot: Snapshot | None, base_index: int) -> None:
    """Raise WalDamaged where the log begins behind an entry, and the state up to there is nowhere."""
    restores = callable(getattr(machine, "restore", None)) and not hasattr(machine, "applied_index")
    if not base_index or snapshot is not None or not restores or not keeps_snapshots(storage):
        return
    where = getattr(storage, "path", None) or "the storage"
    raise WalDamaged(
        f"{where}: the log begins behind entry {base_index}, and no snapshot reaches so far: the state machine would "
        f"lack what was applied up to there: {REMEDY}. One that keeps its state itself says so with an applied_index"
    )


def check_restore(machine: Any, found: Descriptor) -> None:
    """Raise StorageError for a snapshot that a state machine needs and cannot take, or nobody can read here."""
    check_unpackable(found, f"the snapshot of entry {found.index}")
    if applied_by(machine) >= found.index:
        return
    if not callable(getattr(machine, "restore", None)):
        raise StorageError(
            f"there is a snapshot of entry {found.index}: state_machine must have a method restore(reader)"
        )
    if found.version > version_of(machine):
        raise StorageError(
            f"the snapshot of entry {found.index} was made by version {found.version} of the state machine, and this "
            f"one is version {version_of(machine)}: use the newer one"
        )


@dataclass(frozen=True)
class Backup:
    """A snapshot that somebody wants to have in a file elsewhere: the number of the request, and which file."""

    request: int
    path: Path
    overwrite: bool


class Keeper:
    """Snapshots of one node, from the side of the state machine. ``writer`` is None where storage or machine cannot.

    wake: lets the apply thread have a round. backup_writer: what writes backups, which need no storage: ``writer``,
    where there is one; None where the machine cannot. held_term: of the entry up to which the machine has everything in
    durable state of its own; 0 where that is not known.
    """

    def __init__(
        self,
        config: Config,
        machine: Any,
        writer: Snapshotter | None,
        newest: Descriptor | None,
        describe: Describe,
        commands: CommandQueue,
        outcomes: Outcomes,
        wake: Callable[[], object],
        backup_writer: Snapshotter | None = None,
        held_term: int = 0,
    ) -> None:
        self.config = config
        self.machine = machine
        self.writer = writer
        self.backup_writer = writer if writer is not None else backup_writer
        self.held_term = held_term
        self.describe = describe
        self.commands = commands
        self.outcomes = outcomes
        self.wake = wake
        #: the newest snapshot, for any thread
        self.newest = newest
        #: numbers of requests for one that have not been looked at, and that the one under way is for
        self.asked: collections.deque[int] = collections.deque()
        self.served: list[int] = []
        #: what the writer has brought: what was to be made, and why it was not
        self.ended: collections.deque[tuple[Descriptor, BaseException | None]] = collections.deque()
        #: backups that were asked for, and how those have ended that nobody was told of
        self.backups: collections.deque[Backup] = collections.deque()
        self.backups_ended: collections.deque[tuple[Backup, Descriptor, BaseException | None]] = collections.deque()
        self.warned = False
        #: what people hear of snapshots
        self.chronicle: Any = None
        #: what the newest snapshot has of the node's own state, once ``restore`` has looked
        self.own = b""
        #: gives it as it is now. On the apply thread
        self.own_state: Callable[[], bytes] = bytes
        #: the entry of the newest snapshot, when its file turned out to be damaged while others need it; 0: it is whole
        self.spoiled = 0

    # --- any thread ----------------------------------------------------------------------------------

    def status(self) -> SnapshotStatus:
        """For Node.status."""
        newest, writer = self.newest, self.writer
        return SnapshotStatus(
            index=newest.index if newest is not None else 0,
            term=newest.term if newest is not None else 0,
            size=newest.size if newest is not None else 0,
            version=newest.version if newest is not None else 0,
            made=writer.made if writer is not None else 0,
            failed=writer.failed if writer is not None else 0,
            writing=writer.written if writer is not None and writer.is_busy() else None,
        )

    def covered(self) -> int | None:
        """The last entry in the newest snapshot, 0 without one; None where there are none to begin with."""
        if self.writer is None:
            return None
        newest = self.newest
        return newest.index if newest is not None else 0

    def ask(self, request: int) -> None:
        """Somebody wants a snapshot of what is applied now."""
        if self._takes(request):
            self.asked.append(request)
            self.wake()

    def back_up(self, backup: Backup) -> None:
        """Somebody wants a backup of what is applied now."""
        if self._takes(backup.request):
            self.backups.append(backup)
            self.wake()

    def _takes(self, request: int) -> bool:
        if len(self.asked) + len(self.backups) < ASKED_MAX:
            return True
        self.outcomes.reject(request, f"{ASKED_MAX} snapshots and backups wait already", Busy)
        return False

    def spoil(self, index: int) -> None:
        """The file of a snapshot that others need cannot be read: another one is due, of a later entry."""
        if self.newest is not None and self.newest.index == index:
            self.spoiled = index
            self.wake()

    def is_spoiled(self, index: int) -> bool:
        """Whether the newest snapshot is not what it was, and one of this entry could take its place."""
        return self.spoiled != 0 and self.writer is not None and index > self.spoiled

    def take_ended(self, descriptor: Descriptor, error: BaseException | None) -> None:
        """A snapshot was made, or was not. On the writer's thread."""
        self.ended.append((descriptor, error))
        self.wake()

    def has_work(self) -> bool:
        """Whether ``round`` has something to do now."""
        return bool(self.ended or self.backups_ended) or (bool(self.asked or self.backups) and not self._is_busy())

    # --- the apply thread ------------------------------------------------------------------------------

    def restore(self, open_snapshot: Callable[[], Any]) -> tuple[int, int]:
        """Give the state machine the newest snapshot, unless it has as much: (index, term) of what it begins with.

        The term is 0 where it is not known: that of the snapshot is of another entry.
        """
        newest = self.newest
        held = applied_by(self.machine)
        if newest is None:
            return held, self.held_term
        with open_snapshot() as reader:
            # Whatever the state machine has: this is not in it.
            self.own = reader.node_state()
            if held > newest.index:
                return held, self.held_term
            if held == newest.index:
                return held, newest.term
            restored = self.machine.restore(reader)
            if type(restored) in UNFINISHED:
                refuse_result("restore(reader)", restored)
            try:
                # What it did not read has to be whole as well: it may have stopped where the damage begins.
                reader.verify()
            except UsageError:  # it has closed what it has read, as one does with a file
                with open_snapshot() as again:
                    again.verify()
        self._tell_people("snapshot_restored", "the state machine has", newest)
        return newest.index, newest.term

    def take_over(self, open_snapshot: Callable[[], Any], index: int) -> tuple[int, int]:
        """The same with a snapshot of entry ``index``, which has just arrived.

        Raises StorageError where the machine cannot take it, or the storage has none that reaches so far.
        """
        with open_snapshot() as reader:
            descriptor: Descriptor = reader.descriptor
        if descriptor.index < index:
            raise StorageError(
                f"the log begins behind entry {index}, and the newest snapshot is of entry {descriptor.index}"
            )
        check_restore(self.machine, descriptor)
        self.newest, self.held_term = descriptor, 0
        self._tell_people("snapshot_received", "has received", descriptor)
        return self.restore(open_snapshot)

    def bounds(self, index: int, size: int) -> tuple[int, int]:
        """At which index, or which number of bytes, the next snapshot is due, if the last one was at these."""
        config = self.config
        if self.writer is None:
            # Said once, when the log is as long as it should ever be.
            return NUMBER_MAX, size + config.max_log_bytes if not self.warned else NUMBER_MAX
        entries = index + config.snapshot_entries if config.snapshot_entries else NUMBER_MAX
        return entries, size + config.snapshot_bytes if config.snapshot_bytes else NUMBER_MAX

    def round(self, index: int, term: int) -> bool:
        """Take what the writer has brought, and begin what was asked for; whether a snapshot was begun."""
        while self.ended:
            descriptor, error = self.ended[0]
            if error is None and not self._tell(descriptor):
                break  # the engine is to hear of it first; the next round tries again
            self.ended.popleft()
            served, self.served = self.served, []
            for request in served:
                if error is None or self.is_overtaken(descriptor.index):
                    # By one that has come from another member meanwhile.
                    self.outcomes.settle(request, self.newest)
                else:
                    self.outcomes.reject(request, str(error))
        while self.backups_ended:
            backup, descriptor, error = self.backups_ended.popleft()
            if error is None:
                self.outcomes.settle(backup.request, descriptor)
            else:
                self.outcomes.reject(backup.request, str(error))
        begun = bool(self.asked) and not self._is_busy() and self.serve(index, term)
        if self.backups and not self._is_busy():
            self.begin_backup(self.backups.popleft(), index, term)
        self.outcomes.wake_all()
        return begun

    def serve(self, index: int, term: int) -> bool:
        """Begin the snapshot that was asked for, unless there is one of this entry; whether it was begun."""
        requests = [self.asked.popleft() for _ in range(len(self.asked))]
        begun = False
        newest = self.newest
        if self.writer is None:
            self._reject(requests, "the state machine has no snapshot(), or the storage cannot keep one")
        elif index == 0 or term == 0:
            self._reject(requests, NOTHING_YET)
        elif newest is not None and newest.index >= index:
            for request in requests:
                self.outcomes.settle(request, newest)
        else:
            self.served = requests
            begun = self.begin(index, term)
        return begun

    def begin_backup(self, backup: Backup, index: int, term: int) -> None:
        """Ask the state machine for its state, and have it written into that file."""
        writer, request = self.backup_writer, backup.request
        if writer is None:
            self._reject([request], "the state machine has no snapshot()")
            return
        if index == 0 or term == 0:
            self._reject([request], NOTHING_YET)
            return
        try:
            own, state = self.own_state(), self.machine.snapshot()
            writer.begin(
                self.described(index, term, own),
                state,
                lambda descriptor: BackupWriter(backup.path, descriptor, backup.overwrite),
                lambda descriptor, error: self._backup_ended(backup, descriptor, error),
                own,
            )
        except BaseException as error:  # the state machine's code: an exit is no more than another way to give none
            report(
                logging.ERROR,
                "node %d: the state machine gave no snapshot of entry %d for a backup: %s",
                *(self.config.id, index, in_words(error)),
                error=error,
            )
            self._reject([request], f"the state machine gave no snapshot: {in_words(error)}")

    def _backup_ended(self, backup: Backup, descriptor: Descriptor, error: BaseException | None) -> None:
        """On the writer's thread."""
        self.backups_ended.append((backup, descriptor, error))
        self.wake()

    def begin(self, index: int, term: int) -> bool:
        """Ask the state machine for its state, which is that of entry ``index``; False when it gives none."""
        assert self.writer is not None
        try:
            own, state = self.own_state(), self.machine.snapshot()
            self.writer.begin(self.described(index, term, own), state, own=own)
        except BaseException as error:  # the state machine's code
            report(
                logging.ERROR,
                "node %d: the state machine gave no snapshot of entry %d: %s; the log stays as long as it is",
                *(self.config.id, index, in_words(error)),
                error=error,
            )
            served, self.served = self.served, []
            self._reject(served, f"the state machine gave no snapshot: {in_words(error)}")
            return False
        return True

    def described(self, index: int, term: int, own: bytes) -> Descriptor:
        """What is known of a snapshot before it is written."""
        found = self.describe(index, term, version_of(self.machine))
        return dataclasses.replace(found, node_size=len(own))

    def due(self, index: int, term: int) -> bool:
        """A snapshot is due by the policy. False when it has to wait for another one: it is due still."""
        if self._is_busy():
            return False
        if self.writer is None:
            self.warned = True
            report(
                logging.WARNING,
                "node %d: its log has more than max_log_bytes=%d since it began, and stays in memory and on disk: give "
                "the state machine snapshot() and restore(), or say with node.compact(index) what is not needed",
                *(self.config.id, self.config.max_log_bytes),
            )
            return True
        self.spoiled = 0  # if this comes to nothing, whoever needs it will ask again
        if not self.is_overtaken(index):
            self.begin(index, term)
        return True

    def is_overtaken(self, index: int) -> bool:
        """Whether there is a snapshot that holds as much. Any thread."""
        newest = self.newest
        return newest is not None and newest.index >= index

    def _is_busy(self) -> bool:
        return (self.backup_writer is not None and self.backup_writer.is_busy()) or bool(self.ended)

    def _tell(self, descriptor: Descriptor) -> bool:
        if self.is_overtaken(descriptor.index):
            return True
        record = snapshot_record(descriptor.snapshot())
        if not self.commands.snapshot(record, descriptor.index, descriptor.term):
            return False
        self.newest = descriptor
        self._tell_people("snapshot_made", "has made", descriptor)
        return True

    def _tell_people(self, event: str, text: str, descriptor: Descriptor) -> None:
        if self.chronicle is not None:
            self.chronicle.snapshot(event, text, descriptor)

    def _reject(self, requests: list[int], reason: str) -> None:
        for request in requests:
            self.outcomes.reject(request, reason)
