import cython
from .._nng cimport NngReceiver, NngSender
from .link cimport Link

@cython.final
cdef class NngLink(Link):
    cdef NngReceiver receiver
    cdef NngSender sender
    cdef list peers, threads
