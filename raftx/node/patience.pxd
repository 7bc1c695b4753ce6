import cython
from libc.stdint cimport int64_t
from .futures cimport Done, Future
from .outcomes cimport Outcomes

@cython.final
cdef class Patient:
    cdef readonly object data, payload, owner
    cdef readonly Future future
    cdef readonly int64_t deadline, size
    cdef readonly Py_ssize_t count
    cdef public int64_t pause
    cdef public object reason
    cdef public bint under_way, maybe

@cython.final
cdef class Patience:
    cdef readonly Outcomes outcomes
    cdef readonly object clock
    cdef object proposer, wake, lag, _numbers, _incoming
    cdef readonly dict open
    cdef readonly list _due
    cdef readonly Py_ssize_t count
    cdef readonly int64_t size
    cpdef bint is_full(self, Py_ssize_t count, int64_t size) except -1
    cdef int _take(self, object number) except -1 with gil
    @cython.locals(count=Py_ssize_t, size=int64_t)
    cdef int _leave(self, Patient patient) except -1 with gil
    cdef int _settle(self, object number, Patient patient, object outcome) except -1 with gil
    cdef int _settle_done(self, Patient patient, Done done) except -1 with gil
    cdef int _fail(self, object number, Patient patient, object error) except -1 with gil
    cdef int _give_up(self, Patient patient, object error) except -1 with gil
