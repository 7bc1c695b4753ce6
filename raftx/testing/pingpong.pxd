import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.threads cimport Clock, Event, Runner
from ..transport.link cimport Link

cdef int64_t PAUSE_NS

@cython.final
cdef class PingPong(Runner):
    cdef readonly Link link
    cdef readonly Event event
    cdef uint64_t to
    cdef size_t size
    cdef readonly uint64_t rounds
    cdef bint first
    cdef Clock clock
    cdef readonly int64_t[::1] latencies
    cdef int send(self) except -1 nogil
    cdef int receive(self) except -1 nogil
