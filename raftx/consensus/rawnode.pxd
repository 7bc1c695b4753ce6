from libc.stdint cimport uint64_t
from .._core cimport EntryLog
from .._native.outbox cimport Message
from . cimport release
from .driver cimport Driver
from .raft cimport Raft

cdef int ENTRY_CONF_CHANGE, FLAG_REJECT, LEADER, SNAPSHOT
cdef int MSG_HUP, MSG_STORAGE_APPEND_RESP

cdef class RawNode:
    cdef readonly Raft core
    cdef readonly Driver driver
    cdef readonly bint async_storage_writes
    cdef tuple _previous_soft
    cdef list _steps_on_advance
    cdef bint _outstanding
