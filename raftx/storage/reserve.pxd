import cython
from libc.stdint cimport int64_t, uint64_t
from .._native.files cimport Directory, File
from .._native.threads cimport Cells, Event, Runner

cdef int WAIT
cdef int RESERVE_CODE, RESERVE_DROP, RESERVE_FAILED, RESERVE_MAKING, RESERVE_NONE, RESERVE_READY, RESERVE_STATE, RESERVE_STOP
cdef int RESERVE_TROUBLE, RESERVE_WANTED
cdef int EAGAIN, EDQUOT, EFBIG, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC
cdef int64_t ASK_NS

@cython.final
cdef class Reserve(Runner):
    cdef readonly File file
    cdef readonly Directory directory
    cdef readonly uint64_t segment_bytes, number, size
    cdef readonly Cells cells
    cdef Event event
    cdef public Event writer
    cdef int64_t said
    cdef bint syncing
    cdef readonly int64_t first
    cdef bint is_shortage(self, int code) noexcept nogil
    cdef bint is_full(self, int code) noexcept nogil
    cdef int want(self, uint64_t number) noexcept nogil
    cdef int claim(self) noexcept nogil
    cdef bint is_making(self) noexcept nogil
    cdef int create(self, uint64_t number) noexcept nogil
    cdef int grow(self, uint64_t size) noexcept nogil
    cdef int make_durable(self) noexcept nogil
    cdef int hand_over(self, File to) noexcept nogil
    cdef int drop(self, int64_t below) noexcept nogil
    cdef int drop_next(self) noexcept nogil
    cdef int tell(self, int64_t trouble) noexcept nogil
    cdef int made(self, int code) noexcept nogil
    cdef int say(self, int64_t trouble) except -1 with gil    # a log line
