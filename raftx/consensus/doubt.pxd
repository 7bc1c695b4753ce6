import cython
from libc.stdint cimport uint64_t
from .. cimport _core
from .reads cimport PendingReads
from .tracker cimport Tracker

cdef int MEMBERS_MAX

@cython.final
cdef class Doubts:
    cdef uint64_t[::1] nonce, position, floor
    cdef readonly int waiting
    cdef bint known

    cdef void reset(self) noexcept nogil
    cdef void begin(self, int slot, uint64_t nonce, uint64_t position, uint64_t floor) noexcept nogil
    cdef void answer(self, int slot) noexcept nogil
    cdef bint confirmed(self, int slot, PendingReads reads, Tracker tracker) noexcept nogil
    cdef bint vouched(self, int slot, uint64_t voters, PendingReads reads) noexcept nogil
