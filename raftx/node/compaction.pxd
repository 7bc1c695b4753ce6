import cython
from libc.stdint cimport int64_t, uint64_t
from ..consensus.raft cimport Raft
from .peers cimport PeerTable

cdef int LEADER, SNAPSHOT, PLACES
cdef int ASK_TIMEOUTS, HOLD_TIMEOUTS
cdef uint64_t HOLD_TIMES

@cython.final
cdef class Compaction:
    cdef Raft core
    cdef PeerTable peers
    cdef readonly uint64_t keep_entries, max_log_bytes, released, begin
    cdef int64_t[::1] sent_for, quiet
    cdef uint64_t[::1] wanted
    cdef readonly int64_t grace
    cdef int place_of(self, int slot) noexcept nogil
    cdef uint64_t most(self) noexcept nogil
    cdef bint release(self, uint64_t index, uint64_t applied) noexcept nogil
    @cython.locals(place=int)
    cdef void asks(self, int slot, uint64_t index) noexcept nogil
    @cython.locals(most=uint64_t, keep=uint64_t, size=uint64_t)
    cdef int tick(self) except -1 nogil
    @cython.locals(slot=int, leads=cython.bint, place=int)
    cdef int count_transfers(self) except -1 nogil
    cdef bint is_sent(self, int slot) noexcept nogil
    @cython.locals(wanted=uint64_t)
    cdef uint64_t fetched(self, int slot, uint64_t index) noexcept nogil
    @cython.locals(slowest=uint64_t, slot=int)
    cdef uint64_t slowest(self) noexcept nogil
    @cython.locals(needed=uint64_t, slot=int)
    cdef uint64_t needed(self) noexcept nogil
