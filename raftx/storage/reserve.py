"""The next segment of the log, made before it is needed: created, reserved on disk and durable; and old ones removed.

So that a batch does not wait for that, and so that what is short meanwhile (descriptors, memory, room) may come
back before anybody needs it. The loop runs on a thread of its own without the GIL; without that thread (a storage
that no node uses) the writer makes a segment when it needs one. Nothing is written into a segment here.
"""

from __future__ import annotations

import errno
import logging
import os

from .._native.files import WAIT, Directory, File
from .._native.threads import Cells, Event, Runner
from ..report import report
from .protocol import (
    RESERVE_CODE,
    RESERVE_DROP,
    RESERVE_FAILED,
    RESERVE_MAKING,
    RESERVE_NONE,
    RESERVE_READY,
    RESERVE_STATE,
    RESERVE_STOP,
    RESERVE_TROUBLE,
    RESERVE_WANTED,
)

EAGAIN = errno.EAGAIN
EDQUOT = errno.EDQUOT
EFBIG = errno.EFBIG
EINTR = errno.EINTR
EMFILE = errno.EMFILE
ENFILE = errno.ENFILE
ENOMEM = errno.ENOMEM
ENOSPC = errno.ENOSPC
ASK_NS = 1_000_000  # before a disk is asked again whether it has finished


class Reserve(Runner):
    """One segment ahead. Rounds belong to its thread, the rest to the writer."""

    def __init__(self, directory: Directory, segment_bytes: int) -> None:
        self.directory = directory
        self.segment_bytes = segment_bytes
        self.file = directory.new_file()
        #: Invariant: whoever has brought the state from WANTED to MAKING alone touches ``file``, ``number`` and
        #: ``size`` until it stores the next one; while it is NONE or READY the writer alone does
        self.cells = Cells()
        #: the loop sleeps on it
        self.event = Event()
        #: the writer sleeps on it, also while the loop makes a segment; set before anything is wanted
        self.writer = Event()
        self.number = self.size = 0
        #: the loop has made a segment that is not durable yet
        self.syncing = False
        #: the first segment that is there, as far as is known; the loop's, or the writer's when there is none
        self.first = 1
        self.said = 0

    def is_shortage(self, code: int) -> bool:
        """Whether ``code`` (-errno) says that something is short which others may give back: no failure of the disk."""
        return -code in (EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM)

    def is_full(self, code: int) -> bool:
        """Whether ``code`` (-errno) says that there is no room: a failure when the room is needed, and not before."""
        return -code in (ENOSPC, EDQUOT, EFBIG)

    def adopt(self, file: File, number: int, size: int) -> None:
        """Take an unused segment that was there at the start."""
        self.file.take(file)
        self.number = number
        self.size = size
        self.cells.set(RESERVE_STATE, RESERVE_READY)

    def close(self) -> None:
        """Close the file. The segment stays: the next start adopts it."""
        self.file.close()

    # --- the writer's ----------------------------------------------------------------------------

    def want(self, number: int) -> int:
        """Ask for segment ``number``, unless it is there, or being made."""
        if self.cells.get(RESERVE_STATE) == RESERVE_NONE:
            self.number = number
            self.cells.set(RESERVE_STATE, RESERVE_WANTED)
            self.event.wake()
        return 0

    def claim(self) -> int:
        """Take it from the loop: the state afterwards, which stays so: NONE, READY or FAILED.

        MAKING: the loop is at it; claim it again when ``writer`` was woken.
        """
        if self.cells.get(RESERVE_STATE) == RESERVE_WANTED:
            if self.cells.replace(RESERVE_STATE, RESERVE_WANTED, RESERVE_NONE):
                return RESERVE_NONE
        return self.cells.get(RESERVE_STATE)

    def is_making(self) -> bool:
        """Whether the loop is at it."""
        return self.cells.get(RESERVE_STATE) == RESERVE_MAKING

    def create(self, number: int) -> int:
        """Make segment ``number``, of the usual length; ``make_durable`` comes next. 0 or -errno."""
        self.number = number
        self.size = 0
        code = self.file.create(self.directory, self.number, self.segment_bytes)
        if code == 0:
            self.size = self.segment_bytes
        return code

    def grow(self, size: int) -> int:
        """Make the READY segment longer; ``make_durable`` comes next. 0 or -errno."""
        code = self.file.allocate(size)
        if code == 0:
            self.size = size
        return code

    def make_durable(self) -> int:
        """Length and name: 0 and it is READY, -errno, or WAIT: ask again.

        A failure is final: what a second attempt says is worth nothing.
        """
        code = self.file.sync_new(self.directory)
        if code == 0:
            self.cells.set(RESERVE_STATE, RESERVE_READY)
        elif code != WAIT:
            self.cells.set(RESERVE_CODE, code)
            self.cells.set(RESERVE_STATE, RESERVE_FAILED)
        return code

    def hand_over(self, to: File) -> int:
        """The writer goes on with it."""
        to.take(self.file)
        self.cells.set(RESERVE_STATE, RESERVE_NONE)
        return 0

    def begin_at(self, first: int) -> None:
        """The first segment that is there. Before anything else."""
        self.first = first
        self.cells.set(RESERVE_DROP, first)

    def drop(self, below: int) -> int:
        """Ask the loop to remove the segments before ``below``, which nobody needs any more."""
        if self.cells.get(RESERVE_DROP) < below:
            self.cells.set(RESERVE_DROP, below)
            self.event.wake()
        return 0

    def drop_next(self) -> int:
        """Remove one of them; 1 if more of them are there. What cannot be removed is left to the next opening.

        For the loop, or for the writer when there is none.
        """
        below = self.cells.get(RESERVE_DROP)
        if self.first < below:
            self.directory.remove_segment(self.first)
            self.first += 1
        return 1 if self.first < below else 0

    def tell(self, trouble: int) -> int:
        """Something is short (errno), or no longer (0): the loop says so in the log."""
        if self.cells.get(RESERVE_TROUBLE) != trouble:
            self.cells.set(RESERVE_TROUBLE, trouble)
            self.event.wake()
        return 0

    # --- the loop --------------------------------------------------------------------------------

    def round(self) -> int:
        """Make what is wanted, or say what is new. 0 when it is to stop."""
        if self.syncing:
            self.made(self.make_durable())
            return 1
        if self.cells.replace(RESERVE_STATE, RESERVE_WANTED, RESERVE_MAKING):
            code = self.create(self.number)
            self.made(self.make_durable() if code == 0 else code)
            return 1
        if self.cells.get(RESERVE_STOP) != 0:
            return 0
        self.drop_next()
        if self.cells.get(RESERVE_TROUBLE) != self.said:
            self.said = self.cells.get(RESERVE_TROUBLE)
            self.say(self.said)
        return 1

    def rest(self) -> int:
        """Sleep until something is wanted, or new."""
        self.event.prepare()
        if (
            self.cells.get(RESERVE_STATE) == RESERVE_WANTED
            or self.cells.get(RESERVE_STOP) != 0
            or self.cells.get(RESERVE_DROP) > self.first
            or self.cells.get(RESERVE_TROUBLE) != self.said
        ):
            self.event.cancel()
        else:
            self.event.wait(ASK_NS if self.syncing else -1)
        return 0

    def made(self, code: int) -> int:
        """What the writer asked for is there (0), or not (-errno), or not yet (WAIT).

        It asks again later when something was short.
        """
        self.syncing = code == WAIT
        if self.syncing:
            return 0
        if code != 0 and self.cells.get(RESERVE_STATE) != RESERVE_FAILED:
            if self.is_shortage(code) or self.is_full(code):
                self.cells.set(RESERVE_TROUBLE, -code)
                self.cells.set(RESERVE_STATE, RESERVE_NONE)
            else:
                self.cells.set(RESERVE_CODE, code)
                self.cells.set(RESERVE_STATE, RESERVE_FAILED)
        elif code == 0:
            self.cells.set(RESERVE_TROUBLE, 0)
        self.writer.wake()
        return 0

    def say(self, trouble: int) -> int:
        """Report a shortage and its end. Takes the GIL, which only a new segment can have to wait for."""
        where = os.fsdecode(self.directory.path)
        if trouble:
            text = "%s: the log waits for what is short, acknowledgements may wait with it: [Errno %d] %s"
            report(logging.WARNING, text, where, trouble, os.strerror(trouble))
        else:
            report(logging.WARNING, "%s: the shortage is over, the log goes on", where)
        return 0

    def stop(self) -> None:
        """End the loop, after the segment that it is making."""
        self.cells.set(RESERVE_STOP, 1)
        self.event.wake()

    def py_state(self) -> int:
        """One of the states above. Any thread."""
        return self.cells.get(RESERVE_STATE)
