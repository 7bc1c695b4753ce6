import cython
from libc.stdint cimport uint64_t
from .._native.seal cimport Seal
from .link cimport Link

cdef size_t SEAL

@cython.final
cdef class SealedLink(Link):
    cdef readonly Link inner
    cdef Seal sealer
    cdef size_t room                      # of the frame that is prepared
    cdef int refused                      # why the present frame may not be looked at; 0: it may
