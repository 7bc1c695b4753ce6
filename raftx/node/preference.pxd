import cython
from libc.stdint cimport int64_t, uint64_t
from ..consensus.raft cimport Raft
from .hello cimport Hellos
from .lag cimport Lag
from .peers cimport PeerTable
from .room cimport Room

cdef int LEADER, MSG_TRANSFER_LEADER, REPLICATE, OPTIONS
cdef int64_t READY_TIMEOUTS, PAUSE_TIMEOUTS, PAUSE_TIMEOUTS_MAX, PRIORITY_UNIT, FAR_TIMEOUTS, YIELD_TIMEOUTS

@cython.final
cdef class Preference:
    cdef Raft core
    cdef Hellos hellos
    cdef PeerTable peers
    cdef Room room
    cdef Lag lag
    cdef readonly int64_t priority, ready, pause, timeouts, leaderless
    cdef readonly uint64_t candidate, committed
    @cython.locals(best=uint64_t, relief=cython.bint)
    cdef int tick(self) except -1 nogil
    @cython.locals(best=int64_t, priority=int64_t, to=uint64_t, slot=int, id=uint64_t)
    cdef uint64_t preferred(self, int64_t least) noexcept nogil
    cdef bint yields(self) noexcept nogil
    @cython.locals(place=int)
    cdef bint is_fit(self, int slot) noexcept nogil
    cdef bint is_quiet(self, bint relief) noexcept nogil
