import cython
from libc.stdint cimport int64_t, uint64_t
from .. cimport _core
from .._native.threads cimport Cells, Clock
from ..consensus.raft cimport Raft
from .peers cimport PeerTable

cdef int LEADER, MEMBERS_MAX
cdef int VERSION, COUNT, FIRST
cdef int64_t OFF_NS, WALL_MAX

@cython.final
cdef class Clocks:
    cdef readonly Raft core
    cdef readonly PeerTable peers
    cdef readonly Clock clock
    cdef int64_t step
    cdef readonly int64_t offset
    cdef readonly uint64_t term
    cdef int64_t[::1] column
    cdef int64_t leader_ticks, all_ticks, ticks
    cdef readonly Cells cells

    @cython.locals(offset=int64_t)
    cdef int heard(self, int place, int64_t wall) noexcept nogil
    @cython.locals(now=int64_t)
    cdef uint64_t time(self) noexcept nogil
    @cython.locals(term=uint64_t, to=int64_t, other=int64_t)
    cdef int tick(self) noexcept nogil
    @cython.locals(slot=int, own=int64_t)
    cdef void fill(self) noexcept nogil
    @cython.locals(need=int, have=int, slot=int, other=int, best=int64_t, candidate=int64_t)
    cdef int64_t reached(self, uint64_t voters) noexcept nogil
    cdef bint tells_all(self) noexcept nogil
    cdef bint tells_leader(self) noexcept nogil
    @cython.locals(slot=int, count=int, at=int, before=int64_t)
    cdef int publish(self, int64_t to) noexcept nogil
    cdef bint is_off(self, int slot, int64_t to) noexcept nogil
