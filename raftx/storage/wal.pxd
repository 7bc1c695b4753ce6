import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._core cimport Buffer, Spans
from .._sys cimport Cells, Clock, Event, File, Handoff, Runner

cdef int CELL_BATCH_ENTRIES, CELL_BYTES, CELL_DONE, CELL_ERROR, CELL_LAST_END, CELL_LAST_START, CELL_SYNC_NS
cdef int CELL_SYNCS
cdef uint64_t ROW_STOP
cdef uint32_t BATCH_MAGIC, KIND_ENTRIES
cdef uint64_t BATCH_HEADER, BLOCK, SECTOR, RECORD_HEADER, ZERO_BELOW, ZERO_STEP
cdef int64_t OPERATION_WRITE, OPERATION_SYNC, OPERATION_ZERO, OPERATION_SEGMENT

cdef uint32_t zero_sectors(Buffer buffer, uint64_t size) noexcept nogil

@cython.final
cdef class Wal(Runner):
    cdef readonly File file
    cdef readonly uint64_t segment, position, size, zeroed, number, incarnation, segment_bytes
    cdef readonly uint32_t chain
    cdef readonly int64_t failed
    cdef readonly uint64_t batches, bytes_written
    cdef int directory
    cdef Buffer staging, head
    cdef Clock clock
    cdef Handoff queue
    cdef Cells cells
    cdef Event engine_event
    cdef int64_t write(self, uint32_t kind, uint64_t term, uint64_t vote, uint64_t commit, Spans spans) except -1 nogil
    cdef int64_t rotate(self, uint64_t batch) except -1 nogil
    cdef int64_t zero_ahead(self, uint64_t end) noexcept nogil
    cdef int write_rows(self, uint64_t last) except -1 nogil

@cython.final
cdef class Reader:
    cdef readonly Buffer buffer
    cdef readonly bint torn
    cdef readonly uint32_t kind, chain, count
    cdef readonly uint64_t number, length, extent, term, vote, commit, incarnation
    cdef readonly uint64_t last_index, last_term
    cdef readonly list pieces
    cdef readonly str reason
