import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.threads cimport Clock, Event
from .channels cimport ApplyGauges, Gauges
from .futures cimport Future
from .outcomes cimport Outcomes
from .reads cimport Reads

cdef int KIND_APPLIED, KIND_READ

@cython.final
cdef class Readers:
    cdef readonly Outcomes outcomes
    cdef object machine
    cdef ApplyGauges apply_gauges
    cdef Event applies
    cdef Reads reads
    cdef Gauges gauges
    cdef Clock clock
    cdef Event event
    cdef object tickets
    cdef public object waiting
    cdef readonly object leased, indexed, added, impatient, answers
    cdef uint64_t newest_index
    cdef readonly list awaited
    cdef readonly int64_t fresh_at
    @cython.locals(future=Future, number=uint64_t)
    cpdef Future read(self, object function, bint by_lease)
    @cython.locals(ticket=uint64_t)
    cdef uint64_t ask(self, uint64_t number, object function, bint by_lease) except? 0
    @cython.locals(future=Future, number=uint64_t, ticket=uint64_t, since=int64_t, age=int64_t)
    cpdef Future read_stale(self, object function, int64_t most_ns)
    cpdef Py_ssize_t count(self)
    cdef int forget(self, object queue) except -1
    cpdef bint add_indexed(self, uint64_t index, uint64_t number, object function) except -1
    cpdef int answered(self, uint64_t newest, uint64_t index, int64_t since) except -1
    cpdef int lease_answered(self, uint64_t newest, uint64_t index) except -1
    cdef int give_index(self, object queue, uint64_t newest, uint64_t index) except -1
    @cython.locals(number=uint64_t, least=uint64_t)
    cpdef int applied(self, uint64_t index) except -1
    cdef int end(self, uint64_t number, object function, uint64_t index) except -1
    cdef int query(self, uint64_t number, object function) except -1
