import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.outbox cimport Message
from .._native.threads cimport Clock
from ..consensus.raft cimport Raft
from .hello cimport Hellos

cdef int LEADER, MSG_APP, MSG_HEARTBEAT, MSG_PRE_VOTE, MSG_SNAP, MSG_VOTE
cdef int FLAG_TRANSFER
cdef int CHECK_QUORUM, ELECTION_MS, HEARTBEAT_MS, OPTIONS
cdef int64_t MS, SHARE, WHOLE, EARLY_TICKS, LONG_MS

cdef int64_t lease_ms(int64_t election_ms, int64_t heartbeat_ms) noexcept nogil

@cython.final
cdef class Leases:
    cdef Raft core
    cdef Clock clock
    cdef Hellos hellos
    cdef readonly bint promises
    cdef readonly int64_t own_ms, quiet, since
    cdef readonly uint64_t term, installs
    cdef void tick(self) noexcept nogil
    cdef bint is_bound(self) noexcept nogil
    cdef bint takes(self, Message m) noexcept nogil
    cdef void confirmed(self, int64_t since, uint64_t term) noexcept nogil
    cdef int64_t rest(self) noexcept nogil
    @cython.locals(shortest=int64_t, voters=uint64_t, slot=int, id=uint64_t, election=int64_t, heartbeat=int64_t)
    cdef int64_t length(self) noexcept nogil
