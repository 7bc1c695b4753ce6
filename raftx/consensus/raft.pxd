from libc.stdint cimport uint32_t, uint64_t
from .._native cimport checks
from .._native.outbox cimport Message
from . cimport candidate, configuration, follower, leader
from .configuration cimport Configuration
from .state cimport State

cdef int FOLLOWER, LEADER
cdef int MSG_APP, MSG_APP_RESP, MSG_BEAT, MSG_CHECK_QUORUM, MSG_HEARTBEAT, MSG_HUP, MSG_PRE_VOTE, MSG_PRE_VOTE_RESP
cdef int MSG_PROP, MSG_SNAP, MSG_STORAGE_APPEND_RESP, MSG_STORAGE_APPLY_RESP, MSG_TIMEOUT_NOW, MSG_VOTE, MSG_VOTE_RESP
cdef uint32_t FLAG_REJECT, FLAG_TRANSFER
cdef uint64_t ENTRY_HEADER

cdef class Raft(State):
    cdef int step(self, Message m) except -1 nogil
    cdef int step_stale(self, Message m) except -1 nogil
    cdef bint can_vote(self, Message m) noexcept nogil
    cdef bint priority_allows(self, Message m) noexcept nogil
    cdef int handle_vote(self, Message m) except -1 nogil
    cdef int apply_done(self, uint64_t index, uint64_t size, uint64_t count) except -1 nogil
    cdef int applied_snapshot(self, uint64_t index) except -1 nogil
    cdef int install(self, Configuration to) except -1 nogil
    cdef int configuration_changed(self) except -1 nogil
    cdef int ask_snapshot(self) except -1 nogil
    cdef int step_down(self) except -1 nogil
    cdef int ping(self) except -1 nogil
    cdef int recount_commit(self) except -1 nogil
    cdef int send_due(self) except -1 nogil
    cdef int step_local(self, int kind) except -1 nogil
    cdef int tick(self) except -1 nogil
