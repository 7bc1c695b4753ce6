import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._core cimport EntryLog
from .._native cimport checks, memory
from .._native.memory cimport Spans
from .._native.outbox cimport Message, Outbox
from . cimport configuration, quorum, records
from .configuration cimport Configuration
from .doubt cimport Doubts
from .reads cimport PendingReads
from .tracker cimport Tracker

cdef int FOLLOWER, CANDIDATE, LEADER, PRE_CANDIDATE
cdef int ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, ENTRY_SNAPSHOT
cdef int MSG_APP_RESP, MSG_VOTE_RESP, MSG_PRE_VOTE_RESP
cdef uint64_t ENTRY_HEADER, MASK64

cdef class State:
    cdef readonly uint64_t id, term, vote, lead, transferee, pending_conf_index
    cdef readonly uint64_t committed, applying, applied, stable, writing
    cdef readonly uint64_t uncommitted_bytes, max_uncommitted_bytes, max_message_bytes
    cdef readonly uint64_t applying_bytes
    cdef readonly bint apply_paused, lease_ended
    cdef public uint64_t max_apply_bytes
    cdef readonly uint64_t snapshot_index, snapshot_term, snapshot_wanted
    cdef readonly uint64_t pending_snapshot, pending_snapshot_term, requested_snapshot, rewrite
    cdef readonly uint64_t conf_index
    cdef public bint joins
    cdef readonly bint snapshot_writing
    cdef readonly Spans snapshot, restored
    cdef readonly int role, self_slot
    cdef readonly bint pre_vote, forward_proposals, step_down_on_removal, validate_conf_changes, lease_reads
    cdef public bint check_quorum, batch_append, skip_bcast_commit
    cdef public uint64_t hold_bytes
    cdef readonly int due
    cdef readonly bint commit_by_vote
    cdef public uint64_t priority
    cdef public int election_timeout, heartbeat_timeout, randomized_timeout
    cdef readonly int64_t election_elapsed, heartbeat_elapsed    # without a limit: a member that does not campaign ticks on
    cdef readonly EntryLog log
    cdef readonly Tracker tracker
    cdef readonly PendingReads reads
    cdef readonly Doubts doubts
    cdef readonly bint in_doubt
    cdef public bint no_room
    cdef readonly int64_t doubt_ticks       # without a limit too: the doubt may not end
    cdef readonly uint64_t doubt_nonce, doubt_term, doubt_floor, doubt_match, doubt_seen, lived_term
    cdef readonly Outbox messages, after_append, early_reads, read_states, refused
    cdef Message scratch, piece
    cdef Configuration arriving
    cdef uint64_t random

    cdef void reset_timeout(self) noexcept nogil
    cdef bint past_election_timeout(self) noexcept nogil
    @cython.final
    cdef bint is_led(self) noexcept nogil
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
    @cython.final
    cdef void look_at_marks(self) noexcept nogil
    cdef int commit_to(self, uint64_t index) except -1 nogil
    cdef bint maybe_commit(self) noexcept nogil
    cdef int maybe_commit_by_vote(self, Message m) except -1 nogil
    cdef bint up_to_date(self, uint64_t index, uint64_t term) noexcept nogil
    cdef int replace_tail(self, Message m, uint64_t conflict) except -1 nogil
    cdef void stable_to(self, uint64_t index, uint64_t term) noexcept nogil
    cdef void stable_snapshot_to(self, uint64_t index) noexcept nogil
    cdef int take_snapshot(self, Spans spans, size_t span, uint64_t index, uint64_t term) except -1 nogil
    cdef int restore_log(self, uint64_t index, uint64_t term) except -1 nogil
    cdef int read_snapshot(self, Message m) noexcept nogil
    cdef int restore(self, Message m) except -1 nogil
    cdef bint sealed(self, Message m) noexcept nogil
    @cython.final
    cdef uint64_t applicable(self, bint allow_unstable) noexcept nogil
    @cython.final
    cdef uint64_t log_bytes(self, uint64_t low, uint64_t high) noexcept nogil
    @cython.final
    cdef bint may_apply(self, bint allow_unstable) noexcept nogil
    @cython.final
    cdef uint64_t apply_room(self) noexcept nogil
    @cython.final
    cdef uint64_t apply_limit(self, bint allow_unstable) noexcept nogil
    @cython.final
    cdef int accept_applying(self, uint64_t index) except -1 nogil
    @cython.final
    cdef void count_applying(self, uint64_t size, bint allow_unstable) noexcept nogil
    cdef bint is_of_this_life(self, uint64_t term) noexcept nogil
    cdef bint committed_in_term(self) noexcept nogil
    cdef bint increase_uncommitted(self, uint64_t size) noexcept nogil
