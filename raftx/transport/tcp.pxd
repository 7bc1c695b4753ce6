import cython
from .._native.memory cimport Spans
from .._native.tcp cimport TcpStreams
from .link cimport Link

@cython.final
cdef class TcpLink(Link):
    cdef readonly TcpStreams streams
