"""Reader: judges what stands in a segment, batch after batch. Used by recovery alone, and writes nothing.

A batch is whole, or torn (a write that never ended), or damaged. What follows the last batch is zero; so a torn batch
shows more zero sectors than its header counted. Every byte is described in docs/wal-format.md.
"""

from __future__ import annotations

from .._native.files import File
from .._native.layout import ENTRY_HEADER, RECORD_INDEX, RECORD_KIND, RECORD_LENGTH, RECORD_TERM
from .._native.memory import Buffer
from ..errors import ConfChangeError
from ..types import ENTRY_NORMAL, ENTRY_SNAPSHOT, ConfState
from .membership import CHANGES
from .wal_format import (
    BATCH_CHAIN_AT,
    BATCH_CHECKED,
    BATCH_COMMIT_AT,
    BATCH_COUNT_AT,
    BATCH_CRC_AT,
    BATCH_FLAGS_AT,
    BATCH_HEADER,
    BATCH_IN_DOUBT,
    BATCH_INCARNATION_AT,
    BATCH_KIND_AT,
    BATCH_LENGTH_AT,
    BATCH_MAGIC,
    BATCH_MAGIC_AT,
    BATCH_NUMBER_AT,
    BATCH_RECORDS_CRC_AT,
    BATCH_SEGMENT_AT,
    BATCH_TERM_AT,
    BATCH_VOTE_AT,
    BATCH_ZEROS_AT,
    BLOCK,
    KIND_RESTORE,
    SECTOR,
)

LENGTH_MAX = 1 << 48  # bytes of records in one batch that anybody can have written
LOOK_AHEAD = 256 * BLOCK  # bytes that are read at once behind the last batch


def count_zero_sectors(buffer: Buffer, size: int) -> int:
    """How many of the sectors that ``size`` bytes begin in hold zeros only."""
    count = 0
    at = 0
    while at < size:
        if buffer.zeros(at, min(SECTOR, size - at)):
            count += 1
        at += SECTOR
    return count


class Reader:
    """Judges one batch after the other. ``read`` gives one of the verdicts below; the fields tell the rest."""

    VALID = 0
    END = 1  # nothing but zeros, or the end of the file
    BAD = 2  # ``torn`` and ``reason`` say how, ``batch_bytes`` how far it goes, as far as that is known

    def __init__(self) -> None:
        self.buffer = Buffer()
        self.batch_number = self.previous_crc = 0
        #: of the record read last; Invariant: the next record's index is at most one higher, and at least 1
        self.last_index = self.last_term = 0
        #: what is not above it is not wanted
        self.base = 0
        #: the highest index of a record in what was read since ``begin``
        self.highest = 0
        #: the log was founded behind this entry; 0: with its first one
        self.founded = 0
        #: no record was read yet, and the segments before the first one are gone: its index may be any
        self.loose = False
        #: what is behind the base follows it without a gap
        self.joined = True
        #: (index, term, membership) of the last snapshot behind which the log began anew, if that is the base; or None
        self.restored: tuple[int, int, ConfState] | None = None
        #: the term of each of these entries in the log, 0 while it is not in it; set before the first batch
        self.places: dict[int, int] = {}
        #: the changes of membership among the records that count: (index, kind, data)
        self.changes: list[tuple[int, int, bytes]] = []
        self.torn = False
        self.batch_bytes = BLOCK
        self.incarnation = self.term = self.vote = self.commit = 0
        self.in_doubt = False
        #: (offset, length) of each run of records of the batch read last that are wanted and replace nothing among them
        self.pieces: list[tuple[int, int]] = []
        #: those runs replace everything that came before this batch
        self.replaces = False
        self.reason = ""

    def follow(self, number: int, chain: int) -> None:
        """What the batch before had: the next one must continue it."""
        self.batch_number = number
        self.previous_crc = chain

    def found(self, base: int, base_term: int, incarnation: int) -> None:
        """Before anything else: what was so before the first batch of the log.

        Entries up to ``base`` came before it, and are committed.
        """
        self.founded = self.base = self.last_index = self.commit = base
        self.last_term = self.term = base_term
        self.incarnation = incarnation

    def start(self, base: int, last_index: int) -> None:
        """Before the first batch: entries up to ``base`` are not wanted. last_index: 0 for a log with its beginning.

        Where segments before are gone, what was in them went up to the base, or was void.
        """
        self.base = base
        self.last_index = last_index or self.founded
        self.loose = last_index != 0
        self.joined = last_index == 0

    def next_one(self) -> Reader:
        """A reader for the batch that comes next, which says what it is like and takes nothing of it."""
        made: Reader = Reader()
        made.follow(self.batch_number, self.previous_crc)
        made.term, made.incarnation = self.term, self.incarnation
        made.last_index, made.last_term, made.base = self.last_index, self.last_term, self.base
        made.loose, made.joined = self.loose, self.joined
        return made

    def begin(self) -> None:
        """Before the first batch of a segment."""
        self.highest = 0

    def read(self, file: File, position: int, size: int, segment: int) -> int:
        """The batch at ``position`` of a file of ``size`` bytes. Raises OSError."""
        self.pieces = []
        self.torn = False
        self.batch_bytes = 0
        self.fetch(file, min(BLOCK, max(size, position) - position), position)
        if self.buffer.zeros(0, self.buffer.size):
            return self.END
        if self.buffer.size < BLOCK:
            return self.reject(False, "the file ends within a header")
        if self.buffer.zeros(0, SECTOR):
            return self.reject(True, "the sector of the header was not written")
        if not self.is_header(0):
            return self.reject(False, "the header is damaged")
        length = self.buffer.get_u64(BATCH_LENGTH_AT)
        # A header with a right checksum is one that was written, unless somebody forged it.
        if length > LENGTH_MAX:
            return self.reject(False, "the length is impossible")
        self.batch_bytes = (BATCH_HEADER + length + BLOCK - 1) // BLOCK * BLOCK
        number = self.buffer.get_u64(BATCH_NUMBER_AT)
        if self.buffer.get_u64(BATCH_SEGMENT_AT) != segment or number != self.batch_number + 1:
            return self.reject(False, "the batch belongs elsewhere")
        if self.buffer.get_u32(BATCH_CHAIN_AT) != self.previous_crc:
            return self.reject(False, "the batch does not continue the one before it")
        if self.buffer.get_u32(BATCH_FLAGS_AT) > BATCH_IN_DOUBT:
            return self.reject(False, "the batch has flags that this raftx does not know")
        if position + self.batch_bytes > size:
            return self.reject(False, "the file ends within the batch")
        self.fetch(file, BATCH_HEADER + length, position)
        count = self.buffer.get_u32(BATCH_COUNT_AT)
        if self.buffer.size < BATCH_HEADER + length:
            return self.reject(False, "the file became shorter while it was read")
        if self.buffer.check_records(BATCH_HEADER, length, True) != count or self.buffer.records_crc(
            BATCH_HEADER, length
        ) != self.buffer.get_u32(BATCH_RECORDS_CRC_AT):
            more = count_zero_sectors(self.buffer, BATCH_HEADER + length) > self.buffer.get_u32(BATCH_ZEROS_AT)
            return self.reject(more, "the entries do not have their checksum")
        if not self.follows(length):
            return self.BAD
        self.kind = self.buffer.get_u32(BATCH_KIND_AT)
        self.batch_number += 1
        self.previous_crc = self.buffer.get_u32(BATCH_CRC_AT)
        self.count = count
        self.length = length
        self.term = self.buffer.get_u64(BATCH_TERM_AT)
        self.vote = self.buffer.get_u64(BATCH_VOTE_AT)
        self.commit = self.buffer.get_u64(BATCH_COMMIT_AT)
        self.incarnation = self.buffer.get_u64(BATCH_INCARNATION_AT)
        self.in_doubt = self.buffer.get_u32(BATCH_FLAGS_AT) == BATCH_IN_DOUBT
        return self.VALID

    def reject(self, torn: bool, reason: str) -> int:
        self.torn = torn
        self.reason = reason
        return self.BAD

    def fetch(self, file: File, size: int, position: int) -> None:
        code = file.py_read_at(self.buffer, size, position)
        if code != 0:
            raise OSError(-code, "cannot read the log")

    def follows(self, length: int) -> bool:
        """Whether the records continue the log; fills ``pieces`` and ``replaces``, ``changes`` and ``highest``."""
        self.replaces = restores = False
        start = at = BATCH_HEADER
        end = BATCH_HEADER + length
        while at < end:
            index = self.buffer.get_u64(at + RECORD_INDEX)
            term = self.buffer.get_u64(at + RECORD_TERM)
            step = ENTRY_HEADER + self.buffer.get_u32(at + RECORD_LENGTH)
            if self.buffer.get_u32(at + RECORD_KIND) & 0xFF == ENTRY_SNAPSHOT:
                restores = True
                if not self.begin_behind(index, term, self.buffer.tobytes()[at + ENTRY_HEADER : at + step]):
                    return False
                at += step
                start = at
                continue
            if index < 1 or (index > self.last_index + 1 and not self.loose) or term < 1:
                self.reject(False, f"entry {index} cannot follow entry {self.last_index}")
                return False
            self.loose = False
            if self.places:
                self.note_place(index, term)
            if index <= self.base + 1:
                # Whatever stands behind the base until here is replaced.
                self.joined = True
                self.pieces.clear()
                self.replaces = True
                start = at if index > self.base else at + step
            elif index <= self.last_index and at > start:
                self.pieces.append((start, at - start))
                start = at
            if index <= self.last_index and self.changes:
                self.changes = [change for change in self.changes if change[0] < index]
            if self.note(at, index) and index > self.base:
                kind = self.buffer.get_u32(at + RECORD_KIND) & 0xFF
                if kind in CHANGES:
                    self.changes.append((index, kind, self.buffer.tobytes()[at + ENTRY_HEADER : at + step]))
            self.last_index = index
            self.last_term = term
            at += step
        if at > start:
            self.pieces.append((start, at - start))
        if restores != (self.buffer.get_u32(BATCH_KIND_AT) == KIND_RESTORE):
            self.reject(False, "the kind of the batch is not that of its records")
            return False
        if self.buffer.get_u64(BATCH_COMMIT_AT) > self.last_index:
            self.reject(False, "the commit index lies beyond the log")
            return False
        incarnation = self.buffer.get_u64(BATCH_INCARNATION_AT)
        if self.buffer.get_u64(BATCH_TERM_AT) < self.term or incarnation < self.incarnation:
            self.reject(False, "the term or the incarnation went back")
            return False
        return True

    def begin_behind(self, index: int, term: int, data: bytes) -> bool:
        """The record of a snapshot: whatever came before it is void. Whether it can be one."""
        try:
            conf_state, _ = ConfState.decode(data)
        except ConfChangeError as error:
            self.reject(False, f"the record of snapshot {index} has no membership: {error}")
            return False
        if index < 1 or term < 1 or not conf_state.voters:
            self.reject(False, f"the record of snapshot {index} is none")
            return False
        self.pieces.clear()
        self.replaces = self.joined = True
        self.loose = False
        self.changes = []
        self.highest = 0
        self.places = dict.fromkeys(self.places, 0)
        self.last_index, self.last_term = index, term
        if index >= self.base:
            self.base = index
            self.restored = (index, term, conf_state)
        return True

    def note_place(self, index: int, term: int) -> None:
        """Note the term of an entry, which replaces what has its index and all after that."""
        for each in self.places:
            if each == index:
                self.places[each] = term
            elif each > index:
                self.places[each] = 0

    def note(self, at: int, index: int) -> bool:
        """Note the index of the record at ``at``; whether it is anything but an ordinary entry."""
        self.highest = max(self.highest, index)
        return self.buffer.get_u32(at + RECORD_KIND) & 0xFF != ENTRY_NORMAL

    def is_header(self, at: int) -> bool:
        """Whether a whole header of a batch stands at ``at`` in the buffer."""
        if self.buffer.get_u32(at + BATCH_MAGIC_AT) != BATCH_MAGIC:
            return False
        return self.buffer.get_u32(at + BATCH_CRC_AT) == self.buffer.crc(at + BATCH_KIND_AT, BATCH_CHECKED)

    def find_later(self, file: File, position: int, size: int, segment: int) -> int:
        """Place of the first whole header from ``position`` on of a batch later than ``batch_number``; -1 for none."""
        while position < size:
            self.fetch(file, min(LOOK_AHEAD, size - position), position)
            at = 0
            while at + BATCH_HEADER <= self.buffer.size:
                if self.is_header(at) and self.buffer.get_u64(at + BATCH_SEGMENT_AT) == segment:
                    if self.buffer.get_u64(at + BATCH_NUMBER_AT) > self.batch_number:
                        return position + at
                at += BLOCK
            position += LOOK_AHEAD
        return -1

    def find_dirt(self, file: File, position: int, size: int) -> tuple[int, int] | None:
        """(place, length) of the first stretch that is not all zero; None: everything from ``position`` on is.

        A stretch is LOOK_AHEAD bytes, the last one what is left.
        """
        while position < size:
            self.fetch(file, min(LOOK_AHEAD, size - position), position)
            if not self.buffer.zeros(0, self.buffer.size):
                return position, self.buffer.size
            position += LOOK_AHEAD
        return None
