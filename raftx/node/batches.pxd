import cython
from libc.stdint cimport uint64_t

cdef Py_ssize_t BATCH_ENTRIES, BATCH_BYTES

@cython.final
cdef class ApplyBatch:
    cdef readonly uint64_t id
    cdef object machine
    cdef list entries, sequences
    cdef Py_ssize_t size
    cdef bint add(self, object entry, uint64_t sequence, Py_ssize_t size) except -1
    cdef tuple give(self)
