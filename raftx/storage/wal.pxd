import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._native.memory cimport Buffer, Spans
from .._native.files cimport Directory, File
from .._native.threads cimport Cells, Clock, Event, Handoff, Runner
from .reserve cimport Reserve

cdef int CELL_BATCH_ENTRIES, CELL_BYTES, CELL_DONE, CELL_ERROR, CELL_LAST_END, CELL_LAST_START, CELL_SHORTAGE
cdef int CELL_SYNC_NS, CELL_SYNCS, RESERVE_CODE, RESERVE_FAILED, RESERVE_READY, RESERVE_TROUBLE
cdef uint64_t ROW_IN_DOUBT, ROW_STOP
cdef uint32_t BATCH_MAGIC, BATCH_IN_DOUBT, KIND_ENTRIES
cdef uint64_t BATCH_HEADER, BLOCK, SECTOR, RECORD_HEADER, ZERO_BELOW, ZERO_STEP
cdef uint64_t HEAD_CHAIN, HEAD_FIRST, HEAD_SEGMENT, HEAD_SIZE
cdef uint64_t MARK_CHAIN, MARK_NUMBER, MARK_POSITION, MARK_SEGMENT, MARK_SLOT
cdef int64_t OPERATION_WRITE, OPERATION_SYNC, OPERATION_ZERO, OPERATION_SEGMENT, OPERATION_MARK, OPERATION_PLACE
cdef int64_t CHECK_NS, MARK_IDLE_NS, PAUSE_NS

cdef uint32_t zero_sectors(Buffer buffer, uint64_t size) noexcept nogil

@cython.final
cdef class Wal(Runner):
    cdef readonly File file, mark
    cdef readonly Reserve reserve
    cdef readonly uint64_t segment, position, size, zeroed, number, incarnation
    cdef readonly uint32_t chain
    cdef readonly int64_t failed
    cdef readonly uint64_t batches, bytes_written
    cdef readonly bint marking, unsettled
    cdef bint patient, stopping, short
    cdef int64_t written_at, next_check
    cdef Directory directory
    cdef Buffer staging, head, slot
    cdef Clock clock
    cdef Handoff queue
    cdef Cells cells
    cdef Event engine_event
    cdef int do_due(self) noexcept nogil
    cdef int end(self) noexcept nogil
    cdef int published(self, int64_t code) noexcept nogil
    cdef int write_rows(self, uint64_t last) except -1 nogil
    cdef int64_t write(self, uint32_t kind, uint64_t term, uint64_t vote, uint64_t commit, uint32_t flags,
                       Spans spans) except -1 nogil
    cdef int64_t append(self, uint32_t kind, uint64_t term, uint64_t vote, uint64_t commit, uint32_t flags,
                        Spans spans) except -1 nogil
    cdef int put(self, File file, Buffer buffer, uint64_t size, uint64_t position) noexcept nogil
    cdef int zero_ahead(self, uint64_t end) noexcept nogil
    cdef int64_t write_mark(self, uint32_t slot) noexcept nogil
    cdef int64_t settle(self) noexcept nogil
    cdef int64_t rotate(self, uint64_t batch) noexcept nogil
    cdef int fit(self, uint64_t size) noexcept nogil
    cdef int64_t check(self) noexcept nogil
    cdef bint pause(self, int code) noexcept nogil
    cdef int over(self) noexcept nogil

@cython.final
cdef class Reader:
    cdef readonly Buffer buffer
    cdef readonly bint torn, in_doubt
    cdef readonly uint32_t kind, chain, count
    cdef readonly uint64_t number, length, extent, term, vote, commit, incarnation
    cdef readonly uint64_t last_index, last_term
    cdef readonly list pieces
    cdef readonly str reason
