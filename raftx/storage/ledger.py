"""What a member remembers of lives, as it is written: rows by member, one slot of the file after the other.

A directory that was wiped, copied or set back does not know what its member promised. It cannot tell so itself; but
who met its successor remembers that (docs/guarantees.md). Two slots are written in turn, in place, so that a full disk
keeps nobody from remembering; the newer one that is whole counts. Each change goes into both, the second time once the
first is durable, so that damage to one of them takes nothing. Every byte is described in docs/wal-format.md. Reads, and
whoever asks for it, are in lives.py. Nothing here needs the GIL.
"""

from __future__ import annotations

import errno
from array import array

from .._native.files import WAIT, File
from .._native.memory import Buffer
from .wal_format import (
    COUNT_SHIFT,
    EARLIER,
    LATER,
    LIVES_MAGIC,
    LIVES_VERSION,
    MET_MAX,
    OTHER_STORE,
    REMOVED,
    SLOT_BYTES,
    SLOT_CHECKED_FROM,
    SLOT_HEADER,
    SLOT_ROW,
    SLOTS,
    TWIN,
)

MAGIC = int.from_bytes(LIVES_MAGIC, "little")
MAGIC_AT = 0
VERSION_AT = 8
CRC_AT = 12
COUNT_AT = 24
LOST_AT = 32
ROWS_AT = 40
STORE_AT = 48
EAGAIN = errno.EAGAIN
EBADF = errno.EBADF
EDQUOT = errno.EDQUOT
EINTR = errno.EINTR
EMFILE = errno.EMFILE
ENFILE = errno.ENFILE
ENOMEM = errno.ENOMEM
ENOSPC = errno.ENOSPC


class Ledger:
    """Whom a member has met, in which life and on which store; how often it has lived itself. One thread at a time.

    file: where it is written, one of a directory; None: nowhere.
    """

    def __init__(
        self, file: File | None, word0: int, word1: int, number: int = 0, count: int = 0, lost: int = 0
    ) -> None:
        self.file = file
        #: the name of the member's own store, in two words
        self.word0, self.word1 = word0, word1
        #: which write was the last one that is durable; how often the member has lived; a life of it that others have
        #: met, and that began elsewhere, 0: there is none. Invariant: the slot of that write is whole
        self.number, self.count, self.lost = number, count, lost
        #: the write that is to be synced
        self.written = number
        #: the rows, the one that was learned last at the end
        self.rows = 0
        self.ids = array("Q", bytes(8 * MET_MAX))
        self.lives = array("Q", bytes(8 * MET_MAX))
        self.stores0 = array("Q", bytes(8 * MET_MAX))
        self.stores1 = array("Q", bytes(8 * MET_MAX))
        #: the entry that added the member whose life it is; 0 for one of the first members
        self.joined = array("Q", bytes(8 * MET_MAX))
        self.slot = Buffer()

    def find(self, id: int) -> int:
        """The row of a member; -1 for none."""
        for row in range(self.rows):
            if self.ids[row] == id:
                return row
        return -1

    def knows(self, id: int, life: int, word0: int, word1: int, joined: int) -> bool:
        """Whether this is what was learned last of that member."""
        return self.holds(id, word0, word1, joined) and self.lives[self.find(id)] == life

    def holds(self, id: int, word0: int, word1: int, joined: int) -> bool:
        """Whether the member that this entry has added was met on that store."""
        row = self.find(id)
        if row < 0 or self.joined[row] != joined:
            return False
        return self.stores0[row] == word0 and self.stores1[row] == word1

    def refusal(self, id: int, life: int, word0: int, word1: int, rebuilt: bool, joined: int) -> int:
        """Why a member cannot be in the life that it says, on that store; 0 when it can be.

        joined: the entry that added it. What was met of a member that had this id before, and was removed, says only
        that this store is not to come back.
        """
        row = self.find(id)
        if row < 0 or self.knows(id, life, word0, word1, joined):
            return 0
        if self.joined[row] > joined:
            return LATER
        if self.joined[row] < joined:
            return REMOVED if self.stores0[row] == word0 and self.stores1[row] == word1 else 0
        lives, before = life >> COUNT_SHIFT, self.lives[row] >> COUNT_SHIFT
        if self.stores0[row] != word0 or self.stores1[row] != word1:
            # One that was rebuilt knows that it has forgotten, and begins in doubt.
            return 0 if rebuilt and lives > before else OTHER_STORE
        if lives == before:
            return TWIN
        return 0 if lives > before else EARLIER

    def was(self, id: int, word0: int, word1: int, applied: int) -> bool:
        """Whether who says this was a member, on that store, as of that entry: if it is none now, it was removed."""
        row = self.find(id)
        if row < 0 or self.joined[row] > applied:
            return False
        return self.stores0[row] == word0 and self.stores1[row] == word1

    def known_life(self, id: int) -> int:
        """The life of a member that was met last; 0 for none."""
        row = self.find(id)
        return self.lives[row] if row >= 0 else 0

    def put(self, id: int, life: int, word0: int, word1: int, joined: int) -> int:
        """Learn of a member; who was learned of longest ago makes room."""
        row = self.find(id)
        if row < 0 and self.rows == MET_MAX:
            row = 0
        if row >= 0:
            self.rows -= 1
            for at in range(row, self.rows):
                self.ids[at], self.lives[at] = self.ids[at + 1], self.lives[at + 1]
                self.stores0[at], self.stores1[at] = self.stores0[at + 1], self.stores1[at + 1]
                self.joined[at] = self.joined[at + 1]
        self.ids[self.rows], self.lives[self.rows] = id, life
        self.stores0[self.rows], self.stores1[self.rows] = word0, word1
        self.joined[self.rows] = joined
        self.rows += 1
        return 0

    def fill(self, number: int) -> int:
        """Let ``slot`` hold what is to be written as that write."""
        size = SLOT_HEADER + self.rows * SLOT_ROW
        self.slot.clear()
        self.slot.fill(size)
        self.slot.set_u64(MAGIC_AT, MAGIC)
        self.slot.set_u32(VERSION_AT, LIVES_VERSION)
        self.slot.set_u64(SLOT_CHECKED_FROM, number)
        self.slot.set_u64(COUNT_AT, self.count)
        self.slot.set_u64(LOST_AT, self.lost)
        self.slot.set_u64(ROWS_AT, self.rows)
        self.slot.set_u64(STORE_AT, self.word0)
        self.slot.set_u64(STORE_AT + 8, self.word1)
        for row in range(self.rows):
            at = SLOT_HEADER + row * SLOT_ROW
            self.slot.set_u64(at, self.ids[row])
            self.slot.set_u64(at + 8, self.lives[row])
            self.slot.set_u64(at + 16, self.stores0[row])
            self.slot.set_u64(at + 24, self.stores1[row])
            self.slot.set_u64(at + 32, self.joined[row])
        self.slot.set_u32(CRC_AT, self.slot.crc(SLOT_CHECKED_FROM, size - SLOT_CHECKED_FROM))
        return 0

    def write(self) -> int:
        """Write everything into the older slot; 0 or -errno. ``sync`` comes next; the newer slot is whole meanwhile.

        After a failure the same slot is written again: part of it may have been, and the other one is all there is.
        """
        self.written = self.number + 1
        self.fill(self.written)
        if self.file is None:
            return -EBADF
        return self.file.write_at(self.slot, 0, self.slot.size, self.written % SLOTS * SLOT_BYTES)

    def sync(self) -> int:
        """Make it durable: 0, -errno, or WAIT: ask again. After a failure nobody knows what is on disk."""
        if self.file is None:
            return -EBADF
        code = self.file.datasync()
        if code == 0:
            self.number = self.written
        return code

    def is_short(self, code: int) -> bool:
        """Whether ``code`` (-errno) of ``write`` says that something is short which others may give back."""
        return -code in (EAGAIN, EDQUOT, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC)

    # For Python.

    def py_put(self, id: int, life: int, word0: int, word1: int, joined: int = 0) -> None:
        """``put``."""
        self.put(id, life, word0, word1, joined)

    def py_refusal(self, id: int, life: int, word0: int, word1: int, rebuilt: bool, joined: int = 0) -> int:
        """``refusal``."""
        return self.refusal(id, life, word0, word1, rebuilt, joined)

    def py_slot(self) -> bytes:
        """What a slot is to hold now."""
        self.fill(self.number)
        return self.slot.tobytes()

    def py_write(self) -> int:
        """Write and sync one slot: 0 or -errno."""
        code = self.write()
        return code if code != 0 else self.py_sync()

    def py_sync(self) -> int:
        """``sync`` until it has ended."""
        code = WAIT
        while code == WAIT:
            code = self.sync()
        return code

    def py_write_both(self) -> int:
        """Write and sync one slot, and then the other one: 0 or -errno."""
        code = self.py_write()
        return code if code != 0 else self.py_write()

    def py_rows(self) -> list[tuple[int, int, int, int]]:
        """Each member's id and life, and the words of its store."""
        return [
            (int(self.ids[row]), int(self.lives[row]), int(self.stores0[row]), int(self.stores1[row]))
            for row in range(self.rows)
        ]

    def py_begin(self, count: int) -> None:
        """The member lives for the ``count``-th time."""
        self.count = count

    def close(self) -> None:
        """Release the file; may be called twice."""
        if self.file is not None:
            self.file.close()
