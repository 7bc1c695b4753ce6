import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._native.memory cimport Spans
from .._native.outbox cimport Message
from ..consensus.raft cimport Raft
from .channels cimport ApplyQueue, Gauges
from .peers cimport PeerTable

cdef int MSG_PRE_VOTE, MSG_PRE_VOTE_RESP, PLACES
cdef uint32_t FLAG_REJECT
cdef int64_t TELL_TIMEOUTS, FRESH_TIMEOUTS

@cython.final
cdef class Unled:
    cdef Raft core
    cdef PeerTable peers
    cdef ApplyQueue applies
    cdef Gauges gauges
    cdef Spans empty_spans
    cdef int64_t tick_ms, told_ticks, quiet
    cdef readonly int64_t ticks, without
    cdef uint64_t[::1] leads, terms
    cdef int64_t[::1] said_at, refused_at

    @cython.locals(place=int)
    cdef bint takes(self, Message m) except -1 nogil
    cdef int tell(self, Message m) except -1 nogil
    cdef int tick(self, bint begun) except -1 nogil
    @cython.locals(
        since=int64_t, lead=uint64_t, term=uint64_t, by=int64_t, heard=int64_t, voters=int64_t, mine=int64_t,
        refused=int64_t, slot=int, place=int
    )
    cdef void look(self) noexcept nogil
