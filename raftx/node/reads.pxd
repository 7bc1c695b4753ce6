import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.memory cimport Buffer, Spans
from .._native.outbox cimport Message
from .._native.threads cimport Cells
from ..consensus cimport records
from ..consensus.raft cimport Raft
from .channels cimport ApplyQueue
from .leases cimport Leases

cdef int LEADER, MSG_READ_INDEX
cdef size_t ENTRY_HEADER, RECORD_LENGTH, QUESTION, CRC_BYTES
cdef int64_t MS

@cython.final
cdef class Reads:
    cdef Raft core
    cdef ApplyQueue applies
    cdef uint64_t life
    cdef Leases leases
    cdef Cells newest
    cdef readonly uint64_t wanted, asked, answered, looked, looked_leased, leased, served
    cdef uint64_t leader, term
    cdef int64_t ticks
    cdef uint64_t untold, index, untold_leased, index_leased
    cdef int64_t asked_at
    cdef Message message
    cdef Buffer question
    cdef Spans empty_spans

    @cython.locals(newest=uint64_t, leased=uint64_t)
    cdef bint waiting(self) noexcept nogil
    @cython.locals(cell=int, newest=uint64_t)
    cdef int want(self, uint64_t number, bint by_lease) noexcept nogil
    cdef int tick(self) noexcept nogil
    cdef int ask(self) except -1 nogil
    @cython.locals(index=uint64_t, rest=int64_t)
    cdef int serve_leased(self) noexcept nogil
    cdef bint is_lost(self) noexcept nogil
    @cython.locals(row=size_t)
    cdef int tell(self) except -1 nogil
    @cython.locals(number=uint64_t, since=int64_t)
    cdef int answer(self) noexcept nogil
