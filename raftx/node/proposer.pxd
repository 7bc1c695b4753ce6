import cython
from libc.stdint cimport int64_t
from .._native.threads cimport ProposalQueue
from .channels cimport ApplyGauges, Gauges
from .futures cimport Future
from .outcomes cimport Outcomes

@cython.final
cdef class Proposer:
    cdef readonly ProposalQueue proposals
    cdef readonly Outcomes outcomes
    cdef readonly Py_ssize_t max_entry_bytes, max_waiting_bytes, max_open, max_patient_bytes
    cdef public Gauges gauges
    cdef public ApplyGauges apply_gauges
    cdef public int64_t patience_ms
    cpdef int64_t lag_ms(self)
    cpdef bytes bytes_of(self, object data)
    @cython.locals(at=Py_ssize_t)
    cpdef int fix_all(self, list datas) except -1
    @cython.locals(total=Py_ssize_t)
    cdef Py_ssize_t total_of(self, list datas) except -1
