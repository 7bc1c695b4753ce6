import cython
from .._sys cimport Intake
from .apply cimport Applier
from .futures cimport Future

@cython.final
cdef class Proposer:
    cdef readonly Intake intake
    cdef readonly Applier applier
    cdef readonly Py_ssize_t max_entry_bytes
    cdef public object failure
