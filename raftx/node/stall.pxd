import cython
from libc.stdint cimport int64_t, uint64_t
from ..consensus.driver cimport Driver
from ..consensus.raft cimport Raft
from . cimport elections
from .peers cimport PeerTable

cdef int LEADER, MSG_TRANSFER_LEADER

@cython.final
cdef class Stall:
    cdef Raft core
    cdef Driver driver
    cdef PeerTable peers
    cdef readonly int64_t ticks
    cdef uint64_t committed
    cdef void finished(self) noexcept nogil
    cdef bint is_alone(self) noexcept nogil
    @cython.locals(to=uint64_t, went_on=bint)
    cdef int tick(self) except -1 nogil
