"""NNG's own functions, called without the GIL through pynng's library: receiving, dialling, sending.

_nng.py is the twin in plain Python, where they cannot be called. Nothing here knows Raft or frames. No mutex
is held while anything waits for the GIL.
"""
import os

cimport cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from ._sys import Event, Runner
from .errors import TransportError, UsageError

cdef extern from "_sys.h":
    int64_t raftx_load(int64_t*) noexcept nogil
    void raftx_store(int64_t*, int64_t) noexcept nogil
    int64_t raftx_exchange(int64_t*, int64_t) noexcept nogil
    void raftx_signal(int) noexcept nogil
    int pthread_mutex_init(pthread_mutex_t*, void*) nogil
    int pthread_mutex_destroy(pthread_mutex_t*) nogil
    int pthread_mutex_lock(pthread_mutex_t*) nogil
    int pthread_mutex_unlock(pthread_mutex_t*) nogil
    ctypedef struct raftx_nng_socket:
        uint32_t id
    ctypedef struct raftx_nng_pipe:
        uint32_t id

cdef enum:
    NNG_NONBLOCK = 2
    NNG_ECLOSED = 7
    NNG_ECANCELED = 20
    NNG_EAGAIN = 8
    NEVER_MS = 0x7FFFFFFF
    PIPE_ADDED = 1
    PIPE_REMOVED = 2

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
    import pynng

    ffi, lib = pynng.ffi, pynng.lib
    names = (
        "nng_aio_alloc nng_aio_free nng_aio_stop nng_aio_result nng_aio_get_msg nng_recv_aio nng_sendmsg "
        "nng_msg_alloc nng_msg_free nng_msg_body nng_msg_len "
        "nng_push0_open nng_close nng_socket_set_int nng_socket_set_ms nng_pipe_notify nng_dial"
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


cdef void received(void* argument) noexcept nogil:
    # On one of NNG's threads: never touches Python. One receive is under way at a time.
    cdef ReceiverState* r = <ReceiverState*>argument
    cdef int code = nng_aio_result(<nng_aio*>r.aio)
    cdef raftx_nng_socket s
    s.id = r.socket
    if code:
        raftx_store(&r.error, code)
        if code != NNG_ECLOSED and code != NNG_ECANCELED and not raftx_load(&r.stopping):
            nng_recv_aio(s, <nng_aio*>r.aio)
        return
    r.ring[r.head % r.capacity] = <void*>nng_aio_get_msg(<nng_aio*>r.aio)
    raftx_store(&r.head, r.head + 1)
    receiver_wake(r)
    if r.head - raftx_load(&r.tail) >= <int64_t>r.capacity:
        raftx_store(&r.parked, 1)
        # The taker may have made room just before it could see that we parked: whoever takes the mark re-arms.
        if r.head - raftx_load(&r.tail) >= <int64_t>r.capacity or not raftx_exchange(&r.parked, 0):
            return
    nng_recv_aio(s, <nng_aio*>r.aio)


cdef void receiver_wake(ReceiverState* r) noexcept nogil:
    if raftx_load(r.sleeping) and raftx_exchange(r.sleeping, 0):
        raftx_signal(r.fd)


@cython.no_gc_clear
cdef class NngReceiver:
    """Receives on one socket by NNG's asynchronous callback into a bounded ring, for one taker.

    A full ring stops receiving until the taker has made room, so that NNG and TCP slow the sender down.
    """

    def __cinit__(self, uint32_t socket, Event event not None, size_t capacity=1024):
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        if not 1 <= capacity <= 1 << 20:
            raise ValueError("capacity must be in 1..2^20")
        self.event = event
        self.current = NULL
        self.state = <ReceiverState*>calloc(1, sizeof(ReceiverState))
        if self.state == NULL:
            raise MemoryError()
        self.state.ring = <void**>calloc(capacity, sizeof(void*))
        if self.state.ring == NULL:
            raise MemoryError()
        self.state.socket = socket
        self.state.capacity = capacity
        self.state.fd = event.fd
        self.state.sleeping = &event.sleeping

    def __dealloc__(self):
        if self.state != NULL:
            self._stop()
            free(self.state.ring)
            free(self.state)

    def start(self):
        """Begin to receive. Raises TransportError."""
        cdef nng_aio* aio = NULL
        cdef raftx_nng_socket s
        if self.state.aio != NULL or raftx_load(&self.state.stopping):
            raise UsageError("a receiver starts once")
        if nng_aio_alloc(&aio, received, self.state):
            raise TransportError("NNG has no memory for a receiver")
        self.state.aio = aio
        s.id = self.state.socket
        # pynng's own callbacks for connections that come and go are Python: they would have NNG's threads
        # wait for the GIL.
        for event in range(PIPE_REMOVED + 1):
            nng_pipe_notify(s, event, NULL, NULL)
        with nogil:
            nng_recv_aio(s, aio)

    cdef void _stop(self) noexcept nogil:
        raftx_store(&self.state.stopping, 1)
        if self.state.aio != NULL:
            nng_aio_stop(<nng_aio*>self.state.aio)    # waits for a callback that is running
            nng_aio_free(<nng_aio*>self.state.aio)
            self.state.aio = NULL
        while self.state.tail < self.state.head:
            nng_msg_free(<nng_msg*>self.state.ring[self.state.tail % self.state.capacity])
            self.state.tail += 1
        if self.current != NULL:
            nng_msg_free(self.current)
            self.current = NULL

    def stop(self):
        """End receiving; frees what was not taken. Not while the taker is in ``next``."""
        with nogil:
            self._stop()

    cdef bint waiting(self) noexcept nogil:
        return raftx_load(&self.state.head) != self.state.tail

    cdef bint next(self) noexcept nogil:
        cdef raftx_nng_socket s
        if self.current != NULL:
            nng_msg_free(self.current)
            self.current = NULL
        if raftx_load(&self.state.head) == self.state.tail:
            return False
        self.current = <nng_msg*>self.state.ring[self.state.tail % self.state.capacity]
        raftx_store(&self.state.tail, self.state.tail + 1)
        if raftx_load(&self.state.parked) and raftx_exchange(&self.state.parked, 0):
            s.id = self.state.socket
            nng_recv_aio(s, <nng_aio*>self.state.aio)
        self.data = <const uint8_t*>nng_msg_body(self.current)
        self.size = nng_msg_len(self.current)
        return True

    def py_next(self):
        """The next frame, or None."""
        if not self.next():
            return None
        return PyBytes_FromStringAndSize(<const char*>self.data, self.size)


cdef void pipe_added(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    cdef PeerState* p = <PeerState*>argument
    pthread_mutex_lock(&p.mutex)
    p.ready = True
    pthread_mutex_unlock(&p.mutex)


cdef void pipe_removed(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    # NNG frees the connection when this returns; so it waits for a send that is under way.
    cdef PeerState* p = <PeerState*>argument
    pthread_mutex_lock(&p.mutex)
    p.lost = True
    pthread_mutex_unlock(&p.mutex)
    if raftx_load(p.sleeping) and raftx_exchange(p.sleeping, 0):
        raftx_signal(p.fd)


cdef class NngPeer(Runner):
    """Keeps a connection to one peer. ``run`` is the body of a thread of its own, until ``stop``.

    Each connection has a Push0 socket of its own, and NNG never reconnects by itself: a connection that ends
    while it begins stays in Push0's list although it has been freed, and the next send would use it. So after
    the end of a connection nothing is sent on its socket any more; it is closed, and another one dials.

    queue: frames that may wait, 0..8192. shortest, longest: milliseconds between two attempts to dial.
    """

    def __cinit__(self, str url not None, int queue, int shortest, int longest):
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        if not 0 <= queue <= 8192:
            raise ValueError("queue must be in 0..8192")
        if not 1 <= shortest <= longest:
            raise ValueError("shortest and longest must be at least 1 and in this order")
        self.state = <PeerState*>calloc(1, sizeof(PeerState))
        if self.state == NULL:
            raise MemoryError()
        pthread_mutex_init(&self.state.mutex, NULL)
        self.event = Event()
        self.state.fd = self.event.fd
        self.state.sleeping = &self.event.sleeping
        self.url = url.encode()
        self.url_text = PyBytes_AS_STRING(self.url)
        self.queue = queue
        self.shortest = shortest * <int64_t>1000000
        self.longest = longest * <int64_t>1000000

    def __dealloc__(self):
        if self.state != NULL:
            self._disconnect()
            pthread_mutex_destroy(&self.state.mutex)
            free(self.state)

    cdef int loop(self) except -1 nogil:
        cdef int64_t pause = self.shortest
        while not raftx_load(&self.state.stopping):
            if self._connect():
                self._disconnect()
                self._pause(pause)
                pause = min(2 * pause, self.longest)
                continue
            pause = self.shortest
            self.connections += 1
            while not self._over():
                self.event.prepare()
                if self._over():
                    self.event.cancel()
                else:
                    self.event.wait(-1)
            self._disconnect()
            self._pause(pause)
        self._disconnect()
        return 0

    cdef bint _over(self) noexcept nogil:
        cdef bint lost
        pthread_mutex_lock(&self.state.mutex)
        lost = self.state.lost
        pthread_mutex_unlock(&self.state.mutex)
        return lost or raftx_load(&self.state.stopping)

    cdef void _pause(self, int64_t ns) noexcept nogil:
        self.event.prepare()
        if raftx_load(&self.state.stopping):
            self.event.cancel()
        else:
            self.event.wait(ns)

    cdef int _connect(self) noexcept nogil:
        cdef raftx_nng_socket s
        if nng_push0_open(&s):
            return -1
        nng_socket_set_int(s, b"send-buffer", self.queue)
        nng_socket_set_ms(s, b"reconnect-time-min", NEVER_MS)
        nng_socket_set_ms(s, b"reconnect-time-max", NEVER_MS)
        nng_pipe_notify(s, PIPE_ADDED, pipe_added, self.state)
        nng_pipe_notify(s, PIPE_REMOVED, pipe_removed, self.state)
        pthread_mutex_lock(&self.state.mutex)
        self.state.socket = s.id
        self.state.ready = self.state.lost = False
        pthread_mutex_unlock(&self.state.mutex)
        # Who stops us either finds the socket or has been seen here.
        if raftx_load(&self.state.stopping):
            return -1
        return nng_dial(s, self.url_text, NULL, 0)

    cdef void _disconnect(self) noexcept nogil:
        cdef raftx_nng_socket s
        pthread_mutex_lock(&self.state.mutex)
        s.id = self.state.socket
        self.state.socket = 0
        self.state.ready = False
        pthread_mutex_unlock(&self.state.mutex)
        if s.id:
            nng_close(s)    # returns when no callback of this socket can come any more

    def stop(self):
        """End ``run``, also while it dials. Any thread; may be called twice."""
        raftx_store(&self.state.stopping, 1)
        with nogil:
            self._disconnect()
        self.event.wake()

    def py_ready(self):
        """Whether a connection stands."""
        return bool(self.state.ready and not self.state.lost)


cdef class NngSender:
    """Sends frames to the peers it was given. For one thread, but for ``add``, which comes before."""

    def __cinit__(self):
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        self.peers = []
        self.current = NULL

    def __dealloc__(self):
        if self.current != NULL:
            nng_msg_free(self.current)

    def add(self, uint64_t id, NngPeer peer not None):
        """Frames for member ``id`` go to this peer. Raises ValueError: too many."""
        if self.count == SLOTS:
            raise ValueError("at most 64 peers")
        self.peers.append(peer)
        self.ids[self.count] = id
        self.states[self.count] = peer.state
        self.count += 1

    cdef uint8_t* prepare(self, uint64_t to, size_t size) noexcept nogil:
        cdef bint usable
        cdef int i
        if self.current != NULL:
            nng_msg_free(self.current)
            self.current = NULL
        for i in range(self.count):
            if self.ids[i] == to:
                break
        else:
            return NULL
        pthread_mutex_lock(&self.states[i].mutex)
        usable = self.states[i].ready and not self.states[i].lost
        pthread_mutex_unlock(&self.states[i].mutex)
        if not usable or nng_msg_alloc(&self.current, size):
            self.current = NULL
            return NULL
        self.chosen = i
        return <uint8_t*>nng_msg_body(self.current)

    cdef int send(self) noexcept nogil:
        cdef PeerState* p = self.states[self.chosen]
        cdef raftx_nng_socket s
        cdef int code = NNG_ECLOSED
        if self.current == NULL:
            return NNG_EAGAIN
        # Under the mutex, so that no connection is freed meanwhile; NNG only queues the frame here.
        pthread_mutex_lock(&p.mutex)
        if p.ready and not p.lost:
            s.id = p.socket
            code = nng_sendmsg(s, self.current, NNG_NONBLOCK)
        pthread_mutex_unlock(&p.mutex)
        if code:
            # NNG owns a message only once it has taken it.
            nng_msg_free(self.current)
        self.current = NULL
        return code

    def py_send(self, uint64_t to, bytes frame not None):
        """Send a copy; 0, or a number when it was dropped."""
        cdef uint8_t* place = self.prepare(to, PyBytes_GET_SIZE(frame))
        if place == NULL:
            return NNG_EAGAIN
        memcpy(place, PyBytes_AS_STRING(frame), PyBytes_GET_SIZE(frame))
        return self.send()
