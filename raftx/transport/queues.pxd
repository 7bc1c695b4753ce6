import cython
from libc.stdint cimport uint64_t
from .._native.memory cimport Spans
from .._native.threads cimport Handoff

@cython.final
cdef class OutgoingQueue(Handoff):
    cdef int put_frame(self, Spans spans, uint64_t to) except -1 nogil
    cdef int put_ask(self, Spans spans, uint64_t ask, uint64_t what) except -1 nogil

@cython.final
cdef class IncomingQueue(Handoff):
    cdef uint64_t source(self, size_t row) noexcept nogil
    cdef uint64_t member(self, size_t row) noexcept nogil
