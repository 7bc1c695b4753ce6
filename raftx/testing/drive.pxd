import cython
from libc.stdint cimport uint64_t
from .._core cimport Buffer, Message, Outbox, Spans
from .._sys cimport Runner
from ..consensus cimport rawnode
from ..consensus.raft cimport Raft
from ..consensus.tracker cimport Tracker

cdef int LEADER, MSG_APP_RESP, MSG_HEARTBEAT, MSG_HUP, MSG_PROP
cdef uint64_t KEEP

@cython.final
cdef class Drive(Runner):
    cdef readonly Raft core
    cdef Outbox out, held
    cdef Message message, scratch
    cdef Spans spans
    cdef Buffer body
    cdef readonly uint64_t batch, rounds, number
    cdef int round(self) except -1 nogil

@cython.final
cdef class Steps(Runner):
    cdef readonly Raft core
    cdef Message message
    cdef readonly uint64_t rounds
    cdef bint leading

@cython.final
cdef class Quorums(Runner):
    cdef Tracker tracker
    cdef readonly uint64_t rounds, sum
