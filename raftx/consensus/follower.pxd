from libc.stdint cimport uint32_t
from .._core cimport Message
from .state cimport State

cdef int MSG_APP, MSG_APP_RESP, MSG_FORGET_LEADER, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_PROP, MSG_TRANSFER_LEADER
cdef uint32_t FLAG_REJECT

cdef int handle_append(State r, Message m) except -1 nogil
cdef int handle_heartbeat(State r, Message m) except -1 nogil
cdef int step(State r, Message m) except -1 nogil
