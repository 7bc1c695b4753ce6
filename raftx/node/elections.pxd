import cython
from libc.stdint cimport uint64_t
from ..consensus.raft cimport Raft

cdef int LEADER, REFUSED_NO_LEADER, REFUSED_NO_VOTER, REFUSED_NOT_LEADER, REFUSED_TRANSFER

@cython.locals(best=uint64_t, to=uint64_t)
cdef uint64_t most_complete(Raft core) noexcept nogil
cdef int transfer_refusal(Raft core, uint64_t to) noexcept nogil
