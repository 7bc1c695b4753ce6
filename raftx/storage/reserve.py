"""The next segment of the log, made before it is needed: reserved on disk, durable, and filled with zeros.

So that a batch does not wait for that, and so that what is short meanwhile (descriptors, memory, room) may come
back before anybody needs it. Zeros, because a sync of what was only reserved has to change the file's metadata, too.
A segment that is not needed any more becomes a later one: it loses its name, is filled with zeros, and is kept until
one is wanted. When a segment was begun the mark is synced here, too: then those before it may go. The loop runs on a
thread of its own without the GIL; without that thread (a storage that no node uses) the writer makes a segment when it
needs one, syncs the mark, and removes old segments. Nothing but zeros is written into a segment here.
"""

from __future__ import annotations

import errno
import logging
import os

from .._native.files import WAIT, Directory, File
from .._native.threads import Cells, Event, Runner
from ..report import report
from .protocol import (
    MARK_FAILED,
    MARK_NOTHING,
    MARK_SYNCING,
    MARK_WANTED,
    RESERVE_CODE,
    RESERVE_DROP,
    RESERVE_FAILED,
    RESERVE_FILL,
    RESERVE_KEEP,
    RESERVE_MAKING,
    RESERVE_MARK,
    RESERVE_NONE,
    RESERVE_READY,
    RESERVE_STATE,
    RESERVE_STOP,
    RESERVE_TAKEN,
    RESERVE_TROUBLE,
    RESERVE_UNTRIED,
    RESERVE_WANTED,
    ROOM_UNKNOWN,
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
FILL_STEP = 4 << 20  # zeros that are written and synced at a time: so long the writer may have to wait for a segment

# How far a segment is that will be used again
SPARE_NONE = 0  # there is none
SPARE_NAME = 1  # it has lost its name, which is not durable: a power cut could give it back
SPARE_ZERO = 2  # zeros are being written
SPARE_READY = 3


class Reserve(Runner):
    """One segment ahead. Rounds belong to its thread, the rest to the writer."""

    def __init__(self, directory: Directory, segment_bytes: int) -> None:
        self.directory = directory
        self.segment_bytes = segment_bytes
        self.file = directory.new_file()
        #: Invariant: the loop alone, while it has made the state MAKING, and the writer alone, while it has made it
        #: TAKEN, touch ``file``, ``number``, ``size`` and ``filled``
        self.cells = Cells()
        #: the loop sleeps on it
        self.event = Event()
        #: the writer sleeps on it, also while the loop makes a segment; set before anything is wanted
        self.writer = Event()
        self.number = self.size = 0
        #: zeros were written up to here, and synced
        self.filled = 0
        #: the loop's: the segment may still be filled; the zeros it has written are being synced
        self.to_fill = self.fill_syncing = False
        #: the loop's: a file that will be a segment again, and how far it is
        self.spare = directory.new_file()
        self.no_file = directory.new_file()
        #: the writer's mark, which is synced here when a segment was begun; written by the writer alone
        self.mark = self.no_file
        self.spare_step = SPARE_NONE
        self.spare_filled = 0
        self.spare_syncing = False
        #: the loop has made a segment that is not durable yet
        self.syncing = False
        #: the mark is being synced
        self.mark_syncing = False
        #: the first segment that is there, as far as is known; the loop's, or the writer's when there is none
        self.first = 1
        self.said = 0

    def is_shortage(self, code: int) -> bool:
        """Whether ``code`` (-errno) says that something is short which others may give back: no failure of the disk."""
        return -code in (EAGAIN, EINTR, EMFILE, ENFILE, ENOMEM)

    def is_full(self, code: int) -> bool:
        """Whether ``code`` (-errno) says that there is no room: a failure when the room is needed, and not before."""
        return -code in (ENOSPC, EDQUOT, EFBIG)

    def full(self) -> int:
        """0, or the errno for which there was no room when the next segment was to be made. The writer's.

        ROOM_UNKNOWN: nobody has tried, and it will soon be needed.
        """
        if self.cells.get(RESERVE_STATE) == RESERVE_READY:
            return 0
        trouble = self.cells.get(RESERVE_TROUBLE)
        if trouble != 0 and self.is_full(-trouble):
            return trouble
        return ROOM_UNKNOWN if self.cells.get(RESERVE_UNTRIED) else 0

    def begin_serving(self, soon: bool) -> None:
        """A node begins. ``soon``: the next segment will soon be needed. Before the first round."""
        untried = soon and self.cells.get(RESERVE_STATE) != RESERVE_READY
        self.cells.set(RESERVE_UNTRIED, 1 if untried else 0)

    def adopt(self, file: File, number: int, size: int) -> None:
        """Take an unused segment that was there at the start."""
        self.file.take(file)
        self.number = number
        self.size = size
        self.filled = 0
        self.to_fill = True
        self.cells.set(RESERVE_STATE, RESERVE_READY)

    def close(self) -> None:
        """Close the files. The segment stays, and the next start adopts it; a spare one is removed then."""
        self.file.close()
        self.spare.close()

    # --- the writer's ----------------------------------------------------------------------------

    def want(self, number: int) -> int:
        """Ask for segment ``number``, unless it is there, or being made."""
        if self.cells.get(RESERVE_STATE) == RESERVE_NONE:
            self.number = number
            self.cells.set(RESERVE_STATE, RESERVE_WANTED)
            self.event.wake()
        return 0

    def claim(self) -> int:
        """Take it from the loop, until ``hand_over``: READY, or NONE when there is none, which is then to be made.

        FAILED stays so. MAKING: the loop is at it; claim it again when ``writer`` was woken.
        """
        state = self.cells.get(RESERVE_STATE)
        if state in (RESERVE_FAILED, RESERVE_MAKING):
            return state
        if not self.cells.replace(RESERVE_STATE, state, RESERVE_TAKEN):
            return RESERVE_MAKING
        return RESERVE_READY if state == RESERVE_READY else RESERVE_NONE

    def is_making(self) -> bool:
        """Whether the loop is at it."""
        return self.cells.get(RESERVE_STATE) == RESERVE_MAKING

    def create(self, number: int) -> int:
        """Make segment ``number``, of the usual length; ``make_durable`` comes next. 0 or -errno."""
        self.number = number
        self.size = self.filled = 0
        code = self.file.create(self.directory, self.number, self.segment_bytes)
        if code == 0:
            self.size = self.segment_bytes
        return code

    def grow(self, size: int) -> int:
        """Make the claimed segment longer; ``make_durable`` comes next. 0 or -errno."""
        code = self.file.allocate(size)
        if code == 0:
            self.size = size
        return code

    def make_durable(self) -> int:
        """Length and name: 0, -errno, or WAIT: ask again.

        A failure is final: what a second attempt says is worth nothing.
        """
        code = self.file.sync_new(self.directory)
        if code != 0 and code != WAIT:
            self.cells.set(RESERVE_CODE, code)
            self.cells.set(RESERVE_STATE, RESERVE_FAILED)
        return code

    def hand_over(self, to: File) -> int:
        """The writer goes on with it."""
        to.take(self.file)
        self.size = self.filled = 0
        self.cells.set(RESERVE_STATE, RESERVE_NONE)
        return 0

    def fill(self, number: int) -> int:
        """It is time to write zeros into segment ``number``, which will be needed soon."""
        if self.cells.get(RESERVE_FILL) != number:
            self.cells.set(RESERVE_FILL, number)
            self.event.wake()
        return 0

    def begin_at(self, first: int) -> None:
        """The first segment that is there. Before anything else."""
        self.first = first
        self.cells.set(RESERVE_DROP, first)

    def drop(self, below: int) -> int:
        """Tell the loop that nobody needs the segments before ``below`` any more."""
        if self.cells.get(RESERVE_DROP) < below:
            self.cells.set(RESERVE_DROP, below)
            self.event.wake()
        return 0

    def settle(self, keep: int) -> int:
        """Sync the mark, which names a batch of the newest segment; then nobody needs those before ``keep`` any more.

        Not before the one that was asked for last is done.
        """
        self.cells.set(RESERVE_KEEP, keep)
        if self.cells.replace(RESERVE_MARK, MARK_NOTHING, MARK_WANTED):
            self.event.wake()
        return 0

    def take_back(self) -> bool:
        """Whether the mark is to be synced and the loop has not begun: the writer does it then."""
        return self.cells.replace(RESERVE_MARK, MARK_WANTED, MARK_NOTHING)

    def is_settling(self) -> bool:
        """Whether the loop is syncing the mark."""
        return self.cells.get(RESERVE_MARK) == MARK_SYNCING

    def has_lost_mark(self) -> bool:
        """Whether the mark could not be synced."""
        return self.cells.get(RESERVE_MARK) == MARK_FAILED

    def drop_next(self) -> int:
        """Remove one of them; 1 if more of them are there. What cannot be removed is left to the next opening.

        For a writer without the loop.
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
        if self.fill_syncing:
            self.fill_piece()
            return 1
        if self.mark_syncing:
            self.settle_mark()
            return 1
        if self.cells.replace(RESERVE_STATE, RESERVE_WANTED, RESERVE_MAKING):
            code = self.reuse(self.number) if self.spare_step == SPARE_READY else self.create(self.number)
            self.made(self.make_durable() if code == 0 else code)
            return 1
        if self.cells.get(RESERVE_STOP) != 0:
            return 0
        if self.cells.replace(RESERVE_MARK, MARK_WANTED, MARK_SYNCING):
            self.settle_mark()
            return 1
        if self.may_fill() and self.cells.replace(RESERVE_STATE, RESERVE_READY, RESERVE_MAKING):
            self.fill_piece()
            return 1
        self.release_next()
        self.prepare_spare()
        if self.has_news():
            before, self.said = self.said, self.cells.get(RESERVE_TROUBLE)
            self.say(self.said, before)
        return 1

    def rest(self) -> int:
        """Sleep until something is wanted, or new."""
        timeout = self.idle_for()
        if timeout != 0:
            self.event.wait(timeout)
        return 0

    def idle_for(self) -> int:
        """How long it may sleep unless it is woken: nanoseconds, once the sleep is announced; -1: for ever; 0: no."""
        self.event.prepare()
        if self.syncing or self.fill_syncing or self.mark_syncing:
            return ASK_NS
        if self.has_work():
            self.event.cancel()
            return 0
        return ASK_NS if self.spare_syncing else -1

    def has_work(self) -> bool:
        """Whether a round would do something, but for asking whether a sync has finished."""
        return (
            self.cells.get(RESERVE_STATE) == RESERVE_WANTED
            or self.cells.get(RESERVE_STOP) != 0
            or self.cells.get(RESERVE_MARK) == MARK_WANTED
            or self.cells.get(RESERVE_DROP) > self.first
            or self.has_news()
            or (self.may_fill() and self.cells.get(RESERVE_STATE) == RESERVE_READY)
            or (not self.spare_syncing and (self.spare_step == SPARE_NAME or self.spare_step == SPARE_ZERO))
        )

    def has_news(self) -> bool:
        """Whether there is something to say: not that a full disk has another error number now."""
        trouble = self.cells.get(RESERVE_TROUBLE)
        return trouble != self.said and not (self.is_full(-trouble) and self.is_full(-self.said))

    def may_fill(self) -> bool:
        """Whether zeros are to be written into the segment that is there, if it is still there."""
        number = self.cells.get(RESERVE_FILL)
        return self.to_fill and number == self.number

    def settle_mark(self) -> int:
        """Sync the mark, in the state SYNCING, which it ends, but while the disk is at it."""
        keep = self.cells.get(RESERVE_KEEP)
        code = self.mark.datasync()
        self.mark_syncing = code == WAIT
        if self.mark_syncing:
            return 0
        if code == 0:
            self.drop(keep)
            self.cells.set(RESERVE_MARK, MARK_NOTHING)
        else:
            self.cells.set(RESERVE_CODE, code)
            self.cells.set(RESERVE_MARK, MARK_FAILED)
        self.writer.wake()
        return 0

    def fill_piece(self) -> int:
        """Write and sync zeros a piece further. In the state MAKING, which it ends, but while the disk is at it."""
        length = min(FILL_STEP, self.size - self.filled)
        code = 0 if self.fill_syncing else self.file.zero(self.filled, length)
        if code == 0:
            code = self.file.datasync()
        self.fill_syncing = code == WAIT
        if self.fill_syncing:
            return 0
        if code == 0:
            self.filled += length
        self.to_fill = code == 0 and self.filled < self.size
        if code == 0 or self.is_shortage(code) or self.is_full(code):
            # What is not filled is reserved.
            self.cells.set(RESERVE_STATE, RESERVE_READY)
        else:
            self.cells.set(RESERVE_CODE, code)
            self.cells.set(RESERVE_STATE, RESERVE_FAILED)
        self.writer.wake()
        return 0

    def made(self, code: int) -> int:
        """What the writer asked for is there (0), or not (-errno), or not yet (WAIT).

        It asks again later when something was short.
        """
        self.syncing = code == WAIT
        if self.syncing:
            return 0
        self.to_fill = code == 0 and self.filled < self.size
        if code != 0 and self.cells.get(RESERVE_STATE) != RESERVE_FAILED:
            if self.is_shortage(code) or self.is_full(code):
                self.cells.set(RESERVE_TROUBLE, -code)
                self.cells.set(RESERVE_STATE, RESERVE_NONE)
            else:
                self.cells.set(RESERVE_CODE, code)
                self.cells.set(RESERVE_STATE, RESERVE_FAILED)
        elif code == 0:
            self.cells.set(RESERVE_TROUBLE, 0)
            self.cells.set(RESERVE_STATE, RESERVE_READY)
        self.cells.set(RESERVE_UNTRIED, 0)
        self.writer.wake()
        return 0

    # --- segments that are used again ------------------------------------------------------------

    def release_next(self) -> int:
        """One of the segments that nobody needs becomes the spare one, or is removed when there is one."""
        if self.cells.get(RESERVE_DROP) <= self.first:
            return 0
        if self.spare_step != SPARE_NONE or self.spare.set_aside(self.directory, self.first) != 0:
            return self.drop_next()
        self.first += 1
        self.spare_step = SPARE_NAME
        length = self.spare.length()
        if length != self.segment_bytes:
            # A large batch had made it longer.
            self.remove_spare()
        return 0

    def prepare_spare(self) -> int:
        """Bring it a step on. Its bytes stay as they are until it has lost its name for good."""
        if self.spare_step == SPARE_NAME:
            code = self.directory.sync()
            if code == 0:
                self.spare_filled = 0
                self.spare_step = SPARE_ZERO
            else:
                self.spare_done(code)
        elif self.spare_step == SPARE_ZERO:
            length = min(FILL_STEP, self.segment_bytes - self.spare_filled)
            code = 0 if self.spare_syncing else self.spare.zero(self.spare_filled, length)
            if code == 0:
                code = self.spare.datasync()
            self.spare_syncing = code == WAIT
            if code == 0:
                self.spare_filled += length
                if self.spare_filled == self.segment_bytes:
                    self.spare_step = SPARE_READY
            elif code != WAIT:
                self.spare_done(code)
        return 0

    def spare_done(self, code: int) -> int:
        """It will not be a segment again, because of ``code`` (-errno). A failure of the disk ends the log."""
        if not self.is_shortage(code) and not self.is_full(code):
            self.cells.set(RESERVE_CODE, code)
        return self.remove_spare()

    def remove_spare(self) -> int:
        """Remove it. What cannot be removed is left to the next opening."""
        self.directory.remove_spare()
        self.spare.take(self.no_file)
        self.spare_step = SPARE_NONE
        return 0

    def reuse(self, number: int) -> int:
        """The spare segment becomes segment ``number``; ``make_durable`` comes next. 0 or -errno."""
        code = self.spare.use_spare(self.directory, number)
        if code != 0:
            # Where a file cannot have two names, for one.
            self.remove_spare()
            return self.create(number)
        self.number = number
        self.file.take(self.spare)
        self.size = self.filled = self.segment_bytes
        self.spare_step = SPARE_NONE
        return 0

    def say(self, trouble: int, before: int) -> int:
        """Report a shortage and its end. Takes the GIL, which only a new segment can have to wait for."""
        where = os.fsdecode(self.directory.path)
        if trouble and self.is_full(-trouble):
            text = (
                "%s: there is no room for the next segment of the log (%d bytes): this node refuses proposals with "
                "DiskFull and lets others lead until there is; make room on this disk, and it goes on by itself: "
                "[Errno %d] %s"
            )
            report(logging.WARNING, text, where, self.segment_bytes, trouble, os.strerror(trouble))
        elif not trouble and self.is_full(-before):
            report(logging.WARNING, "%s: there is room again, the node takes proposals", where)
        elif trouble:
            text = "%s: the log waits for what is short, acknowledgements may wait with it: [Errno %d] %s"
            report(logging.WARNING, text, where, trouble, os.strerror(trouble))
        else:
            report(logging.WARNING, "%s: the shortage is over, the log goes on", where)
        return 0

    def stop(self) -> None:
        """End the loop, after the segment that it is making."""
        self.cells.set(RESERVE_STOP, 1)
        self.event.wake()

    def py_is_settled(self) -> bool:
        """Whether no sync of the mark is asked for or under way. Any thread."""
        return self.cells.get(RESERVE_MARK) == MARK_NOTHING

    def py_is_full(self, code: int) -> bool:
        """Whether a failure of the log, errno | operation << 32, is that there was no room."""
        return self.is_full(-(code & 0xFFFFFFFF))

    def py_state(self) -> int:
        """One of the states above. Any thread."""
        return self.cells.get(RESERVE_STATE)
