# Part of nng.pyx: NNG's functions, as pynng's library has them, to be called from C. Nothing is called here.

ctypedef void (*callback_t)(void*) noexcept nogil
ctypedef int (*aio_alloc_t)(nng_aio**, callback_t, void*) noexcept nogil
ctypedef void (*aio_t)(nng_aio*) noexcept nogil
ctypedef int (*aio_result_t)(nng_aio*) noexcept nogil
ctypedef nng_msg* (*aio_msg_t)(nng_aio*) noexcept nogil
ctypedef void (*recv_aio_t)(raftx_nng_socket, nng_aio*) noexcept nogil
ctypedef int (*sendmsg_t)(raftx_nng_socket, nng_msg*, int) noexcept nogil
ctypedef int (*msg_alloc_t)(nng_msg**, size_t) noexcept nogil
ctypedef void (*msg_free_t)(nng_msg*) noexcept nogil
ctypedef void* (*msg_body_t)(nng_msg*) noexcept nogil
ctypedef size_t (*msg_len_t)(nng_msg*) noexcept nogil
ctypedef int (*open_t)(raftx_nng_socket*) noexcept nogil
ctypedef int (*close_t)(raftx_nng_socket) noexcept nogil
ctypedef int (*set_t)(raftx_nng_socket, const char*, int) noexcept nogil
ctypedef void (*pipe_callback_t)(raftx_nng_pipe, int, void*) noexcept nogil
ctypedef int (*notify_t)(raftx_nng_socket, int, pipe_callback_t, void*) noexcept nogil
ctypedef int (*dial_t)(raftx_nng_socket, const char*, void*, int) noexcept nogil
ctypedef int (*listener_create_t)(raftx_nng_listener*, raftx_nng_socket, const char*) noexcept nogil
ctypedef int (*listener_start_t)(raftx_nng_listener, int) noexcept nogil
ctypedef int (*listener_set_t)(raftx_nng_listener, const char*, int) noexcept nogil
ctypedef int (*listener_close_t)(raftx_nng_listener) noexcept nogil
ctypedef int (*pipe_close_t)(raftx_nng_pipe) noexcept nogil
ctypedef raftx_nng_listener (*pipe_listener_t)(raftx_nng_pipe) noexcept nogil
ctypedef raftx_nng_pipe (*msg_pipe_t)(nng_msg*) noexcept nogil
ctypedef int (*set_ptr_t)(raftx_nng_socket, const char*, void*) noexcept nogil
ctypedef int (*pipe_get_ptr_t)(raftx_nng_pipe, const char*, void**) noexcept nogil
ctypedef int (*pipe_get_bool_t)(raftx_nng_pipe, const char*, uint8_t*) noexcept nogil

cdef aio_alloc_t nng_aio_alloc = NULL
cdef aio_t nng_aio_free = NULL
cdef aio_t nng_aio_stop = NULL
cdef aio_result_t nng_aio_result = NULL
cdef aio_msg_t nng_aio_get_msg = NULL
cdef recv_aio_t nng_recv_aio = NULL
cdef sendmsg_t nng_sendmsg = NULL
cdef msg_alloc_t nng_msg_alloc = NULL
cdef msg_free_t nng_msg_free = NULL
cdef msg_body_t nng_msg_body = NULL
cdef msg_len_t nng_msg_len = NULL
cdef open_t nng_push0_open = NULL
cdef close_t nng_close = NULL
cdef set_t nng_socket_set_int = NULL
cdef set_t nng_socket_set_ms = NULL
cdef notify_t nng_pipe_notify = NULL
cdef dial_t nng_dial = NULL
cdef listener_create_t nng_listener_create = NULL
cdef listener_start_t nng_listener_start = NULL
cdef listener_set_t nng_listener_set_int = NULL
cdef listener_close_t nng_listener_close = NULL
cdef pipe_close_t nng_pipe_close = NULL
cdef pipe_listener_t nng_pipe_listener = NULL
cdef msg_pipe_t nng_msg_get_pipe = NULL
cdef set_ptr_t nng_socket_set_ptr = NULL
cdef pipe_get_ptr_t nng_pipe_get_ptr = NULL
cdef pipe_get_bool_t nng_pipe_get_bool = NULL
_nng_checked = None


def nng_available():
    """Whether NNG's functions can be called directly: looked up once, in pynng's library. RAFTX_NNG=python: no."""
    global _nng_checked
    if os.environ.get("RAFTX_NNG", "") == "python":
        return False
    if _nng_checked is None:
        try:
            _look_up_nng()
            _nng_checked = True
        except (ImportError, AttributeError, TypeError, ValueError):
            _nng_checked = False
    return _nng_checked


cdef _look_up_nng():
    global nng_aio_alloc, nng_aio_free, nng_aio_stop, nng_aio_result, nng_aio_get_msg, nng_recv_aio, nng_sendmsg
    global nng_msg_alloc, nng_msg_free, nng_msg_body, nng_msg_len
    global nng_push0_open, nng_close, nng_socket_set_int, nng_socket_set_ms, nng_pipe_notify, nng_dial
    global nng_listener_create, nng_listener_start, nng_listener_set_int, nng_listener_close
    global nng_pipe_close, nng_pipe_listener, nng_msg_get_pipe, nng_socket_set_ptr, nng_pipe_get_ptr, nng_pipe_get_bool
    import pynng

    ffi, lib = pynng.ffi, pynng.lib
    names = (
        "nng_aio_alloc nng_aio_free nng_aio_stop nng_aio_result nng_aio_get_msg nng_recv_aio nng_sendmsg "
        "nng_msg_alloc nng_msg_free nng_msg_body nng_msg_len "
        "nng_push0_open nng_close nng_socket_set_int nng_socket_set_ms nng_pipe_notify nng_dial "
        "nng_listener_create nng_listener_start nng_listener_set_int nng_listener_close "
        "nng_pipe_close nng_pipe_listener nng_msg_get_pipe nng_socket_set_ptr nng_pipe_get_ptr nng_pipe_get_bool"
    ).split()
    at = {name: int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in names}
    nng_aio_alloc = <aio_alloc_t><uintptr_t>at["nng_aio_alloc"]
    nng_aio_free = <aio_t><uintptr_t>at["nng_aio_free"]
    nng_aio_stop = <aio_t><uintptr_t>at["nng_aio_stop"]
    nng_aio_result = <aio_result_t><uintptr_t>at["nng_aio_result"]
    nng_aio_get_msg = <aio_msg_t><uintptr_t>at["nng_aio_get_msg"]
    nng_recv_aio = <recv_aio_t><uintptr_t>at["nng_recv_aio"]
    nng_sendmsg = <sendmsg_t><uintptr_t>at["nng_sendmsg"]
    nng_msg_alloc = <msg_alloc_t><uintptr_t>at["nng_msg_alloc"]
    nng_msg_free = <msg_free_t><uintptr_t>at["nng_msg_free"]
    nng_msg_body = <msg_body_t><uintptr_t>at["nng_msg_body"]
    nng_msg_len = <msg_len_t><uintptr_t>at["nng_msg_len"]
    nng_push0_open = <open_t><uintptr_t>at["nng_push0_open"]
    nng_close = <close_t><uintptr_t>at["nng_close"]
    nng_socket_set_int = <set_t><uintptr_t>at["nng_socket_set_int"]
    nng_socket_set_ms = <set_t><uintptr_t>at["nng_socket_set_ms"]
    nng_pipe_notify = <notify_t><uintptr_t>at["nng_pipe_notify"]
    nng_dial = <dial_t><uintptr_t>at["nng_dial"]
    nng_listener_create = <listener_create_t><uintptr_t>at["nng_listener_create"]
    nng_listener_start = <listener_start_t><uintptr_t>at["nng_listener_start"]
    nng_listener_set_int = <listener_set_t><uintptr_t>at["nng_listener_set_int"]
    nng_listener_close = <listener_close_t><uintptr_t>at["nng_listener_close"]
    nng_pipe_close = <pipe_close_t><uintptr_t>at["nng_pipe_close"]
    nng_pipe_listener = <pipe_listener_t><uintptr_t>at["nng_pipe_listener"]
    nng_msg_get_pipe = <msg_pipe_t><uintptr_t>at["nng_msg_get_pipe"]
    nng_socket_set_ptr = <set_ptr_t><uintptr_t>at["nng_socket_set_ptr"]
    nng_pipe_get_ptr = <pipe_get_ptr_t><uintptr_t>at["nng_pipe_get_ptr"]
    nng_pipe_get_bool = <pipe_get_bool_t><uintptr_t>at["nng_pipe_get_bool"]
