"""The snapshot thread: writes what a state machine gave away, while entries go on being applied.

A piece a round, so that whoever drives the rounds decides what goes on beside it. It holds the GIL and may wait for the
disk: nothing else of the node may depend on this thread, and it rests longer than it works. A snapshot that cannot be
written is given up and said; the node goes on with the one before and a longer log.
"""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from .._native.threads import Event
from ..errors import SnapshotFailed, StorageError, UsageError
from ..report import report
from ..storage.in_use import by_node
from ..storage.snapshot_format import Descriptor
from .unfinished import UNFINISHED, refuse_result

PIECE = 128 << 10  # bytes of a state in a round, at most
REST = 3  # times as long as it has worked
WORK_NS = 500_000  # of work before a rest: what is shorter costs more to count than it takes

Ended = Callable[[Descriptor, "BaseException | None"], None]


def pieces_of(state: Any) -> Iterator[Any]:
    """What ``StateMachine.snapshot`` returned, apart from objects with ``write(file)``, in pieces.

    Raises TypeError for what it may not return.
    """
    if isinstance(state, (bytes, bytearray, memoryview)):
        yield from _parts_of(state)
        return
    if callable(getattr(state, "read", None)):
        nothing = True
        # None comes from a file that does not wait for more: no end, and nothing to go on with.
        while len(piece := _checked(state.read(PIECE))):
            nothing = False
            yield piece
        if nothing and (at := _position(state)):
            # An empty snapshot would take the place of the state, on every member, and the log be shortened behind it.
            raise ValueError(
                f"snapshot() returned a file that stands at its end, behind byte {at}, so that nothing of it can be "
                "read: call its seek(0) first"
            )
        return
    # Of a dict there would be the keys alone, and of a set what is in it in some order.
    if isinstance(state, (str, Mapping, Set)) or not hasattr(state, "__iter__"):
        raise TypeError(
            "snapshot() must return bytes, an iterable of bytes in their order, a binary file, or an object with "
            f"write(file), not {type(state).__name__}"
        )
    for piece in state:
        yield from _parts_of(_checked(piece))


def _position(file: Any) -> int:
    """Where a file stands; 0 where it cannot tell."""
    try:
        return int(file.tell())
    except (AttributeError, OSError, ValueError):
        return 0


def _parts_of(piece: Any) -> Iterator[Any]:
    if len(piece) <= PIECE and isinstance(piece, bytes):
        yield piece
        return
    whole = memoryview(piece).cast("B")
    for at in range(0, len(whole), PIECE):
        yield whole[at : at + PIECE]


def _checked(piece: Any) -> Any:
    if not isinstance(piece, (bytes, bytearray, memoryview)):
        raise TypeError(f"snapshot() must return bytes or pieces of bytes, not of {type(piece).__name__}")
    return piece


def in_words(error: BaseException) -> str:
    """What the code of a state machine has raised; of what is no Exception the text alone says too little."""
    return str(error) if isinstance(error, Exception) else f"{type(error).__name__}: {error}"


def writes_itself(state: Any) -> bool:
    """Whether it is an object with ``write(file)``, and no file itself, which has such a method, too."""
    return callable(getattr(state, "write", None)) and not callable(getattr(state, "read", None))


@dataclass(frozen=True)
class Job:
    """A snapshot that is to be written."""

    descriptor: Descriptor
    #: what the state machine gave
    state: Any
    #: makes its file; None: the storage's ``begin_snapshot``
    make: Callable[[Descriptor], Any] | None = None
    #: in place of the Snapshotter's
    ended: Ended | None = None
    #: what the node keeps in it, in front of that state
    own: bytes = b""


class Unhurried(io.BufferedIOBase):
    """The file that goes to an object with ``write(file)``: between two writes it rests, or gives up at a stop.

    A binary file for whatever writes to one, as zipfile.ZipFile and io.TextIOWrapper do. Closing it ends nothing.
    """

    def __init__(self, snapshotter: Snapshotter, writer: Any) -> None:
        self._snapshotter = snapshotter
        self._writer = writer

    def writable(self) -> bool:
        """It can be written to, and nothing else."""
        return True

    def write(self, data: Any, /) -> int:
        """Append bytes to the state: all of them. Raises StorageFailed; SnapshotFailed when the node is stopped."""
        done: int = self._writer.write(data)
        self._snapshotter.wrote(done)
        return done


class Snapshotter:
    """Writes one snapshot at a time, to ``storage``, which has ``begin_snapshot``, or elsewhere.

    ended: called on this thread with what was made and None, or with what was to be made and why it was not.
    """

    def __init__(
        self, id: int, storage: Any, ended: Ended = lambda _made, _error: None, event: Event | None = None
    ) -> None:
        self.id = id
        self.storage = storage
        self.ended = ended
        self.event = Event() if event is None else event
        #: what is to be written; set on the apply thread while it is None, and to None on this one
        self._job: Job | None = None
        self._stop = False
        #: called when another one may be begun, after ``ended``. On this thread
        self.idle: Callable[[], object] = lambda: None
        #: whether another member's snapshot has come that holds as much as one of this entry
        self.overtaken: Callable[[int], bool] = lambda _index: False
        #: whether a thread runs it, which may sleep; which one, and its processor time at the end of the last rest
        self._sleeps = False
        self._thread = self._rested = 0
        self._writer: Any = None
        self._pieces: Iterator[Any] | None = None
        #: bytes of the one that is being written, for ``status``
        self.written = 0
        #: how many were made, and given up
        self.made = self.failed = 0

    def is_busy(self) -> bool:
        """Whether one is being written. Any thread."""
        return self._job is not None

    def begin(
        self,
        descriptor: Descriptor,
        state: Any,
        make: Callable[[Descriptor], Any] | None = None,
        ended: Ended | None = None,
        own: bytes = b"",
    ) -> None:
        """Write this next; make, ended, own: as in Job. The apply thread. Raises UsageError while one is written."""
        if self._job is not None:
            raise UsageError("a snapshot is being written already")
        self._job = Job(descriptor, state, make, ended, own)
        self.event.py_wake()

    def stop(self) -> None:
        """Give up what is being written, and end. Any thread."""
        self._stop = True
        self.event.py_wake()

    def run(self) -> None:
        """Rounds, until ``stop``."""
        self._sleeps = True
        while self.round():
            self.rest()
            if self.idle_for():
                self.event.py_wait(-1)

    def round(self) -> bool:
        """A piece of what is to be written; False when nothing follows."""
        job = self._job
        if self._stop:
            if job is not None:
                self._end(job, job.descriptor, SnapshotFailed("the node was stopped"))
            return False
        if job is not None:
            try:
                made = self._step(job)
            except BaseException as error:  # the state machine's code, too
                self._give_up(job, error)
            else:
                if made is not None:
                    self.made += job.make is None
                    self._writer = None
                    self._end(job, made, None)
        return True

    def rest(self) -> None:
        """In the middle of a snapshot, a rest that follows each bit of work. On the thread that works.

        With a core of its own for all the time it takes, the slowest proposals beside it took six times as long as
        those without it; with a quarter of one, about twice. What it waits for, a disk say, is no work.
        """
        self._sleeps = True
        if self._job is not None:
            self._pause()

    def idle_for(self) -> int:
        """-1 when there is nothing to write, once the sleep is announced; 0 in the middle of a snapshot."""
        self.event.py_prepare()
        if self._job is not None or self._stop:
            self.event.py_cancel()
            return 0
        return -1

    def _pause(self) -> None:
        if self._thread != threading.get_ident():
            # Another one than before: it has not worked at this yet.
            self._thread, self._rested = threading.get_ident(), time.thread_time_ns()
        worked = time.thread_time_ns() - self._rested
        if worked < WORK_NS:
            return
        self.event.py_prepare()
        if self._stop:
            self.event.py_cancel()
        else:
            self.event.py_wait(int(REST * worked))
        self._rested = time.thread_time_ns()

    def wrote(self, count: int) -> None:
        """An object that writes itself has written so many bytes. Raises SnapshotFailed when the node is stopped."""
        self.written += count
        if self._stop:
            raise SnapshotFailed("the node was stopped")
        if self._sleeps:
            self._pause()

    def _step(self, job: Job) -> Descriptor | None:
        """The next piece. What was made, when that was the last one."""
        if self._writer is None:
            self._writer = by_node(job.make or self.storage.begin_snapshot, job.descriptor)
            if job.own:
                self._writer.write(job.own)
            if writes_itself(job.state):
                written = job.state.write(Unhurried(self, self._writer))
                if type(written) in UNFINISHED:
                    refuse_result("write(file) of what snapshot() has returned", written)
                self._pieces = iter(())
            else:
                self._pieces = pieces_of(job.state)
            return None
        assert self._pieces is not None
        piece = next(self._pieces, None)
        if piece is None:
            made: Descriptor = self._writer.finish()
            return made
        self._writer.write(piece)
        self.written += len(piece)
        return None

    def _give_up(self, job: Job, error: BaseException) -> None:
        backup = job.make is not None
        if not backup and self.overtaken(job.descriptor.index):
            report(
                logging.INFO,
                "node %d: the snapshot of entry %d is not needed: a later one has come from another member",
                *(self.id, job.descriptor.index),
            )
            self._end(job, job.descriptor, SnapshotFailed("a later one has come from another member"))
            return
        self.failed += not backup
        what, index = "backup" if backup else "snapshot", job.descriptor.index
        why = in_words(error)
        failed = SnapshotFailed(f"the {what} of entry {index} could not be written: {why}")
        failed.__cause__ = error
        level = logging.WARNING if isinstance(error, StorageError) else logging.ERROR
        stays = "" if backup else "; the log stays as long as it is until one is written"
        report(
            level,
            "node %d: the %s of entry %d was given up: %s%s",
            *(self.id, what, index, why, stays),
            error=None if isinstance(error, StorageError) else error,
        )
        self._end(job, job.descriptor, failed)

    def _end(self, job: Job, descriptor: Descriptor, error: BaseException | None) -> None:
        writer, self._writer = self._writer, None
        self._pieces = None
        if writer is not None:
            writer.discard()
        self.written = 0
        # Whoever finds that there is no job finds this told, too: it may begin another one at once.
        (job.ended or self.ended)(descriptor, error)
        self._job = None
        self.idle()
