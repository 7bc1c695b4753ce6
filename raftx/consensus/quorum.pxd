from libc.stdint cimport uint64_t
from .. cimport _core
from .._core cimport Peers

cdef uint64_t NUMBER_MAX
cdef int VOTE_PENDING, VOTE_LOST, VOTE_WON

cdef uint64_t committed_index(uint64_t voters, Peers peers) noexcept nogil
cdef uint64_t joint_committed_index(uint64_t voters, uint64_t outgoing, Peers peers) noexcept nogil
cdef (uint64_t, bint) group_committed_index(uint64_t voters, Peers peers) noexcept nogil
cdef (uint64_t, bint) joint_group_committed_index(uint64_t voters, uint64_t outgoing, Peers peers) noexcept nogil
cdef int vote_result(uint64_t voters, uint64_t granted, uint64_t refused) noexcept nogil
cdef int joint_vote_result(uint64_t voters, uint64_t outgoing, uint64_t granted, uint64_t refused) noexcept nogil
