import cython
from libc.stdint cimport int64_t, uint64_t
from .._core cimport Cursor
from .._sys cimport Cells, Clock, Event, Handoff
from .futures cimport Future

cdef int ENTRY_NORMAL, DONE_APPLIED
cdef uint64_t KNOWN_REFUSALS, ROW_APPLY, ROW_END, ROW_HANDED, ROW_ODD, ROW_REFUSED, ROW_STATE
cdef size_t ENVELOPE
cdef int64_t SWEEP_NS

@cython.final
cdef class Batch:
    cdef readonly uint64_t first, end, missing
    cdef readonly list outcomes
    cdef readonly Future future

@cython.final
cdef class Applier:
    cdef readonly uint64_t id, incarnation
    cdef readonly Handoff applies
    cdef Clock clock
    cdef object state_machine
    cdef int64_t timeout_ns, next_sweep
    cdef public object lock, committed, state_changes, report
    cdef public Cells cells
    cdef public Event engine_event
    cdef readonly dict pending
    cdef readonly list batches
    cdef object deadlines
    cdef dict handed
    cdef list wake
    cdef readonly uint64_t applied, applied_term, noted, newest
    cdef Cursor cursor
    cdef int apply_spans(self, size_t span, size_t count) except -1 with gil
    cdef int apply_one(self) except -1 with gil
    cdef int finish(self, uint64_t sequence, uint64_t index, uint64_t term, object result) except -1 with gil
    cdef int settle_future(self, Future future, uint64_t index, uint64_t term, object result) except -1 with gil
    cdef int fail_future(self, Future future, object error) except -1 with gil
    cdef int find_replaced(self, uint64_t term) except -1 with gil
