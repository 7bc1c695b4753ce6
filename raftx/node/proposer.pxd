import cython
from .._native.threads cimport Intake
from .futures cimport Future
from .outcomes cimport Outcomes

@cython.final
cdef class Proposer:
    cdef readonly Intake intake
    cdef readonly Outcomes outcomes
    cdef readonly Py_ssize_t max_entry_bytes, max_waiting_bytes, max_open
