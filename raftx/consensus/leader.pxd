from libc.stdint cimport uint32_t, uint64_t
from .._core cimport Message
from .state cimport State

cdef int MSG_APP, MSG_APP_RESP, MSG_BEAT, MSG_CHECK_QUORUM, MSG_HEARTBEAT, MSG_HEARTBEAT_RESP, MSG_PROP
cdef int MSG_TIMEOUT_NOW, MSG_TRANSFER_LEADER, MSG_UNREACHABLE
cdef int PROBE, REPLICATE, SNAPSHOT
cdef uint32_t FLAG_REJECT
cdef uint64_t ENTRY_HEADER

cdef int maybe_send_append(State r, int slot, bint send_if_empty) except -1 nogil
cdef int bcast_append(State r) except -1 nogil
cdef int bcast_heartbeat(State r) except -1 nogil
cdef int send_timeout_now(State r, uint64_t id) except -1 nogil
cdef int check_quorum(State r) except -1 nogil
cdef int propose(State r, Message m) except -1 nogil
cdef int handle_append_response(State r, Message m, int slot) except -1 nogil
cdef int handle_heartbeat_response(State r, Message m, int slot) except -1 nogil
cdef int transfer(State r, uint64_t id) except -1 nogil
cdef int step(State r, Message m) except -1 nogil
