import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.outbox cimport Message
from .._core cimport Peers
from .._native.threads cimport Cells

cdef int CHANGES, FIELDS, VERSION, ID, ELECTION_MS, HEARTBEAT_MS, MAX_ENTRY, MAX_FRAME, OPTIONS, MEMBERS_MAX

@cython.final
cdef class Hellos:
    cdef readonly Cells cells
    @cython.locals(first=int, version=int64_t)
    cdef int take(self, Message m, Peers peers) noexcept nogil
    @cython.locals(there=uint64_t)
    cdef int row_of(self, uint64_t id, Peers peers) noexcept nogil
    @cython.locals(there=uint64_t)
    cdef int64_t said(self, uint64_t id, int field, Peers peers) noexcept nogil
