import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.memory cimport Spans
from .._native.threads cimport Cells, Handoff

cdef uint64_t IN_DOUBT
cdef int CELL_DONE, CELL_ERROR, CELL_FULL, CELL_ROOM, CELL_LAST_ROOM

@cython.final
cdef class WriteQueue(Handoff):
    cdef int put_write(
        self, Spans spans, uint64_t number, uint64_t term, uint64_t vote, uint64_t commit, bint in_doubt
    ) except -1 nogil
    cdef uint64_t number(self, size_t row) noexcept nogil
    cdef uint64_t term(self, size_t row) noexcept nogil
    cdef uint64_t vote(self, size_t row) noexcept nogil
    cdef uint64_t commit(self, size_t row) noexcept nogil
    cdef bint in_doubt(self, size_t row) noexcept nogil

@cython.final
cdef class BaseQueue(Handoff):
    cdef uint64_t base(self, size_t row) noexcept nogil

@cython.final
cdef class DiskGauges:
    cdef Cells woken
    # Written by the writer alone, read anywhere: aligned, so that each is read whole.
    cdef public int64_t syncs, written, entries, sync_ns, shortage, wakeups, wakeups_idle
    cdef uint64_t durable(self) noexcept nogil
    cdef int64_t failure(self) noexcept nogil
    cdef void set_durable(self, uint64_t number) noexcept nogil
    cdef void set_failure(self, int64_t code) noexcept nogil
    cdef int64_t full(self) noexcept nogil
    cdef uint64_t room(self) noexcept nogil
    cdef uint64_t last_room(self) noexcept nogil
    cdef void set_room(self, int64_t full, uint64_t room, uint64_t last_room) noexcept nogil
