import cython
from libc.stdint cimport uint64_t
from .._native.outbox cimport Message, Outbox
from .raft cimport Raft

cdef int MSG_APP_RESP, MSG_PRE_VOTE_RESP, MSG_VOTE, MSG_VOTE_RESP

cdef bint waits_for_disk(int kind) noexcept nogil
cdef int collect(Raft core, Outbox out, Outbox held, uint64_t write) except -1 nogil
@cython.locals(count=size_t)
cdef int release(Raft core, Outbox held, uint64_t write, Outbox out, Message scratch) except -1 nogil
