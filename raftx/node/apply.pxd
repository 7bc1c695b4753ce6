import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from .._native.memory cimport Cursor
from .._native.threads cimport Event, ProposalQueue
from .batches cimport ApplyBatch
from .channels cimport ApplyGauges, ApplyQueue
from .outcomes cimport Outcomes, Raised
from .readers cimport Readers

cdef int ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, ENTRY_NORMAL, ENTRY_SESSION
cdef uint64_t KNOWN_REFUSALS, REFUSED_UNCOMMITTED, REFUSED_DISK_FULL, REFUSED_LEADER_FULL, REFUSED_STOPPED
cdef uint64_t ROW_ASKED, ROW_ENTRIES, ROW_HANDED, ROW_ODD, ROW_REFUSED, ROW_STATE, ROW_TRANSFER, ROW_RELEASED, ROW_RESTORE
cdef uint64_t ROW_BEGUN, ROW_LOST, ROW_READ_AT, ROW_LEASED_AT
cdef uint64_t ROW_ADDRESS, ROW_CHANGED, ROW_JUDGE, ROW_UNLED, ROW_UNTAKEN
cdef uint64_t NUMBER_MAX
cdef size_t ENVELOPE, SESSION_HEADER
cdef int BARRIER_BIT

@cython.final
cdef class Applier:
    cdef readonly uint64_t id, incarnation
    cdef readonly ProposalQueue proposals
    cdef readonly ApplyQueue applies
    cdef readonly ApplyGauges gauges
    cdef readonly Outcomes outcomes
    cdef object state_machine, leadership
    cdef readonly Readers readers
    cdef public bint returns_errors, given_up
    cdef public object committed, state_changes, keeper, open_snapshot, compact, where, members, changer, chronicle, untaken
    cdef readonly uint64_t held, held_term, place, bytes, due_index, due_bytes
    cdef public Event engine_event
    cdef readonly uint64_t applied_term, time
    cdef readonly object sessions
    cdef public list ahead
    cdef set counted
    cdef size_t rows, row, span, spans_left
    cdef bint in_span
    cdef readonly ApplyBatch batch
    cdef Py_ssize_t gathered
    cdef public object skips
    cdef Cursor cursor
    cdef bint apply_spans(self) except -1 with gil
    cdef int apply_one(self) except -1 with gil
    @cython.locals(at=Py_ssize_t, count=Py_ssize_t, entries=list, sequences=list, results=list)
    cdef int give_batch(self) except -1 with gil
    cdef bint is_skipped(self, uint64_t index, uint64_t term) except -1 with gil
    cdef int take_session(self, bytes data) except -1 with gil
    cpdef object session_outcome(self, bytes data, uint64_t index, uint64_t term) with gil
    cdef object give(self, object entry) with gil
