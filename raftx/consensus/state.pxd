from libc.stdint cimport uint32_t, uint64_t
from .._core cimport EntryLog, Message, Outbox
from .tracker cimport Tracker

cdef int FOLLOWER, CANDIDATE, LEADER, PRE_CANDIDATE
cdef int ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2
cdef int MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP
cdef uint64_t MASK64

cdef class State:
    cdef readonly uint64_t id, term, vote, lead, transferee, pending_conf_index
    cdef readonly uint64_t committed, applying, applied, stable, writing
    cdef readonly uint64_t uncommitted_bytes, max_uncommitted_bytes, max_message_bytes
    cdef readonly int role, self_slot
    cdef readonly bint pre_vote, check_quorum, forward_proposals
    cdef public int election_timeout, heartbeat_timeout, randomized_timeout
    cdef readonly int election_elapsed, heartbeat_elapsed
    cdef readonly EntryLog log
    cdef readonly Tracker tracker
    cdef readonly Outbox messages, after_append
    cdef Message scratch
    cdef uint64_t random

    cdef void reset_timeout(self) noexcept nogil
    cdef bint past_election_timeout(self) noexcept nogil
    cdef int send(
        self, int kind, uint64_t to, uint64_t term, uint64_t index, uint64_t log_term, uint64_t commit,
        uint32_t flags, uint64_t hint, uint64_t context
    ) except -1 nogil
    cdef void reset(self, uint64_t term) noexcept nogil
    cdef void become_follower(self, uint64_t term, uint64_t lead) noexcept nogil
    cdef int become_candidate(self) except -1 nogil
    cdef int become_pre_candidate(self) except -1 nogil
    cdef int become_leader(self) except -1 nogil
    cdef int acknowledge_own(self) except -1 nogil
    cdef bint promotable(self) noexcept nogil
    cdef bint has_unapplied_conf_change(self) noexcept nogil
    cdef int commit_to(self, uint64_t index) except -1 nogil
    cdef bint maybe_commit(self) noexcept nogil
    cdef bint up_to_date(self, uint64_t index, uint64_t term) noexcept nogil
    cdef int replace_tail(self, Message m, uint64_t conflict) except -1 nogil
    cdef void accept_writing(self) noexcept nogil
    cdef void stable_to(self, uint64_t index, uint64_t term) noexcept nogil
    cdef uint64_t applicable(self, bint allow_unstable) noexcept nogil
    cdef int accept_applying(self, uint64_t index) except -1 nogil
    cdef int applied_to(self, uint64_t index) except -1 nogil
    cdef bint increase_uncommitted(self, uint64_t size) noexcept nogil
