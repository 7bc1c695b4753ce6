from libc.stdint cimport uint32_t
from .._native.outbox cimport Message
from .state cimport State

cdef int MSG_APP, MSG_APP_RESP, MSG_DOUBT, MSG_DOUBT_RESP, MSG_FORGET_LEADER, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_PROP, MSG_READ_INDEX
cdef int MSG_READ_INDEX_RESP, MSG_SNAP, MSG_TRANSFER_LEADER
cdef uint32_t FLAG_REJECT, FLAG_REQUEST_SNAPSHOT

cdef int handle_append(State r, Message m) except -1 nogil
cdef int handle_heartbeat(State r, Message m) except -1 nogil
cdef int handle_snapshot(State r, Message m) except -1 nogil
cdef int doubt_heartbeat(State r, Message m) except -1 nogil
cdef int handle_doubt_response(State r, Message m) except -1 nogil
cdef void doubt_ticked(State r) noexcept nogil
cdef int send_snapshot_request(State r) except -1 nogil
cdef int forward_read(State r, Message m) except -1 nogil
cdef int handle_read_response(State r, Message m) except -1 nogil
cdef int step(State r, Message m) except -1 nogil
