import cython
from libc.stdint cimport int64_t, uint64_t
from .futures cimport Done, Future

cdef uint64_t BLOCK, FIRST_OTHER

@cython.final
cdef class Raised:
    cdef readonly object error

@cython.final
cdef class Batch:
    cdef readonly uint64_t first, last
    cdef readonly bytearray taken
    cdef readonly Py_ssize_t left, missing
    cdef readonly list outcomes
    cdef readonly Future future
    cdef bint take(self, uint64_t sequence) except -1 with gil
    @cython.locals(missing=Py_ssize_t)
    cdef bint settle(self, uint64_t sequence, object outcome) except -1 with gil
    cdef bint give_up(self, object reason, object cause) except -1 with gil

@cython.final
cdef class Outcomes:
    cdef int64_t timeout_ns
    cdef readonly set threads
    cdef readonly dict pending, asked, early, held, batches
    cdef readonly Batch recent
    cdef readonly Py_ssize_t batched
    cdef list stale, given_back
    cdef object opened, timed, counts
    cdef readonly object ending, late
    cdef object deadlines
    cdef dict last_sequence_by_term
    cdef readonly uint64_t newest_with_deadline, newest_registered
    cdef bint registered_late
    cdef readonly bint ended
    cdef public bint stopping
    cdef readonly object cause
    cdef public object stamps
    cdef readonly uint64_t ended_again
    cdef public bint unwatched
    cdef public object on_request
    @cython.locals(number=uint64_t)
    cpdef uint64_t open(self, int kind, Future future) except 0
    cpdef object settle(self, uint64_t number, object value)
    @cython.locals(mark=uint64_t, end=uint64_t, sequence=uint64_t, batch=Batch)
    cpdef int register_many(self, uint64_t first, Py_ssize_t count, Future future) except -1 with gil
    cpdef Py_ssize_t count(self) with gil
    cpdef Py_ssize_t proposals(self) with gil
    cpdef bint is_open(self, uint64_t number) except -1
    cpdef object take(self, uint64_t number) with gil
    @cython.locals(at=uint64_t, begin=uint64_t, batch=Batch)
    cdef Batch batch_of(self, uint64_t number) with gil
    @cython.locals(mark=uint64_t)
    cdef int forget(self, Batch batch) except -1 with gil
    cdef int call_watch(self) except -1 with gil
    cdef int finish(self, uint64_t sequence, uint64_t index, uint64_t term, object result) except -1 with gil
    cdef int finish_other(self, uint64_t sequence, object item, object outcome) except -1 with gil
    cdef int settle_future(self, Future future, uint64_t index, uint64_t term, object result) except -1 with gil
    cdef int look_twice(self, Future future) except -1 with gil
    cdef int settle_with(self, Future future, object value) except -1 with gil
    cdef int fail_future(self, Future future, object error) except -1 with gil
    cdef int settle_batch(self, Batch batch, uint64_t sequence, object outcome) except -1 with gil
    cdef int give_up_batch(self, Batch batch, uint64_t sequence, object reason, object cause) except -1 with gil
    cdef int wake_one(self, Future future) except -1 with gil
    cdef int replace(self, uint64_t term) except -1 with gil
