import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.memory cimport Spans
from .._native.threads cimport Cells, Handoff

cdef uint64_t ROW_ENTRIES, ROW_HANDED, ROW_REFUSED, ROW_STATE, ROW_ODD, ROW_ASKED, ROW_TRANSFER, ROW_RELEASED
cdef uint64_t ROW_RESTORE, ROW_BEGUN, ROW_LOST, ROW_MET, ROW_UNTAKEN, ROW_READ_AT, ROW_LEASED_AT, ROW_STEP_DOWN
cdef uint64_t ROW_ADDRESS, ROW_CHANGE, ROW_CHANGED, ROW_DIVERGED, ROW_JUDGE, ROW_JUDGED, ROW_UNLED
cdef uint64_t ROW_LOOK, ROW_SEEN
cdef uint64_t ROW_CAMPAIGN, ROW_TRANSFER_TO, ROW_UNREACHABLE, ROW_CONNECTED, ROW_SNAPSHOT, ROW_RELEASE
cdef uint64_t ROW_ASK, ROW_GIVE, ROW_ARRIVED
cdef int CELL_APPLIED, CELL_TIME, MEMBERS_MAX

@cython.final
cdef class ApplyQueue(Handoff):
    cdef int put_entries(self, Spans spans, uint64_t low, uint64_t high) except -1 nogil
    cdef int put_handed(self, Spans no_spans, uint64_t sequence, uint64_t term) except -1 nogil
    cdef int put_refused(self, Spans no_spans, uint64_t sequence, uint64_t count, uint64_t reason) except -1 nogil
    cdef int put_state(self, Spans no_spans, uint64_t term, uint64_t leader, uint64_t role) except -1 nogil
    cdef int put_odd(
        self, Spans no_spans, uint64_t reason, uint64_t sender, uint64_t kind, uint64_t term, uint64_t count
    ) except -1 nogil
    cdef int put_untaken(self, Spans no_spans, uint64_t sender, uint64_t index, uint64_t count) except -1 nogil
    cdef int put_asked(
        self, Spans no_spans, uint64_t request, uint64_t reason, uint64_t to, uint64_t before, uint64_t term,
        uint64_t leader, uint64_t role
    ) except -1 nogil
    cdef int put_transfer(self, Spans no_spans, uint64_t was, uint64_t to, uint64_t role) except -1 nogil
    cdef int put_released(self, Spans no_spans, uint64_t request, uint64_t index, uint64_t term) except -1 nogil
    cdef int put_restore(self, Spans no_spans, uint64_t index, uint64_t term) except -1 nogil
    cdef int put_read_at(self, Spans no_spans, uint64_t ticket, uint64_t index, uint64_t since) except -1 nogil
    cdef int put_leased_at(self, Spans no_spans, uint64_t ticket, uint64_t index) except -1 nogil
    cdef int put_changed(
        self, Spans no_spans, uint64_t number, uint64_t reason, uint64_t match, uint64_t last
    ) except -1 nogil
    cdef int put_address(self, Spans record, uint64_t sender) except -1 nogil
    cdef int put_judge(
        self, Spans change, uint64_t sender, uint64_t number, uint64_t applied, uint64_t life
    ) except -1 nogil
    cdef int put_begun(self, Spans no_spans, bint in_doubt) except -1 nogil
    cdef int put_lost(
        self, Spans no_spans, uint64_t member, uint64_t life, uint64_t known, uint64_t why
    ) except -1 nogil
    cdef int put_unled(self, Spans no_spans, Gauges gauges) except -1 nogil
    cdef int put_diverged(
        self, Spans no_spans, uint64_t index, uint64_t ours, uint64_t theirs, uint64_t leader, bint lacks
    ) except -1 nogil

@cython.final
cdef class CommandQueue(Handoff):
    cdef int put_met(self, Spans no_spans, uint64_t id, uint64_t life, uint64_t known, uint64_t why, uint64_t joined) except -1 nogil
    cdef uint64_t kind(self, size_t row) noexcept nogil
    cdef uint64_t member(self, size_t row) noexcept nogil
    cdef uint64_t request(self, size_t row) noexcept nogil
    cdef uint64_t index(self, size_t row) noexcept nogil
    cdef uint64_t term_of(self, size_t row) noexcept nogil
    cdef uint64_t number(self, size_t row, int column) noexcept nogil

# Plain numbers, aligned, so that each is read whole; what they are read for needs no order among them.
@cython.final
cdef class Gauges:
    cdef readonly uint64_t term, vote, leader, commit, last, stable, first, foreign
    cdef public uint64_t log_bytes
    cdef readonly uint64_t diverged, diverged_ours, diverged_theirs, diverged_lead
    cdef readonly int64_t role, ticks, leader_changes, failed, frames_in, frames_out, frames_dropped, frames_stale
    cdef readonly int64_t not_taken, unmet, wakeups, wakeups_idle
    cdef public int64_t lag_ms
    cdef readonly int64_t unserved, untaken, too_large_out, too_large_in
    cdef readonly uint64_t unled_lead, unled_term
    cdef readonly int64_t unled_ms, unled_by, unled_heard, unled_needed, unled_refused
    cdef readonly bint in_doubt, waiting, full, diverged_lacks
    cdef readonly int64_t[::1] refused, rejected
    cdef void woke(self, bint found) noexcept nogil

@cython.final
cdef class ApplyGauges:
    cdef Cells woken
    cdef public uint64_t index
    cdef readonly uint64_t bare
    cdef public int64_t wakeups, wakeups_idle
    cdef uint64_t applied(self) noexcept nogil
    cdef void set_applied(self, uint64_t index) noexcept nogil
    cdef uint64_t time(self) noexcept nogil
    cdef void set_time(self, uint64_t time) noexcept nogil

@cython.final
cdef class MemberGauges:
    cdef uint64_t[::1] ids, match
    cdef int64_t[::1] quiet
    cdef readonly int64_t count
