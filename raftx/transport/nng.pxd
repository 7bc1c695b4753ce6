import cython
from libc.stdint cimport uint8_t, uint64_t
from .._sys cimport NngReceiver, NngSender
from .link cimport Link

@cython.final
cdef class NngLink(Link):
    cdef NngReceiver receiver
    cdef NngSender sender
    cdef uint64_t[::1] ids
    cdef uint64_t[::1] sockets
    cdef readonly int count
