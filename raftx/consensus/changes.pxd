import cython
from libc.stdint cimport uint8_t, uint64_t
from .._native.outbox cimport Message
from . cimport records

cdef int ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, ENTRY_SESSION, TRANSITION_AUTO, TRANSITION_EXPLICIT
cdef uint64_t NUMBER_MAX
cdef size_t ENTRY_HEADER, CHANGE_HEADER, PART_BYTES
cdef int PARTS_KINDS, CHANGE_FITS, CHANGE_PENDING, CHANGE_IN_JOINT, CHANGE_NOT_JOINT

cdef bint is_change(const uint8_t* body, size_t at, size_t end, bint v1) noexcept nogil
cdef bint is_kind_of_change(int kind) noexcept nogil
cdef int part_count(const uint8_t* body, size_t at, size_t end) noexcept nogil
@cython.locals(at=size_t)
cdef int unfit_kind(Message m) noexcept nogil
