import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.memory cimport Spans
from .._native.outbox cimport Message
from ..consensus cimport admission, records
from ..consensus.raft cimport Raft
from .channels cimport ApplyQueue, Gauges

cdef int MSG_APP_RESP, MSG_HEARTBEAT, MSG_SNAP
cdef int64_t EVIDENCE_MIN, EXPIRE_TIMEOUTS

@cython.final
cdef class Divergence:
    cdef Raft core
    cdef ApplyQueue applies
    cdef Spans empty_spans
    cdef int64_t told_ticks
    cdef readonly uint64_t lead, term, vouched
    cdef readonly uint64_t index, ours, theirs
    cdef readonly bint lacks
    cdef readonly int64_t count
    cdef int64_t since, silent, quiet
    cdef uint64_t later
    cdef readonly bint ended

    @cython.locals(at=size_t, step=size_t, index=uint64_t, term=uint64_t)
    cdef bint contradicts(self, Message m) except -1 nogil
    @cython.locals(ours=uint64_t)
    cdef bint differs(self, Message m, uint64_t index, uint64_t term) noexcept nogil
    @cython.locals(committed=uint64_t, rows=size_t, end=uint64_t)
    cdef int step(self, Message m) except -1 nogil
    cdef void beat(self, Message m) noexcept nogil
    cdef void refused(self, Message m, int reason) noexcept nogil
    @cython.locals(lead=uint64_t)
    cdef void follow(self, uint64_t sender) noexcept nogil
    cdef void note(self, Message m, uint64_t index, uint64_t ours, uint64_t theirs, bint lacks) noexcept nogil
    cdef void publish(self, Gauges gauges) noexcept nogil
    cdef int tick(self) except -1 nogil
