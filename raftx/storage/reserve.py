"""The next segment of the log, made before it is needed: created, reserved on disk and durable.

So that a batch does not wait for that, and so that what is short meanwhile (descriptors, memory, room) may come
back before anybody needs it. The loop runs on a thread of its own without the GIL; without that thread (a storage
that no node uses) the writer makes a segment when it needs one. Nothing is written into a segment here.
"""

from __future__ import annotations

import errno
import logging
import os

from .._native.files import Directory, File
from .._native.threads import Cells, Event, Runner
from .protocol import (
    RESERVE_CODE,
    RESERVE_FAILED,
    RESERVE_MAKING,
    RESERVE_NONE,
    RESERVE_READY,
    RESERVE_STATE,
    RESERVE_STOP,
    RESERVE_TROUBLE,
    RESERVE_WANTED,
)

logger = logging.getLogger("raftx")

EAGAIN = errno.EAGAIN
EDQUOT = errno.EDQUOT
EFBIG = errno.EFBIG
EINTR = errno.EINTR
EMFILE = errno.EMFILE
ENFILE = errno.ENFILE
ENOMEM = errno.ENOMEM
ENOSPC = errno.ENOSPC
WAIT_NS = 100_000_000  # how long a wait for the other thread may take before the cells are looked at again


class Reserve(Runner):
    """One segment ahead. ``loop`` belongs to its thread, the rest to the writer."""

    def __init__(self, directory: Directory, segment_bytes: int) -> None:
        self.directory = directory
        self.segment_bytes = segment_bytes
        self.file = File()
        #: Invariant: whoever has brought the state from WANTED to MAKING alone touches ``file``, ``number`` and
        #: ``size`` until it stores the next one; while it is NONE or READY the writer alone does
        self.cells = Cells()
        #: the loop sleeps on it
        self.event = Event()
        #: the writer sleeps on it while the loop makes a segment
        self.made = Event()
        self.number = self.size = 0
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
        """Take it from the loop: the state afterwards is NONE, READY or FAILED, and stays so."""
        while True:
            state = self.cells.get(RESERVE_STATE)
            if state == RESERVE_WANTED:
                if self.cells.replace(RESERVE_STATE, RESERVE_WANTED, RESERVE_NONE):
                    return RESERVE_NONE
            elif state == RESERVE_MAKING:
                self.made.prepare()
                if self.cells.get(RESERVE_STATE) == RESERVE_MAKING:
                    self.made.wait(WAIT_NS)
                else:
                    self.made.cancel()
            else:
                return state

    def make(self, number: int) -> int:
        """Make segment ``number`` now, after ``claim``: 0, and it is READY, or -errno."""
        self.number = number
        self.size = 0
        code = self.file.create(self.directory, self.number, self.segment_bytes)
        if code != 0:
            return code
        self.size = self.segment_bytes
        return self.make_durable()

    def grow(self, size: int) -> int:
        """Make the READY segment longer; 0 or -errno."""
        code = self.file.allocate(size)
        if code != 0:
            return code
        self.size = size
        return self.make_durable()

    def make_durable(self) -> int:
        """Its length and its name. A failure is final: what a second attempt says is worth nothing."""
        code = self.file.sync_new(self.directory)
        if code != 0:
            self.cells.set(RESERVE_CODE, code)
            self.cells.set(RESERVE_STATE, RESERVE_FAILED)
            return code
        self.cells.set(RESERVE_STATE, RESERVE_READY)
        return 0

    def hand_over(self, to: File) -> int:
        """The writer goes on with it."""
        to.take(self.file)
        self.cells.set(RESERVE_STATE, RESERVE_NONE)
        return 0

    def tell(self, trouble: int) -> int:
        """Something is short (errno), or no longer (0): the loop says so in the log."""
        if self.cells.get(RESERVE_TROUBLE) != trouble:
            self.cells.set(RESERVE_TROUBLE, trouble)
            self.event.wake()
        return 0

    # --- the loop --------------------------------------------------------------------------------

    def round(self) -> int:
        """Make what is wanted, or say what is new. 0 when it is to stop."""
        if self.cells.replace(RESERVE_STATE, RESERVE_WANTED, RESERVE_MAKING):
            self.make_wanted()
            return 1
        if self.cells.get(RESERVE_STOP) != 0:
            return 0
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
            or self.cells.get(RESERVE_TROUBLE) != self.said
        ):
            self.event.cancel()
        else:
            self.event.wait(-1)
        return 0

    def make_wanted(self) -> int:
        """Make what the writer asked for. It asks again later when something was short."""
        code = self.make(self.number)
        if code != 0 and self.cells.get(RESERVE_STATE) != RESERVE_FAILED:
            if self.is_shortage(code) or self.is_full(code):
                self.cells.set(RESERVE_TROUBLE, -code)
                self.cells.set(RESERVE_STATE, RESERVE_NONE)
            else:
                self.cells.set(RESERVE_CODE, code)
                self.cells.set(RESERVE_STATE, RESERVE_FAILED)
        elif code == 0:
            self.cells.set(RESERVE_TROUBLE, 0)
        self.made.wake()
        return 0

    def say(self, trouble: int) -> int:
        """Log a shortage and its end. Takes the GIL: nobody waits for this thread then."""
        where = os.fsdecode(self.directory.path)
        try:
            if trouble:
                logger.warning(
                    "%s: the log waits for what is short, acknowledgements may wait with it: [Errno %d] %s",
                    where,
                    trouble,
                    os.strerror(trouble),
                )
            else:
                logger.warning("%s: the shortage is over, the log goes on", where)
        except BaseException:
            # A handler of the application's: the segments do not depend on it.
            return 0
        return 0

    def stop(self) -> None:
        """End the loop, after the segment that it is making."""
        self.cells.set(RESERVE_STOP, 1)
        self.event.wake()

    def py_state(self) -> int:
        """One of the states above. Any thread."""
        return self.cells.get(RESERVE_STATE)
