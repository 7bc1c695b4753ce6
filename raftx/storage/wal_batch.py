"""The batch under way: what is computed of its records, and its bytes on their way into a segment.

A large batch is written from where its records stand: to copy half a mebibyte costs a fifth of what a disk takes to
sync it. Those of a small one are copied behind its header, which costs less than to write them piece by piece.
"""

from __future__ import annotations

from .._native.files import PARTS_MAX, File
from .._native.layout import ENTRY_HEADER, RECORD_INDEX, RECORD_KIND, RECORD_LENGTH
from .._native.memory import Buffer, Cursor, Spans
from ..types import ENTRY_SNAPSHOT
from . import wal_header, wal_reader
from .wal_format import (
    BATCH_COUNT_AT,
    BATCH_CRC_AT,
    BATCH_HEADER,
    BATCH_KIND_AT,
    BATCH_RECORDS_CRC_AT,
    BATCH_ZEROS_AT,
    BLOCK,
    KIND_RESTORE,
    SECTOR,
)

LARGE = 64 << 10  # bytes of records from which on they stay where they are


class Batch:
    """One at a time. It belongs to the writer."""

    def __init__(self) -> None:
        #: its header, and the records and zeros behind them unless ``spans`` has those
        self.head = Buffer(BLOCK)
        #: records that stay where they are, and the zeros behind them
        self.spans = Spans()
        self.zeros = 0
        #: bytes, a multiple of BLOCK
        self.size = 0
        self.kind = self.count = 0
        #: the last index of a record, and the highest one that counts; 0 without entries
        self.last = self.highest = 0
        #: the log begins anew behind this index, 0: it does not; and the header of a segment that says so
        self.base = 0
        self.header = Buffer()
        self.cursor = Cursor()

    def fill(self, spans: Spans, kind: int, header: Buffer) -> int:
        """Begin with these records; ``header`` is that of the segments before. ``wal_header.fill_batch`` comes next.

        What ``spans`` refers to stays until ``clear``. Raises Corruption.
        """
        self.clear()
        self.head.clear()
        self.head.fill(BATCH_HEADER)
        if not self.refer(spans):
            self.copy(spans, header)
        self.kind = KIND_RESTORE if self.base != 0 else kind
        return 0

    def refer(self, spans: Spans) -> bool:
        """Take large records as they stand; False, and nothing is taken, where they are to be copied."""
        if spans.size < LARGE or spans.count > PARTS_MAX:
            return False
        self.last = self.highest = self.base = self.count = 0
        for span in range(spans.count):
            self.cursor.open(spans, span)
            while self.cursor.next():
                kind = self.cursor.kind
                if kind == ENTRY_SNAPSHOT:
                    return False
                self.count += 1
                self.last = self.cursor.index
                self.highest = max(self.highest, self.last)
            if self.cursor.left != 0:
                return False
        for span in range(spans.count):
            self.spans.push_shared(spans, span)
        end = BATCH_HEADER + spans.size
        self.size = (end + BLOCK - 1) // BLOCK * BLOCK
        self.zeros = self.size - end
        return True

    def copy(self, spans: Spans, header: Buffer) -> int:
        """Copy them behind the header."""
        self.head.put_spans(spans)
        self.note_indexes(self.head.size - BATCH_HEADER, header)
        self.count = self.head.check_records(BATCH_HEADER, self.head.size - BATCH_HEADER, False)
        return 0

    def note_indexes(self, length: int, header: Buffer) -> int:
        """Where the log ends after it, the highest index in it, and whether the log begins anew."""
        self.last = self.highest = self.base = 0
        at = BATCH_HEADER
        while at < BATCH_HEADER + length:
            self.last = self.head.get_u64(at + RECORD_INDEX)
            if self.head.get_u32(at + RECORD_KIND) & 0xFF == ENTRY_SNAPSHOT:
                self.base = self.last
                self.highest = 0
                wal_header.put_behind(header, self.head, at, self.header)
            else:
                self.highest = max(self.highest, self.last)
            at += ENTRY_HEADER + self.head.get_u32(at + RECORD_LENGTH)
        return 0

    def describe(self, term: int, vote: int, commit: int, flags: int) -> int:
        """Fill in what does not depend on its place."""
        if self.spans.count != 0:
            length = self.spans.size
            self.head.set_u32(BATCH_RECORDS_CRC_AT, self.spans.records_crc())
            self.head.set_u32(BATCH_ZEROS_AT, self.spans.zero_parts(BATCH_HEADER, SECTOR))
        else:
            length = self.head.size - BATCH_HEADER
            self.head.set_u32(BATCH_RECORDS_CRC_AT, self.head.records_crc(BATCH_HEADER, length))
        wal_header.fill_batch(self.head, length, term, vote, commit, flags)
        self.head.set_u32(BATCH_COUNT_AT, self.count)
        self.head.set_u32(BATCH_KIND_AT, self.kind)
        if self.spans.count == 0:
            self.head.set_u32(BATCH_ZEROS_AT, wal_reader.count_zero_sectors(self.head, self.head.size))
            self.head.pad(BLOCK)
            self.size = self.head.size
        return 0

    def write(self, file: File, position: int) -> int:
        """All of it; 0 or -errno."""
        if self.spans.count != 0:
            return file.write_parts(self.head, self.spans, self.zeros, position)
        return file.write_at(self.head, 0, self.head.size, position)

    def crc(self) -> int:
        """Its header's."""
        return self.head.get_u32(BATCH_CRC_AT)

    def clear(self) -> int:
        """It is durable: nothing that it refers to is needed any more."""
        self.spans.clear()
        self.zeros = 0
        return 0
