import cython
from libc.stdint cimport uint32_t, uint64_t
from .. cimport _core
from .._core cimport Peers
from .._native.outbox cimport Message, Outbox
from . cimport quorum
from .configuration cimport Configuration
from .departed cimport Departed
from .tracker cimport Tracker

cdef int MEMBERS_MAX, MSG_DOUBT, MSG_READ_INDEX
cdef uint64_t NUMBER_MAX

@cython.final
cdef class PendingReads:
    cdef readonly uint64_t confirmed
    cdef readonly Outbox unconfirmed
    cdef uint64_t[::1] positions
    cdef readonly Departed departed
    cdef uint64_t[::1] before

    cdef void reset(self) noexcept nogil
    cdef void move(self, Peers peers, Configuration to) noexcept nogil
    cdef uint64_t last(self) noexcept nogil
    cdef uint64_t context(self) noexcept nogil
    cdef int add(self, uint64_t index, uint64_t origin, Message m) except -1 nogil
    cdef int add_row(self, uint64_t index, Outbox box, size_t row) except -1 nogil
    cdef uint64_t add_mark(self) except 0 nogil
    cdef void acknowledge(self, int slot, uint64_t position) noexcept nogil
    cdef size_t advance(self, Tracker tracker) noexcept nogil
    cdef uint64_t _majority(self, uint64_t voters, int count) noexcept nogil
