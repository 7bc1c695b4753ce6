import cython
from libc.stdint cimport uint64_t
from .._native.outbox cimport Message
from ..consensus cimport changes
from ..consensus.raft cimport Raft
from .peers cimport PeerTable

cdef int MSG_PROP, MSG_READ_INDEX, MSG_SNAP
cdef int LEADER, REFUSED_NO_LEADER, REFUSED_NO_VOTER, REFUSED_NOT_LEADER, REFUSED_REMOVED, REFUSED_TRANSFER
cdef int REFUSED_UNCOMMITTED

@cython.locals(best=uint64_t, to=uint64_t)
cdef uint64_t most_complete(Raft core, PeerTable peers) noexcept nogil
@cython.locals(best=uint64_t)
cdef uint64_t best_match(Raft core) noexcept nogil
cdef int transfer_refusal(Raft core, uint64_t to) noexcept nogil
cdef int proposal_refusal(Raft core, size_t size) noexcept nogil
cdef bint serves(Raft core, Message m) noexcept nogil
