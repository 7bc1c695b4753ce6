import cython
from libc.stdint cimport int64_t, uint64_t
from ..consensus.raft cimport Raft
from ..storage.writes cimport DiskGauges
from .peers cimport PeerTable

cdef int LEADER, MSG_APP, MSG_TIMEOUT_NOW, MSG_TRANSFER_LEADER
cdef int PLACES, ROOM_UNKNOWN
cdef uint64_t BATCH_HEADER, BLOCK, UNDER_WAY

@cython.final
cdef class Room:
    cdef Raft core
    cdef DiskGauges disk
    cdef PeerTable peers
    cdef readonly bint full, known
    cdef int64_t[::1] others
    cdef uint64_t[::1] sizes
    cdef readonly uint64_t under_way, durable, not_taken
    cdef int64_t waited
    cdef uint64_t blocks(self, uint64_t size) noexcept nogil
    cdef void handed_over(self, uint64_t number, uint64_t size) noexcept nogil
    cdef void look(self, uint64_t durable) noexcept nogil
    cdef bint refuses(self, uint64_t size) noexcept nogil
    cdef bint takes(self, int kind, uint64_t count, uint64_t size) noexcept nogil
    cdef bint fits(self, uint64_t size) noexcept nogil
    cdef void heard(self, int place, bint full) noexcept nogil
    cdef bint is_full(self, uint64_t id) noexcept nogil
    @cython.locals(slot=int, best=uint64_t, to=uint64_t)
    cdef uint64_t successor(self) noexcept nogil
    @cython.locals(to=uint64_t)
    cdef int tick(self) except -1 nogil
