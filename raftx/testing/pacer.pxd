import cython
from libc.stdint cimport int64_t
from .._native.memory cimport Buffer
from .._native.threads cimport Cells, Clock, Event, ProposalQueue, Runner

@cython.final
cdef class Pacer(Runner):
    cdef readonly ProposalQueue proposals
    cdef readonly int64_t period
    cdef Clock clock
    cdef Event event
    cdef Cells cells
    cdef Buffer data
