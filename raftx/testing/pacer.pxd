import cython
from libc.stdint cimport int64_t
from .._native.memory cimport Buffer
from .._native.threads cimport Cells, Clock, Event, Intake, Runner

@cython.final
cdef class Pacer(Runner):
    cdef readonly Intake intake
    cdef readonly int64_t period
    cdef Clock clock
    cdef Event event
    cdef Cells cells
    cdef Buffer data
