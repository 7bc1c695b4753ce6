import cython
from libc.stdint cimport uint64_t
from ..consensus.raft cimport Raft

cdef int LEADER

@cython.final
cdef class Compaction:
    cdef Raft core
    cdef readonly uint64_t keep_entries, max_log_bytes, released
    cdef uint64_t most(self) noexcept nogil
    cdef bint release(self, uint64_t index) noexcept nogil
    @cython.locals(most=uint64_t, keep=uint64_t)
    cdef int tick(self) except -1 nogil
    @cython.locals(slowest=uint64_t, slot=int)
    cdef uint64_t slowest(self) noexcept nogil
