"""Wal: the writing end of the log. Batches of entry records in preallocated segments, one fdatasync a batch.

It works in rounds without the GIL, and a round waits for nothing: it goes as far as it can now, and the next one goes
on there. What a directory is, who owns it and how it is recovered stands in file.py and recovery.py; every byte is
described in docs/wal-format.md.

Why the format is as it is: a batch begins at a 4 KiB boundary and no block is ever written twice, so
that a torn write cannot damage what was acknowledged before it. What follows the last batch is zero;
so a torn batch shows more zero sectors than its header counted. Which batches were acknowledged says the
mark, a file of its own: it is written after a batch is durable and before anybody is told so.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._native.files import WAIT, File
from .._native.memory import Buffer, Spans
from .._native.threads import Clock, Event, Runner
from . import wal_header, wal_room
from .protocol import (
    RESERVE_CODE,
    RESERVE_FAILED,
    RESERVE_MAKING,
    RESERVE_READY,
    RESERVE_TROUBLE,
)
from .reserve import Reserve
from .wal_batch import Batch
from .wal_format import (
    BATCH_IN_DOUBT,
    BLOCK,
    KIND_ENTRIES,
    MARK_SLOTS,
    OPERATION_MARK,
    OPERATION_PLACE,
    OPERATION_SEGMENT,
    OPERATION_SYNC,
    OPERATION_WRITE,
    OPERATION_ZERO,
    SECTOR,
    ZERO_BELOW,
    ZERO_STEP,
    Mark,
    Owner,
    encode_mark,
)
from .writes import BASES, BaseQueue, DiskGauges, WriteQueue

MARK_IDLE_NS = 30_000_000  # without a batch for so long, the mark is synced
CHECK_NS = 500_000_000  # how often it is looked whether directory and files still have their names
PAUSE_NS = 100_000_000  # between two attempts at something that is short, and before the reserve is asked again
ASK_NS = 1_000_000  # before a disk is asked again whether it has finished

# What is to be done next of what is under way, in the order in which it is done
STEP_NONE = 0  # nothing is under way
STEP_CLAIM = 1  # the batch needs another segment: take the one in reserve
STEP_CREATE = 2  # there is none: make it here
STEP_MAKE_DURABLE = 3  # its length and its name
STEP_FIT = 4  # it must be long enough for the batch
STEP_MARK_SYNC = 5  # a mark that names a batch of the segment in use is on disk before the next one is begun
STEP_HEAD = 6  # write its header, which is synced with the batch
STEP_BEGIN = 7  # go on in it
STEP_WRITE = 8  # write the batch
STEP_ZERO = 9  # zeros behind it
STEP_SYNC = 10
STEP_MARK = 11  # write the mark
STEP_SETTLE = 12  # sync the mark; nothing follows


class Wal(Runner):
    """Appends batches. After the first failure nothing is written any more: ``failed`` says what it was.

    ``begin_serving`` and then ``run``, or rounds, serve an engine; ``py_write`` is for callers without one. One of them
    only.

    Three things end a round before what is under way is done: something is short (it is tried again from ``again`` on),
    the reserve's loop is making the segment that is needed, or the disk has not finished (WAIT). The batch stays in
    ``batch`` and ``step`` where it is; nothing that comes after it is taken from the engine meanwhile.
    """

    def __init__(self, file: File, mark: File, reserve: Reserve, head: bytes, owner: Owner) -> None:
        self.file = file
        self.mark = mark
        self.reserve = reserve
        reserve.mark = mark
        self.directory = reserve.directory
        #: the header block of a segment; number, chain, size and checksum are filled in when one is begun
        self.segment_header = Buffer()
        self.segment_header.py_put(head)
        #: bases that moved on: rows (base), and the header that says so in a span each; the next segment has the last
        self.bases = BaseQueue(Event(), BASES)
        #: entries up to here are not needed any more, as the header of the next segment says
        self.base = 0
        #: behind which the log was begun anew in this life; durable, unlike ``base``
        self.restored = 0
        #: the first segment with entries behind the base, as the header of the next segment says, and as that of this
        #: one does. Invariant: what the latter and the mark need is there
        self.oldest = self.kept_from = 1
        #: the highest index of an entry in each segment from ``first`` on, 8 bytes each
        self.highest = Buffer()
        self.first = 1
        #: of the last entry that is durable
        self.last_index = 0
        #: one slot of the mark
        self.slot = Buffer()
        self.slot.py_put(encode_mark(Mark(0, 0, 0, 0), 0, owner))
        self.batch = Batch()
        self.clock = Clock()
        self.segment = self.batch_number = self.incarnation = 0
        self.write_offset = BLOCK
        #: Invariant: what lies from here to the end of the file was not written since the file was made; before it, and
        #: behind ``write_offset``, are zeros
        self.zeroed_to = BLOCK
        self.size = 0
        self.previous_crc = 0
        self.failed = 0
        self.batches = self.bytes_written = 0
        #: False until the mark is known to be whole; then: written after every batch
        self.marking = False
        #: the mark was written and not synced
        self.unsettled = False
        #: the segment was begun and has no batch that is durable. Invariant: no later one is there then
        self.is_new = False
        self.step = STEP_NONE
        #: the batch under way was handed over by the engine as this one, at this time; 0: none was
        self.handed = self.started = 0
        #: when what is short is tried again; 0: nothing is short
        self.again = 0
        #: somebody calls rounds: what is short is tried again, until the engine says stop
        self.patient = self.stopping = False
        self.written_at = self.next_check = 0
        #: for so many nanoseconds it is looked for news before its thread sleeps
        self.spin_ns = 0
        self.stopwatch = Clock()

    def resume(self, segment: int, offset: int, size: int, number: int, crc: int, incarnation: int) -> None:
        """Go on behind what a recovery found."""
        self.segment = segment
        self.write_offset = self.zeroed_to = offset
        self.size = size
        self.batch_number = number
        self.previous_crc = crc
        self.incarnation = incarnation

    def resume_log(self, first: int, oldest: int, base: int, last_index: int, highest: Sequence[int]) -> None:
        """What a recovery found besides: the first segment that is there, and the highest entry of each from it on."""
        self.first = first
        self.reserve.begin_at(first)
        self.oldest = self.kept_from = oldest
        self.base = base
        self.last_index = last_index
        self.highest.py_put(b"".join([index.to_bytes(8, "little") for index in highest]))

    def begin_serving(self, queue: WriteQueue, gauges: DiskGauges, engine_event: Event, clock: Clock) -> None:
        """Serve an engine from now on, beside whatever runs ``reserve``. Before the first round."""
        self.queue = queue
        self.gauges = gauges
        self.engine_event = engine_event
        self.clock = clock
        self.reserve.writer = queue.event
        self.patient = True
        self.reserve.begin_serving(self.write_offset > self.size // 2)
        self.look_at_room()

    def end_serving(self) -> None:
        """After the last round: ``reserve`` ends, too."""
        self.patient = False
        self.reserve.stop()

    # --- rounds ----------------------------------------------------------------------------------

    def round(self) -> int:
        """Go on with what is under way, else with what the engine has handed over, else with what is due.

        0 after a failure, and when the engine has said stop and everything before that is done.
        """
        if self.step == STEP_NONE:
            self.take()
        elif self.again != 0 and self.clock.now() < self.again and not self.is_stopped():
            return 1
        self.work()
        if self.failed == 0 and self.step == STEP_NONE:
            if self.handed != 0:
                self.finish()
            if self.stopping and self.unsettled and self.failed == 0:
                self.step = STEP_SETTLE
                self.work()
        if self.failed != 0:
            self.gauges.set_failure(self.failed)
            self.engine_event.wake()
            return 0
        return 0 if self.stopping and self.step == STEP_NONE else 1

    def take(self) -> int:
        """Begin what the engine has handed over: all that came during the last sync is one batch.

        Its hard state is that of the newest row. Without a row: what is due.
        """
        # Asked first: what is taken then are the last rows.
        ended = self.queue.is_ended()
        rows = self.queue.take()
        self.stopping = ended
        if rows == 0:
            return 0 if ended else self.take_due()
        row = rows - 1
        self.started = self.clock.now()
        self.handed = self.queue.number(row)
        self.stage(
            KIND_ENTRIES,
            self.queue.term(row),
            self.queue.vote(row),
            self.queue.commit(row),
            BATCH_IN_DOUBT if self.queue.in_doubt(row) else 0,
            self.queue.taken,
        )
        return 0

    def take_due(self) -> int:
        """Nothing is to be written: look at the names, or sync the mark, if it is time."""
        now = self.clock.now()
        if self.bases.waiting():
            self.take_base()
        self.look_at_room()
        if now >= self.next_check:
            self.check()
        elif self.unsettled and now >= self.written_at + MARK_IDLE_NS:
            self.step = STEP_SETTLE
        return 0

    def finish(self) -> int:
        """What the engine handed over is durable: tell it so, if the names still lead to what was written."""
        ended = self.clock.now()
        number = self.handed
        self.handed = 0
        if ended >= self.next_check and self.check() != 0:
            return 0
        self.written_at = ended
        self.gauges.syncs += 1
        self.gauges.written = self.bytes_written
        self.gauges.entries += self.batch.count
        self.gauges.sync_ns += ended - self.started
        self.look_at_room()
        self.gauges.set_durable(number)
        self.engine_event.wake()
        if self.write_offset >= self.size // 2:
            self.reserve.fill(self.segment + 1)
        return 0

    def rest(self) -> int:
        """Sleep until a round would find something; before that, look for it for a while, if told to."""
        if self.spin_ns != 0 and self.spin():
            return 0
        timeout = self.idle_for()
        if timeout != 0:
            self.queue.event.wait(timeout)
            self.gauges.wakeups += 1
            if not self.has_news() and self.rest_time() != 0:
                self.gauges.wakeups_idle += 1
        return 0

    def idle_for(self) -> int:
        """How long it may sleep unless something comes, once the sleep is announced: as ``rest_time``; 0: no."""
        self.queue.event.prepare()
        timeout = 0 if self.has_news() else self.rest_time()
        if timeout == 0:
            self.queue.event.cancel()
        return timeout

    def spin(self) -> bool:
        """Look again and again, by the system's clock: whether something has come."""
        until = self.stopwatch.now() + self.spin_ns
        while not self.has_news():
            if self.stopwatch.now() >= until:
                return False
        return True

    def rest_time(self) -> int:
        """How long nothing is due, if nothing comes: nanoseconds, -1 for ever."""
        if self.again != 0:
            return self.clock.until(self.again)
        if self.step == STEP_CLAIM:
            return PAUSE_NS
        if self.step != STEP_NONE:
            return ASK_NS
        due = self.next_check
        if self.unsettled:
            due = min(due, self.written_at + MARK_IDLE_NS)
        return self.clock.until(due)

    def has_news(self) -> bool:
        """Whether something has come that a round would go on with."""
        if self.step == STEP_NONE:
            return self.queue.waiting() or self.queue.is_ended()
        if self.step == STEP_CLAIM:
            return not self.reserve.is_making()
        return self.again != 0 and self.is_stopped()

    def is_stopped(self) -> bool:
        """Whether the engine has said stop: nobody waits for the acknowledgement any more."""
        return self.stopping or self.queue.is_ended()

    # --- one batch -------------------------------------------------------------------------------

    def stage(self, kind: int, term: int, vote: int, commit: int, flags: int, spans: Spans) -> int:
        """Begin a batch: it stands in ``batch`` until it is durable."""
        if self.bases.waiting():
            self.take_base()
        self.batch.fill(spans, kind, self.segment_header)
        self.batch.describe(term, vote, commit, flags)
        end = wal_room.end_for(self.size, self.reserve.segment_bytes, self.batch.kind, self.batch.size)
        if self.write_offset + self.batch.size > end:
            self.plan_segment()
            self.step = STEP_CLAIM
        else:
            self.seal()
        return 0

    def seal(self) -> int:
        """The batch has its place: fill in what depends on it, and the checksum."""
        wal_header.seal_batch(self.batch.head, self.previous_crc, self.batch_number + 1, self.incarnation, self.segment)
        self.step = STEP_WRITE
        return 0

    def work(self) -> int:
        """Go on with what is under way as far as that goes now; done when ``step`` is NONE, or ``failed`` is not 0."""
        while self.step != STEP_NONE and self.failed == 0:
            code = self.attempt_batch() if self.step >= STEP_WRITE else self.attempt_segment()
            if code == 0:
                if self.again != 0:
                    self.over()
            elif code == WAIT:
                # Who has no rounds asks again at once, as often as it takes.
                if self.patient:
                    return 0
            elif self.may_pause(code):
                self.pause(code)
                return 0
            else:
                self.fail(code)
        return 0

    def attempt_batch(self) -> int:
        """One step of a batch that has its place: 0 and ``step`` is the next one, or -errno, or WAIT."""
        code = 0
        if self.step == STEP_WRITE:
            code = self.batch.write(self.file, self.write_offset)
            if code == 0:
                self.step = STEP_ZERO
        elif self.step == STEP_ZERO:
            code = self.zero_ahead(self.write_offset + self.batch.size)
            if code == 0:
                self.step = STEP_SYNC
        elif self.step == STEP_SYNC:
            code = self.file.datasync()
            if code == 0:
                self.write_offset += self.batch.size
                self.batch_number += 1
                self.previous_crc = self.batch.crc()
                self.batches += 1
                self.bytes_written += self.batch.size
                self.note_durable()
                self.batch.clear()
                self.step = STEP_MARK if self.marking else STEP_NONE
        elif self.step == STEP_MARK:
            code = self.put_mark(self.batch_number % MARK_SLOTS)
            if code == 0:
                self.step = STEP_NONE
                if self.is_new:
                    self.segment_begun()
        else:
            code = self.sync_mark()
            if code == 0:
                self.step = STEP_NONE
        return code

    def note_durable(self) -> int:
        """The entries of the batch are in this segment, and alone count when the log begins anew."""
        if self.batch.base != 0:
            self.base = self.restored = self.batch.base
            self.segment_header.swap(self.batch.header)
            for segment in range(self.oldest, self.segment + 1):
                self.highest.set_u64(8 * (segment - self.first), 0)
        if self.batch.last != 0:
            self.last_index = self.batch.last
            at = 8 * (self.segment - self.first)
            self.highest.set_u64(at, max(self.highest.get_u64(at), self.batch.highest))
        return 0

    def zero_ahead(self, end: int) -> int:
        """Write zeros behind ``end`` when a small batch has used up those that were there. 0 or -errno."""
        if end <= self.zeroed_to or self.batch.size >= ZERO_BELOW:
            return 0
        target = min(self.size, max(end, max(self.zeroed_to, self.write_offset) + ZERO_STEP))
        if target > end:
            code = self.file.zero(end, target - end)
            if code != 0:
                return code
        self.zeroed_to = target
        return 0

    # --- the mark --------------------------------------------------------------------------------

    def put_mark(self, slot: int) -> int:
        """Say that the newest batch is durable, before anybody is told; read after a crash, and later when synced."""
        wal_header.fill_mark(self.slot, self.batch_number, self.segment, self.write_offset, self.previous_crc, slot)
        code = self.mark.write_at(self.slot, 0, SECTOR, slot * BLOCK)
        if code == 0:
            self.unsettled = True
        return code

    def sync_mark(self) -> int:
        """Sync the mark, if there is something to sync. It may lag behind on disk: it is never ahead."""
        if self.patient and self.reserve.is_settling():
            return WAIT
        code = self.mark.datasync() if self.unsettled else 0
        if code == 0:
            self.unsettled = False
            if self.marking and self.write_offset > BLOCK:
                # The hard state is in this segment, and so is what the mark names: those before it may go.
                self.reserve.drop(self.kept_from)
                while not self.patient and self.reserve.drop_next() != 0:
                    pass
        return code

    # --- segments and names ------------------------------------------------------------------------

    def attempt_segment(self) -> int:
        """One step on the way to the next segment, which is durable, with its name, before anything is written into it.

        0 and ``step`` is the next one, or -errno, or WAIT.
        """
        code = 0
        if self.step == STEP_CLAIM:
            state = self.reserve.claim()
            if state == RESERVE_MAKING:
                return WAIT
            self.step = STEP_FIT if state in (RESERVE_READY, RESERVE_FAILED) else STEP_CREATE
        elif self.step == STEP_CREATE:
            code = self.reserve.create(self.segment + 1)
            if code == 0:
                self.step = STEP_MAKE_DURABLE
        elif self.step == STEP_MAKE_DURABLE:
            code = self.reserve.make_durable()
            if code == 0:
                self.step = STEP_FIT
        elif self.step == STEP_FIT:
            code = self.fit(BLOCK + self.batch.size)
        elif self.step == STEP_MARK_SYNC:
            code = self.sync_late_mark()
            if code == 0:
                self.step = STEP_HEAD
        elif self.step == STEP_HEAD:
            code = self.put_header()
            if code == 0:
                self.step = STEP_BEGIN
        else:
            self.begin_segment()
        return code

    def take_base(self) -> int:
        """The base has moved: the next segment's header will say so. Not one from before the log began anew."""
        last = self.bases.take() - 1
        if self.bases.base(last) <= self.base:
            return 0
        self.base = self.bases.base(last)
        self.segment_header.clear()
        self.segment_header.put(self.bases.taken.data_at(last), self.bases.taken.size_at(last))
        return 0

    def plan_segment(self) -> int:
        """Another segment will be begun: from which one on there are entries behind the base."""
        while self.highest.size < 8 * (self.segment + 2 - self.first):
            self.highest.fill(8)
        while self.oldest <= self.segment and self.highest.get_u64(8 * (self.oldest - self.first)) <= self.base:
            self.oldest += 1
        return 0

    def fit(self, size: int) -> int:
        """Make the segment in reserve long enough for ``size`` bytes, unless it is; 0 or -errno."""
        code = self.reserve.cells.get(RESERVE_CODE)
        if code != 0:
            return code
        size += wal_room.kept(self.reserve.segment_bytes)
        if self.reserve.size >= size:
            self.step = STEP_MARK_SYNC
            return 0
        code = self.reserve.grow(size)
        if code == 0:
            self.step = STEP_MAKE_DURABLE
        return code

    def sync_late_mark(self) -> int:
        """The mark of when the segment in use was begun is durable already, or becomes so. 0, -errno or WAIT."""
        if self.reserve.has_lost_mark():
            return self.reserve.cells.get(RESERVE_CODE)
        if self.reserve.take_back():
            return self.sync_mark()
        return WAIT if self.reserve.is_settling() else 0

    def put_header(self) -> int:
        """The header of the segment in reserve; 0 or -errno."""
        segment, first, size = self.segment + 1, self.batch_number + 1, self.reserve.size
        wal_header.fill_head(self.segment_header, segment, self.previous_crc, first, size, self.oldest)
        return self.reserve.file.write_at(self.segment_header, 0, BLOCK, 0)

    def begin_segment(self) -> int:
        """Go on in the segment that was in reserve."""
        self.size = self.reserve.size
        self.write_offset = BLOCK
        self.zeroed_to = max(BLOCK, self.reserve.filled)
        self.reserve.hand_over(self.file)
        self.segment += 1
        self.kept_from = self.oldest
        self.is_new = True
        self.bytes_written += BLOCK
        if self.check() == 0:
            self.seal()
        return 0

    def segment_begun(self) -> int:
        """Its header and its first batch are durable, and the mark names that batch: ask for what was put off."""
        self.is_new = False
        if self.patient:
            self.reserve.settle(self.kept_from)
            self.reserve.want(self.segment + 1)
        else:
            self.step = STEP_SETTLE
        return 0

    def check(self) -> int:
        """Whether the names still lead to what is open: what is written into a file without a name is lost.

        Also the time to ask for the next segment, and to see what became of the last attempt. 0 or a failure.
        """
        if self.failed != 0:
            return self.failed
        code = self.directory.check()
        if code == 0:
            code = self.file.named(self.directory)
        if code == 0 and self.marking:
            code = self.mark.named(self.directory)
        if code != 0:
            self.failed = OPERATION_PLACE << 32 | -code
        if self.patient:
            self.next_check = self.clock.now() + CHECK_NS
            if not self.is_new:
                self.reserve.want(self.segment + 1)
            self.gauges.shortage = self.reserve.cells.get(RESERVE_TROUBLE)
            code = self.reserve.cells.get(RESERVE_CODE)
            if code != 0 and self.failed == 0:
                self.failed = self.reserve_failure(code)
        return self.failed

    # --- shortages and failures --------------------------------------------------------------------

    def may_pause(self, code: int) -> bool:
        """Whether to try again later what failed with ``code`` (-errno): it is short and may come back.

        Not a sync: after it has failed nobody knows what is on disk. Not a write that finds no room, in a file that has
        it reserved. Not when the engine has said stop.
        """
        if not self.patient or self.is_stopped():
            return False
        making = self.step == STEP_CREATE or self.step == STEP_FIT
        if self.reserve.is_full(code):
            return making and self.reserve.cells.get(RESERVE_CODE) == 0
        if not self.reserve.is_shortage(code):
            return False
        if making or self.step == STEP_HEAD:
            return self.reserve.cells.get(RESERVE_CODE) == 0
        return self.step == STEP_WRITE or self.step == STEP_ZERO or self.step == STEP_MARK

    def pause(self, code: int) -> int:
        """Something is short: remember when to try again, and say so."""
        self.again = self.clock.now() + PAUSE_NS
        self.reserve.tell(-code)
        self.gauges.shortage = -code
        return self.look_at_room()

    def look_at_room(self) -> int:
        """Publish whether the next segment can be had, and what is left of this one."""
        usual = self.reserve.segment_bytes
        room = wal_room.room_for(self.size, usual, self.write_offset, 2 * BLOCK)
        last_room = wal_room.room_for(self.size, usual, self.write_offset, BLOCK)
        self.gauges.set_room(self.reserve.full(), room, last_room)
        return 0

    def over(self) -> int:
        """What was short is there again."""
        self.again = 0
        self.gauges.shortage = 0
        self.reserve.tell(0)
        return self.look_at_room()

    def fail(self, code: int) -> int:
        """The step under way has failed with ``code`` (-errno), now and for ever."""
        step = self.step
        if step <= STEP_FIT:
            # Where there is no directory any more, nothing can be made in it. A new log has no file to look for yet.
            if self.segment == 0 or self.check() == 0:
                self.failed = self.reserve_failure(code)
        elif step == STEP_HEAD:
            self.failed = OPERATION_SEGMENT << 32 | -code
        elif step == STEP_WRITE:
            self.failed = OPERATION_WRITE << 32 | -code
        elif step == STEP_ZERO:
            self.failed = OPERATION_ZERO << 32 | -code
        elif step == STEP_SYNC:
            self.failed = OPERATION_SYNC << 32 | -code
        else:
            self.failed = OPERATION_MARK << 32 | -code
        return 0

    def reserve_failure(self, code: int) -> int:
        """The failure of a reserve that has failed with ``code`` (-errno)."""
        return (OPERATION_MARK << 32 if self.reserve.has_lost_mark() else OPERATION_SEGMENT << 32) | -code

    # --- for Python ------------------------------------------------------------------------------

    def py_write(self, kind: int, term: int, vote: int, commit: int, spans: Spans, flags: int = 0) -> int:
        """Write one batch: 0 when it is durable, else errno | operation << 32, now and ever after.

        For callers without rounds: it returns when it is done, and what is short is a failure.
        """
        if self.failed == 0:
            self.stage(kind, term, vote, commit, flags, spans)
            self.work()
        return self.failed

    def py_room(self, batch: int) -> int:
        """Bytes that are left in the open segment for batches of that size."""
        return wal_room.room_for(self.size, self.reserve.segment_bytes, self.write_offset, batch)

    def py_compact(self, base: int, head: bytes) -> bool:
        """Entries up to ``base`` are not needed any more; ``head`` is a segment's header that says so. Any thread.

        False: several of them wait already; say it again later.
        """
        return self.bases.py_put_base(head, base)

    def py_begin_marking(self) -> int:
        """From now on the mark is written: at once both slots, synced. 0 or a failure."""
        self.marking = True
        self.is_new = False
        for slot in range(MARK_SLOTS):
            code = self.put_mark(slot)
            if code != 0 and self.failed == 0:
                self.failed = OPERATION_MARK << 32 | -code
        return self.py_settle()

    def py_settle(self) -> int:
        """Sync the mark, unless something else is under way; 0 or a failure. For callers without rounds."""
        self.patient = False
        if self.step == STEP_NONE and self.failed == 0:
            self.step = STEP_SETTLE
            self.work()
        return self.failed
