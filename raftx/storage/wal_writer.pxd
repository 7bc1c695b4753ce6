import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._native.memory cimport Buffer, Spans
from .._native.files cimport Directory, File
from .._native.threads cimport Clock, Event, Runner
from . cimport wal_header, wal_room
from .reserve cimport Reserve
from .wal_batch cimport Batch
from .writes cimport BaseQueue, DiskGauges, WriteQueue

cdef int WAIT
cdef int RESERVE_CODE, RESERVE_FAILED, RESERVE_MAKING, RESERVE_READY, RESERVE_TROUBLE
cdef uint32_t BATCH_IN_DOUBT, KIND_ENTRIES, MARK_SLOTS
cdef uint64_t BLOCK, SECTOR, ZERO_BELOW, ZERO_STEP
cdef int64_t OPERATION_WRITE, OPERATION_SYNC, OPERATION_ZERO, OPERATION_SEGMENT, OPERATION_MARK, OPERATION_PLACE
cdef int64_t ASK_NS, CHECK_NS, MARK_IDLE_NS, PAUSE_NS
cdef int STEP_NONE, STEP_CLAIM, STEP_CREATE, STEP_MAKE_DURABLE, STEP_FIT, STEP_MARK_SYNC, STEP_HEAD
cdef int STEP_BEGIN, STEP_WRITE, STEP_ZERO, STEP_SYNC, STEP_MARK, STEP_SETTLE

@cython.final
cdef class Wal(Runner):
    cdef readonly File file, mark
    cdef readonly Reserve reserve
    cdef readonly uint64_t segment, write_offset, size, zeroed_to, batch_number, incarnation
    cdef readonly uint32_t previous_crc
    cdef readonly int64_t failed
    cdef readonly uint64_t base, restored, oldest, kept_from, first, last_index
    cdef readonly uint64_t batches, bytes_written
    cdef readonly bint marking, unsettled, is_new
    cdef readonly int step
    cdef bint patient, stopping
    cdef uint64_t handed
    cdef int64_t started, again, written_at, next_check
    cdef Directory directory
    cdef Batch batch
    cdef Buffer segment_header, slot, highest
    cdef Clock clock, stopwatch
    cdef public int64_t spin_ns
    cdef WriteQueue queue
    cdef BaseQueue bases
    cdef DiskGauges gauges
    cdef Event engine_event
    cdef int take(self) except -1 nogil
    cdef int take_due(self) except -1 nogil
    cdef int finish(self) noexcept nogil
    cdef int64_t rest_time(self) noexcept nogil
    @cython.locals(until=int64_t)
    cdef bint spin(self) noexcept nogil
    cdef bint has_news(self) noexcept nogil
    cdef bint is_stopped(self) noexcept nogil
    cdef int stage(self, uint32_t kind, uint64_t term, uint64_t vote, uint64_t commit, uint32_t flags,
                   Spans spans) except -1 nogil
    cdef int seal(self) noexcept nogil
    cdef int note_durable(self) noexcept nogil
    cdef int take_base(self) except -1 nogil
    cdef int plan_segment(self) except -1 nogil
    cdef int work(self) noexcept nogil
    cdef int attempt_batch(self) noexcept nogil
    cdef int zero_ahead(self, uint64_t end) noexcept nogil
    cdef int put_mark(self, uint32_t slot) noexcept nogil
    cdef int sync_mark(self) noexcept nogil
    cdef int attempt_segment(self) noexcept nogil
    cdef int fit(self, uint64_t size) noexcept nogil
    cdef int put_header(self) noexcept nogil
    cdef int begin_segment(self) noexcept nogil
    cdef int segment_begun(self) noexcept nogil
    cdef int sync_late_mark(self) noexcept nogil
    cdef int64_t reserve_failure(self, int code) noexcept nogil
    cdef int64_t check(self) noexcept nogil
    @cython.locals(making=cython.bint)
    cdef bint may_pause(self, int code) noexcept nogil
    cdef int pause(self, int code) noexcept nogil
    cdef int over(self) noexcept nogil
    cdef int look_at_room(self) noexcept nogil
    cdef int fail(self, int code) noexcept nogil
