import cython
from .._native.threads cimport ProposalQueue
from .futures cimport Future
from .outcomes cimport Outcomes

@cython.final
cdef class Proposer:
    cdef readonly ProposalQueue proposals
    cdef readonly Outcomes outcomes
    cdef readonly Py_ssize_t max_entry_bytes, max_waiting_bytes, max_open
