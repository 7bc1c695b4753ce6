import cython
from libc.stdint cimport uint64_t
from .._core cimport EntryLog
from .._native.outbox cimport Message, Outbox
from .raft cimport Raft

cdef int ENTRY_CONF_CHANGE, FLAG_REJECT, LEADER, SNAPSHOT, MSG_APP_RESP
cdef int MSG_HUP, MSG_PRE_VOTE_RESP, MSG_STORAGE_APPEND_RESP, MSG_VOTE, MSG_VOTE_RESP

cdef bint waits_for_disk(int kind) noexcept nogil
cdef int collect(Raft core, Outbox out, Outbox held, uint64_t tag) except -1 nogil
cdef int hold_storage_response(Raft core, Outbox held, uint64_t tag) except -1 nogil
@cython.locals(count=size_t)
cdef int release(Raft core, Outbox held, uint64_t tag, Outbox out, Message scratch) except -1 nogil

cdef class RawNode:
    cdef readonly Raft core
    cdef readonly bint async_storage_writes
    cdef tuple _previous_hard, _previous_soft
    cdef list _steps_on_advance
    cdef uint64_t _number
    cdef bint _outstanding
