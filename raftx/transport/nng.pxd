import cython
from libc.stdint cimport uint64_t
from .._native.nng cimport NngReceiver, NngSender, NngWire
from .link cimport Link

@cython.final
cdef class NngLink(Link):
    cdef NngReceiver receiver
    cdef NngSender sender
    cdef readonly NngWire wire
    cdef list threads
    cdef bint named                       # connections have certificates
    cdef uint64_t whose
