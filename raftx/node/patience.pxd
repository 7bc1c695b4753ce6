import cython
from libc.stdint cimport int64_t
from .futures cimport Done, Future
from .outcomes cimport Outcomes

@cython.final
cdef class Patient:
    cdef readonly object data, payload, owner
    cdef readonly Future future
    cdef readonly int64_t deadline
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
    cdef int _settle(self, object number, Patient patient, object outcome) except -1 with gil
    cdef int _settle_done(self, Patient patient, Done done) except -1 with gil
    cdef int _fail(self, object number, Patient patient, object error) except -1 with gil
    cdef int _give_up(self, Patient patient, object error) except -1 with gil
