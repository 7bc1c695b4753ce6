"""The write-ahead log: batches of entry records in preallocated segments, one fdatasync a batch.

``Wal`` is the writing end, a loop without the GIL; ``Reader`` judges what stands in a segment. What
a directory is, who owns it and how it is recovered stands in file.py and recovery.py; every byte is described in
docs/wal-format.md.

Why the format is as it is: a batch begins at a 4 KiB boundary and no block is ever written twice, so
that a torn write cannot damage what was acknowledged before it. What follows the last batch is zero;
so a torn batch shows more zero sectors than its header counted. Which batches were acknowledged says the
mark, a file of its own: it is written after a batch is durable and before anybody is told so.
"""

from __future__ import annotations

import threading

from .._native.files import File
from .._native.memory import Buffer, Spans
from .._native.threads import Cells, Clock, Event, Handoff, Runner
from .format import (
    BATCH_HEADER,
    BATCH_IN_DOUBT,
    BATCH_MAGIC,
    BLOCK,
    HEAD_CHAIN,
    HEAD_FIRST,
    HEAD_SEGMENT,
    HEAD_SIZE,
    KIND_ENTRIES,
    MARK_CHAIN,
    MARK_NUMBER,
    MARK_POSITION,
    MARK_SEGMENT,
    MARK_SLOT,
    OPERATION_MARK,
    OPERATION_PLACE,
    OPERATION_SEGMENT,
    OPERATION_SYNC,
    OPERATION_WRITE,
    OPERATION_ZERO,
    RECORD_HEADER,
    SECTOR,
    ZERO_BELOW,
    ZERO_STEP,
    Mark,
    encode_mark,
)
from .protocol import (
    CELL_BATCH_ENTRIES,
    CELL_BYTES,
    CELL_DONE,
    CELL_ERROR,
    CELL_LAST_END,
    CELL_LAST_START,
    CELL_SHORTAGE,
    CELL_SYNC_NS,
    CELL_SYNCS,
    RESERVE_CODE,
    RESERVE_FAILED,
    RESERVE_READY,
    RESERVE_TROUBLE,
    ROW_IN_DOUBT,
    ROW_STOP,
)
from .reserve import Reserve

MARK_IDLE_NS = 30_000_000  # without a batch for so long, the mark is synced
CHECK_NS = 500_000_000  # how often it is looked whether directory and files still have their names
PAUSE_NS = 100_000_000  # between two attempts at something that is short


def zero_sectors(buffer: Buffer, size: int) -> int:
    """How many of the sectors that ``size`` bytes begin in hold zeros only."""
    count = 0
    at = 0
    while at < size:
        if buffer.zeros(at, min(SECTOR, size - at)):
            count += 1
        at += SECTOR
    return count


class Wal(Runner):
    """Appends batches. After the first failure nothing is written any more: ``failed`` says what it was.

    ``serve`` is the body of the wal thread; ``py_write`` is for callers without one. One of them only.
    """

    def __init__(self, file: File, mark: File, reserve: Reserve, head: bytes, cluster: bytes, id: int) -> None:
        self.file = file
        self.mark = mark
        self.reserve = reserve
        self.directory = reserve.directory
        #: the header block of a segment; number, chain, size and checksum are filled in by ``rotate``
        self.head = Buffer()
        self.head.py_put(head)
        #: one slot of the mark
        self.slot = Buffer()
        self.slot.py_put(encode_mark(Mark(0, 0, 0, 0), 0, cluster, id))
        self.staging = Buffer(BLOCK)
        self.clock = Clock()
        self.segment = self.number = self.incarnation = 0
        self.position = BLOCK
        #: Invariant: what lies from here to the end of the file was not written since the file was made
        self.zeroed = BLOCK
        self.size = 0
        self.chain = 0
        self.failed = 0
        self.batches = self.bytes_written = 0
        #: False until the mark is known to be whole; then: written after every batch
        self.marking = False
        #: the mark was written and not synced
        self.unsettled = False
        #: a thread serves: what is short is waited out, until the engine says stop
        self.patient = self.stopping = self.short = False
        self.written_at = self.next_check = 0

    def resume(self, segment: int, position: int, size: int, number: int, chain: int, incarnation: int) -> None:
        """Go on behind what a recovery found."""
        self.segment = segment
        self.position = self.zeroed = position
        self.size = size
        self.number = number
        self.chain = chain
        self.incarnation = incarnation

    def serve(self, queue: Handoff, cells: Cells, engine_event: Event) -> None:
        """Write what the engine hands over, until it says stop or a write fails. The body of a thread.

        It has another one make segments ahead. Raises RuntimeError when the system has no thread left.
        """
        name = f"{threading.current_thread().name}-reserve"
        ahead = threading.Thread(target=self.reserve.run, name=name, daemon=True)
        ahead.start()
        try:
            self.begin_serving(queue, cells, engine_event, Clock())
            self.run()
        finally:
            self.end_serving()
            ahead.join()

    def begin_serving(self, queue: Handoff, cells: Cells, engine_event: Event, clock: Clock) -> None:
        """Before the first round, beside whatever runs ``reserve``."""
        self.queue = queue
        self.cells = cells
        self.engine_event = engine_event
        self.clock = clock
        self.patient = True

    def end_serving(self) -> None:
        """After the last round: ``reserve`` ends, too."""
        self.patient = False
        self.reserve.stop()

    def round(self) -> int:
        """Write what the engine has handed over, or do what is due. 0 after a failure, or when the engine says stop."""
        rows = self.queue.take()
        if rows == 0:
            return 1 if self.do_due() == 0 else 0
        last = rows
        if self.queue.at(rows - 1, 0) == ROW_STOP:
            last -= 1
            self.stopping = True
        if last > 0 and self.write_rows(last) != 0:
            return 0
        return self.end() if last < rows else 1

    def do_due(self) -> int:
        """Nothing is to be written: look at the names, or sync the mark, if it is time. 0, or 1 after a failure."""
        now = self.clock.now()
        if now >= self.next_check:
            return self.published(self.check())
        if self.unsettled and now >= self.written_at + MARK_IDLE_NS:
            return self.published(self.settle())
        return 0

    def rest(self) -> int:
        """Sleep until something is to be written or due."""
        due = self.next_check
        if self.unsettled:
            due = min(due, self.written_at + MARK_IDLE_NS)
        self.queue.event.prepare()
        timeout = self.clock.until(due)
        if timeout == 0 or self.queue.waiting():
            self.queue.event.cancel()
        else:
            self.queue.event.wait(timeout)
        return 0

    def end(self) -> int:
        """The engine has said stop."""
        self.published(self.settle())
        return 0

    def published(self, code: int) -> int:
        """0; after a failure 1, and the engine is told."""
        if code == 0:
            return 0
        self.cells.set(CELL_ERROR, code)
        self.engine_event.wake()
        return 1

    def write_rows(self, last: int) -> int:
        """Everything that came during the last sync is one batch; its hard state is that of the newest row."""
        row = last - 1
        entries = self.queue.taken.size
        started = self.clock.now()
        code = self.write(
            KIND_ENTRIES,
            self.queue.at(row, 2),
            self.queue.at(row, 3),
            self.queue.at(row, 4),
            self.queue.at(row, 6) & ROW_IN_DOUBT,
            self.queue.taken,
        )
        ended = self.clock.now()
        if code == 0 and ended >= self.next_check:
            code = self.check()
        if code != 0:
            return self.published(code)
        self.written_at = ended
        self.cells.set(CELL_SYNCS, self.cells.get(CELL_SYNCS) + 1)
        self.cells.set(CELL_BYTES, self.bytes_written)
        if entries:
            count = self.staging.get_u32(28)
            self.cells.set(CELL_BATCH_ENTRIES, self.cells.get(CELL_BATCH_ENTRIES) + count)
        self.cells.set(CELL_SYNC_NS, self.cells.get(CELL_SYNC_NS) + (ended - started))
        self.cells.set(CELL_LAST_START, started)
        self.cells.set(CELL_LAST_END, ended)
        self.cells.set(CELL_DONE, self.queue.at(row, 1))
        self.engine_event.wake()
        return 0

    def write(self, kind: int, term: int, vote: int, commit: int, flags: int, spans: Spans) -> int:
        """One batch, durable when this returns 0; else errno | operation << 32, now and ever after."""
        if self.failed == 0:
            self.failed = self.append(kind, term, vote, commit, flags, spans)
        return self.failed

    def append(self, kind: int, term: int, vote: int, commit: int, flags: int, spans: Spans) -> int:
        """``write`` without a memory of failures."""
        self.staging.clear()
        self.staging.fill(BATCH_HEADER)
        self.staging.put_spans(spans)
        length = self.staging.size - BATCH_HEADER
        count = self.staging.check_records(BATCH_HEADER, length, False)
        sectors = zero_sectors(self.staging, self.staging.size)
        self.staging.pad(BLOCK)
        if self.position + self.staging.size > self.size:
            code = self.rotate(self.staging.size)
            if code != 0:
                return code
        self.staging.set_u32(0, BATCH_MAGIC)
        self.staging.set_u32(8, kind)
        self.staging.set_u32(12, self.chain)
        self.staging.set_u64(16, self.number + 1)
        self.staging.set_u32(24, self.staging.records_crc(BATCH_HEADER, length))
        self.staging.set_u32(28, count)
        self.staging.set_u64(32, length)
        self.staging.set_u64(40, term)
        self.staging.set_u64(48, vote)
        self.staging.set_u64(56, commit)
        self.staging.set_u64(64, self.incarnation)
        self.staging.set_u64(72, self.segment)
        self.staging.set_u32(80, sectors)
        self.staging.set_u32(84, flags)
        self.staging.set_u32(4, self.staging.crc(8, BATCH_HEADER - 8))
        error = self.put(self.file, self.staging, self.staging.size, self.position)
        if error != 0:
            return OPERATION_WRITE << 32 | -error
        error = self.zero_ahead(self.position + self.staging.size)
        if error != 0:
            return OPERATION_ZERO << 32 | -error
        error = self.file.datasync()
        if error != 0:
            return OPERATION_SYNC << 32 | -error
        self.position += self.staging.size
        self.number += 1
        self.chain = self.staging.get_u32(4)
        self.batches += 1
        self.bytes_written += self.staging.size
        return self.write_mark(self.number & 1)

    def put(self, file: File, buffer: Buffer, size: int, position: int) -> int:
        """Write a buffer; 0 or -errno. Once more when something was short: nothing was promised about it yet."""
        code = file.write_at(buffer, 0, size, position)
        while code != 0 and self.pause(code):
            code = file.write_at(buffer, 0, size, position)
        self.over()
        return code

    def zero_ahead(self, end: int) -> int:
        """Write zeros behind ``end`` when a small batch has used up those that were there. 0 or -errno."""
        if end <= self.zeroed or self.staging.size >= ZERO_BELOW:
            return 0
        target = min(self.size, max(end, max(self.zeroed, self.position) + ZERO_STEP))
        if target > end:
            code = self.file.zero(end, target - end)
            while code != 0 and self.pause(code):
                code = self.file.zero(end, target - end)
            self.over()
            if code != 0:
                return code
        self.zeroed = target
        return 0

    # --- the mark --------------------------------------------------------------------------------

    def write_mark(self, slot: int) -> int:
        """Say that the newest batch is durable; it is read after a crash of this process, and later when synced.

        Before anybody is told: what is missing at the next start was then acknowledged, or else it is not missed.
        """
        if not self.marking:
            return 0
        self.slot.set_u64(MARK_NUMBER, self.number)
        self.slot.set_u64(MARK_SEGMENT, self.segment)
        self.slot.set_u64(MARK_POSITION, self.position)
        self.slot.set_u32(MARK_CHAIN, self.chain)
        self.slot.set_u32(MARK_SLOT, slot)
        self.slot.set_u32(12, self.slot.crc(16, SECTOR - 16))
        error = self.put(self.mark, self.slot, SECTOR, slot * BLOCK)
        if error != 0:
            return OPERATION_MARK << 32 | -error
        self.unsettled = True
        return 0

    def settle(self) -> int:
        """Sync the mark, if there is something to sync. It may lag behind on disk: it is never ahead."""
        if self.failed != 0 or not self.unsettled:
            return self.failed
        error = self.mark.datasync()
        if error != 0:
            self.failed = OPERATION_MARK << 32 | -error
        self.unsettled = False
        return self.failed

    # --- segments and names ------------------------------------------------------------------------

    def rotate(self, batch: int) -> int:
        """Begin the next segment: durable, with its name, before anything is written into it."""
        error = 0
        state = self.reserve.claim()
        if state != RESERVE_READY and state != RESERVE_FAILED:
            error = self.reserve.make(self.segment + 1)
            while error != 0 and self.reserve.cells.get(RESERVE_CODE) == 0 and self.pause(error):
                error = self.reserve.make(self.segment + 1)
        if error == 0:
            error = self.fit(BLOCK + batch)
        self.over()
        if error != 0:
            # Where there is no directory any more, nothing can be made in it.
            code = self.check()
            return code if code != 0 else OPERATION_SEGMENT << 32 | -error
        self.head.set_u64(HEAD_SEGMENT, self.segment + 1)
        self.head.set_u32(HEAD_CHAIN, self.chain)
        self.head.set_u64(HEAD_FIRST, self.number + 1)
        self.head.set_u64(HEAD_SIZE, self.reserve.size)
        self.head.set_u32(12, self.head.crc(16, BLOCK - 16))
        error = self.put(self.reserve.file, self.head, BLOCK, 0)
        if error == 0:
            error = self.reserve.file.datasync()
        if error != 0:
            return OPERATION_SEGMENT << 32 | -error
        code = self.settle()
        if code != 0:
            return code
        self.size = self.reserve.size
        self.reserve.hand_over(self.file)
        self.segment += 1
        self.position = self.zeroed = BLOCK
        self.bytes_written += BLOCK
        return self.check()

    def fit(self, size: int) -> int:
        """Make the segment in reserve long enough for ``size`` bytes; 0 or -errno."""
        code = self.reserve.cells.get(RESERVE_CODE)
        while code == 0 and self.reserve.size < size:
            code = self.reserve.grow(size)
            if code != 0 and self.reserve.cells.get(RESERVE_CODE) == 0 and self.pause(code):
                code = 0
        return code

    def check(self) -> int:
        """Whether the names still lead to what is open: what is written into a file without a name is lost.

        Also the time to ask for the next segment, and to see what became of the last attempt. 0 or a failure.
        """
        if self.failed != 0:
            return self.failed
        error = self.directory.check()
        if error == 0:
            error = self.file.named(self.directory)
        if error == 0 and self.marking:
            error = self.mark.named(self.directory)
        if error != 0:
            self.failed = OPERATION_PLACE << 32 | -error
        if self.patient:
            self.next_check = self.clock.now() + CHECK_NS
            self.reserve.want(self.segment + 1)
            self.cells.set(CELL_SHORTAGE, self.reserve.cells.get(RESERVE_TROUBLE))
            error = self.reserve.cells.get(RESERVE_CODE)
            if error != 0 and self.failed == 0:
                self.failed = OPERATION_SEGMENT << 32 | -error
        return self.failed

    # --- shortages -------------------------------------------------------------------------------

    def pause(self, code: int) -> bool:
        """Whether to try again what failed with ``code`` (-errno): after a wait, when it is short and may come back.

        Not when the engine has said stop: nobody waits for the acknowledgement any more.
        """
        if not self.patient or not self.reserve.is_shortage(code) or self.stopping or self.queue.newest(0) == ROW_STOP:
            return False
        self.short = True
        self.reserve.tell(-code)
        self.cells.set(CELL_SHORTAGE, -code)
        self.queue.event.prepare()
        self.queue.event.wait(PAUSE_NS)
        return True

    def over(self) -> int:
        """What was short is there again."""
        if self.short:
            self.short = False
            self.cells.set(CELL_SHORTAGE, 0)
            self.reserve.tell(0)
        return 0

    # --- for Python ------------------------------------------------------------------------------

    def py_write(self, kind: int, term: int, vote: int, commit: int, spans: Spans, flags: int = 0) -> int:
        """``write`` for Python. What is short is a failure here."""
        return self.write(kind, term, vote, commit, flags, spans)

    def py_begin_marking(self) -> int:
        """From now on the mark is written: at once both slots, synced. 0 or a failure."""
        self.marking = True
        for slot in range(2):
            if self.failed == 0:
                self.failed = self.write_mark(slot)
        return self.settle()

    def py_settle(self) -> int:
        """``settle`` for Python."""
        return self.settle()


class Reader:
    """Judges one batch after the other. ``read`` gives one of the verdicts below; the fields tell the rest."""

    VALID = 0
    END = 1  # nothing but zeros, or the end of the file
    BAD = 2  # ``torn`` and ``reason`` say how, ``extent`` how far it goes, as far as that is known

    def __init__(self) -> None:
        self.buffer = Buffer()
        self.number = self.chain = 0
        #: of the record read last; Invariant: the next record's index is at most one higher, and at least 1
        self.last_index = self.last_term = 0
        self.torn = False
        self.extent = BLOCK
        self.incarnation = self.term = self.vote = self.commit = 0
        self.in_doubt = False
        self.pieces: list[tuple[int, int]] = []
        self.reason = ""

    def follow(self, number: int, chain: int) -> None:
        """What the batch before had: the next one must continue it."""
        self.number = number
        self.chain = chain

    def read(self, file: File, position: int, size: int, segment: int) -> int:
        """The batch at ``position`` of a file of ``size`` bytes. Raises OSError."""
        self.pieces = []
        self.torn = False
        self.extent = 0
        self.fetch(file, min(BLOCK, max(size, position) - position), position)
        if self.buffer.zeros(0, self.buffer.size):
            return self.END
        if self.buffer.size < BLOCK:
            return self.bad(False, "the file ends within a header")
        if self.buffer.zeros(0, SECTOR):
            return self.bad(True, "the sector of the header was not written")
        if self.buffer.get_u32(0) != BATCH_MAGIC or self.buffer.get_u32(4) != self.buffer.crc(8, BATCH_HEADER - 8):
            return self.bad(False, "the header is damaged")
        length = self.buffer.get_u64(32)
        # A header with a right checksum is one that was written, unless somebody forged it.
        if length > 1 << 48:
            return self.bad(False, "the length is impossible")
        self.extent = (BATCH_HEADER + length + BLOCK - 1) // BLOCK * BLOCK
        if self.buffer.get_u64(72) != segment or self.buffer.get_u64(16) != self.number + 1:
            return self.bad(False, "the batch belongs elsewhere")
        if self.buffer.get_u32(12) != self.chain:
            return self.bad(False, "the batch does not continue the one before it")
        if self.buffer.get_u32(84) > BATCH_IN_DOUBT:
            return self.bad(False, "the batch has flags that this raftx does not know")
        if position + self.extent > size:
            return self.bad(False, "the file ends within the batch")
        self.fetch(file, BATCH_HEADER + length, position)
        count = self.buffer.get_u32(28)
        if self.buffer.size < BATCH_HEADER + length:
            return self.bad(False, "the file became shorter while it was read")
        if self.buffer.check_records(BATCH_HEADER, length, True) != count or self.buffer.records_crc(
            BATCH_HEADER, length
        ) != self.buffer.get_u32(24):
            more = zero_sectors(self.buffer, BATCH_HEADER + length) > self.buffer.get_u32(80)
            return self.bad(more, "the entries do not have their checksum")
        if not self.follows(length):
            return self.BAD
        self.kind = self.buffer.get_u32(8)
        self.number += 1
        self.chain = self.buffer.get_u32(4)
        self.count = count
        self.length = length
        self.term = self.buffer.get_u64(40)
        self.vote = self.buffer.get_u64(48)
        self.commit = self.buffer.get_u64(56)
        self.incarnation = self.buffer.get_u64(64)
        self.in_doubt = self.buffer.get_u32(84) == BATCH_IN_DOUBT
        return self.VALID

    def bad(self, torn: bool, reason: str) -> int:
        self.torn = torn
        self.reason = reason
        return self.BAD

    def fetch(self, file: File, size: int, position: int) -> None:
        code = file.py_read_at(self.buffer, size, position)
        if code != 0:
            raise OSError(-code, "cannot read the log")

    def follows(self, length: int) -> bool:
        """Whether the records continue the log; fills ``pieces``: (offset, length) of runs without replacement."""
        start = at = BATCH_HEADER
        end = BATCH_HEADER + length
        while at < end:
            index = self.buffer.get_u64(at + 8)
            term = self.buffer.get_u64(at + 16)
            if index < 1 or index > self.last_index + 1 or term < 1:
                self.bad(False, f"entry {index} cannot follow entry {self.last_index}")
                return False
            if index <= self.last_index and at > start:
                self.pieces.append((start, at - start))
                start = at
            self.last_index = index
            self.last_term = term
            at += RECORD_HEADER + self.buffer.get_u32(at + 4)
        if at > start:
            self.pieces.append((start, at - start))
        if self.buffer.get_u64(56) > self.last_index:
            self.bad(False, "the commit index lies beyond the log")
            return False
        if self.buffer.get_u64(40) < self.term or self.buffer.get_u64(64) < self.incarnation:
            self.bad(False, "the term or the incarnation went back")
            return False
        return True

    def find_later(self, file: File, position: int, size: int, segment: int) -> int:
        """Place of the first whole batch header from ``position`` on that is later than ``number``; -1 for none."""
        step = 256 * BLOCK
        while position < size:
            self.fetch(file, min(step, size - position), position)
            at = 0
            while at + BATCH_HEADER <= self.buffer.size:
                if self.buffer.get_u32(at) == BATCH_MAGIC:
                    header = self.buffer.get_u32(at + 4) == self.buffer.crc(at + 8, BATCH_HEADER - 8)
                    if (
                        header
                        and self.buffer.get_u64(at + 72) == segment
                        and self.buffer.get_u64(at + 16) > self.number
                    ):
                        return position + at
                at += BLOCK
            position += step
        return -1

    def find_dirt(self, file: File, position: int, size: int) -> tuple[int, int] | None:
        """(place, length) of the first run of blocks from ``position`` on that are not all zero; None: all zero."""
        step = 256 * BLOCK
        while position < size:
            self.fetch(file, min(step, size - position), position)
            if not self.buffer.zeros(0, self.buffer.size):
                return position, self.buffer.size
            position += step
        return None
