"""NNG's own functions, called without the GIL through pynng's library: receiving, connecting, sending.

nng.py is the twin in plain Python, where they cannot be called. Nothing here knows Raft or frames. No mutex
is held while anything waits for the GIL.

TCP connections are made and accepted by a Wire and given to NNG as descriptors (``socket://``), each over a listener
that is there for it alone: so it is known which of NNG's pipes is which connection, and closing the listener ends it,
whatever it was doing. Other kinds of addresses are left to NNG's own dialler and listener.
"""
import os

cimport cython

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from .checks cimport check, check_index
from .identity cimport _identified
from .limits cimport _arrivals_ended, _arrivals_identify, _arrivals_opened, _sooner
from .wire cimport raftx_close, raftx_no_sigpipe

from .identity import Identities
from .limits import Arrivals
from .threads import Event, Runner
from .wire import Wire
from ..errors import TransportError, UsageError

cdef extern from "_native/threads.h":
    int64_t raftx_load(int64_t*) noexcept nogil
    int64_t raftx_now() noexcept nogil
    int64_t raftx_add(int64_t*, int64_t) noexcept nogil
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

cdef extern from "_native/wire.h":
    ctypedef struct raftx_nng_listener:
        uint32_t id

cdef extern from "<errno.h>":
    int ECONNRESET, ENOMEM, ETIMEDOUT

cdef enum:
    NNG_NONBLOCK = 2
    NNG_ECLOSED = 7
    NNG_ECANCELED = 20
    NNG_EAGAIN = 8
    NEVER_MS = 0x7FFFFFFF
    PIPE_COMES = 0
    PIPE_ADDED = 1
    PIPE_REMOVED = 2
    HURRY_NOW = 1
    HURRY_ANEW = 2

cdef int64_t HURRY = 100_000_000          # ns: between two attempts because something comes from a peer
cdef int64_t LIVED = 1_000_000_000        # ns: a connection that lasted so long is dialled again at once

include "nng_library.pxi"


cdef bint receiver_full(ReceiverState* r) noexcept nogil:
    return (r.head - raftx_load(&r.tail) >= <int64_t>r.capacity) or raftx_load(&r.bytes) >= r.byte_limit


cdef void received(void* argument) noexcept nogil:
    # On one of NNG's threads: never touches Python. One receive is under way at a time.
    cdef ReceiverState* r = <ReceiverState*>argument
    cdef int code = nng_aio_result(<nng_aio*>r.aio)
    cdef raftx_nng_socket s
    cdef nng_msg* message
    s.id = r.socket
    if code:
        raftx_store(&r.error, code)
        if code != NNG_ECLOSED and code != NNG_ECANCELED and not raftx_load(&r.stopping):
            nng_recv_aio(s, <nng_aio*>r.aio)
        return
    message = nng_aio_get_msg(<nng_aio*>r.aio)
    check(r.head - r.tail < <int64_t>r.capacity)
    raftx_add(&r.bytes, <int64_t>nng_msg_len(message))
    r.ring[r.head % r.capacity] = <void*>message
    raftx_store(&r.head, r.head + 1)
    wake(r.fd, r.sleeping)
    if receiver_full(r):
        raftx_store(&r.parked, 1)
        # The taker may have made room just before it could see that we parked: whoever takes the mark re-arms.
        if receiver_full(r) or not raftx_exchange(&r.parked, 0):
            return
    nng_recv_aio(s, <nng_aio*>r.aio)


cdef void wake(int fd, int64_t* sleeping) noexcept nogil:
    if raftx_load(sleeping) and raftx_exchange(sleeping, 0):
        raftx_signal(fd)


cdef void attend(WireState* w) noexcept nogil:
    # The wire's thread shall look at everything.
    raftx_store(&w.attention, 1)
    wake(w.fd, w.sleeping)


cdef uint64_t named(const IdentityState* names, raftx_nng_pipe pipe) noexcept nogil:
    # The member that the certificate of a connection names, if it was verified; 0: nobody.
    cdef uint8_t verified = 0
    cdef void* value = NULL
    cdef char** texts
    cdef uint64_t found
    cdef int i = 0
    if nng_pipe_get_bool(pipe, b"tls-verified", &verified) or not verified:
        return 0
    if nng_pipe_get_ptr(pipe, b"tls-peer-alt-names", &value) or value == NULL:
        return 0
    texts = <char**>value
    found = _identified(names, texts)
    while texts[i] != NULL:
        free(texts[i])    # both are the caller's, from malloc
        i += 1
    free(texts)
    return found


cdef void pipe_comes(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    # Before anything that comes over it is looked at.
    cdef WireState* w = <WireState*>argument
    cdef raftx_nng_listener listener = nng_pipe_listener(pipe)
    cdef uint64_t member = 0
    if w.names != NULL:
        member = named(w.names, pipe)
        if member == 0:
            _arrivals_identify(w.arrivals, pipe.id, 0)
            nng_pipe_close(pipe)
            return
    if _arrivals_opened(w.arrivals, listener.id, pipe.id, raftx_now()) < 0:
        nng_pipe_close(pipe)
    elif member:
        _arrivals_identify(w.arrivals, pipe.id, member)
    attend(w)


cdef void pipe_goes(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    cdef WireState* w = <WireState*>argument
    _arrivals_ended(w.arrivals, pipe.id)
    attend(w)


@cython.no_gc_clear
cdef class NngReceiver:
    """Receives on one socket by NNG's asynchronous callback into a bounded ring, for one taker.

    A full ring stops receiving until the taker has made room, so that NNG and TCP slow the sender down. It is full
    with ``capacity`` frames (1..2^20) or ``byte_limit`` bytes, the frame that the taker looks at included. Raises
    ValueError.
    """

    def __cinit__(self, uint32_t socket, Event event not None, size_t capacity=1024, int64_t byte_limit=1 << 30):
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        if not 1 <= capacity <= 1 << 20:
            raise ValueError("capacity must be in 1..2^20")
        if byte_limit < 1:
            raise ValueError("byte_limit must be at least 1")
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
        self.state.byte_limit = byte_limit
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
            raftx_add(&self.state.bytes, -<int64_t>self.size)
            nng_msg_free(self.current)
            self.current = NULL
        if raftx_load(&self.state.head) != self.state.tail:
            self.current = <nng_msg*>self.state.ring[self.state.tail % self.state.capacity]
            raftx_store(&self.state.tail, self.state.tail + 1)
            self.data = <const uint8_t*>nng_msg_body(self.current)
            self.size = nng_msg_len(self.current)
        if raftx_load(&self.state.parked) and not receiver_full(self.state) and raftx_exchange(&self.state.parked, 0):
            s.id = self.state.socket
            nng_recv_aio(s, <nng_aio*>self.state.aio)
        return self.current != NULL

    cdef uint32_t pipe(self) noexcept nogil:
        # Over which of NNG's pipes the present frame came.
        return nng_msg_get_pipe(self.current).id if self.current != NULL else 0

    def py_next(self):
        """The next frame, or None."""
        if not self.next():
            return None
        return PyBytes_FromStringAndSize(<const char*>self.data, self.size)


cdef void pipe_answers(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    # Before anything is sent over it: whoever answers has to be the member that was dialled.
    cdef PeerState* p = <PeerState*>argument
    if named(p.wire.names, pipe) != p.id:
        raftx_add(&p.unnamed, 1)
        nng_pipe_close(pipe)


cdef void pipe_added(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    cdef PeerState* p = <PeerState*>argument
    pthread_mutex_lock(&p.mutex)
    p.ready = p.fresh = True
    pthread_mutex_unlock(&p.mutex)
    raftx_store(&p.wire.fresh, 1)
    attend(p.wire)
    wake(p.wire.engine_fd, p.wire.engine_sleeping)


cdef void pipe_removed(raftx_nng_pipe pipe, int event, void* argument) noexcept nogil:
    # NNG frees the connection when this returns; so it waits for a send that is under way.
    cdef PeerState* p = <PeerState*>argument
    pthread_mutex_lock(&p.mutex)
    p.lost = True
    pthread_mutex_unlock(&p.mutex)
    attend(p.wire)


@cython.no_gc_clear
cdef class NngWire(Runner):
    """The connections of a node: gives those of a Wire to NNG, and ends those that have to go. A thread runs it.

    Each connection that is dialled has a Push0 socket of its own, and NNG never reconnects by itself: a connection
    that ends while it begins stays in Push0's list although it has been freed, and the next send would use it. So
    after the end of a connection nothing is sent on its socket any more; it is closed, and another one dials.

    engine: woken when a connection is established. socket: Pull0 that takes what comes, 0 for none. queue: frames
    that may wait for a peer, 0..8192. names: every connection must have a certificate, which names its member; those
    that are dialled, the one that was dialled. Raises ValueError.
    """

    def __cinit__(self, Event engine not None, Wire wire not None, Arrivals arrivals not None, uint32_t socket,
                  int queue, Identities names=None):
        cdef int i
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        if not 0 <= queue <= 8192:
            raise ValueError("queue must be in 0..8192")
        self.wire = wire
        self.arrivals = arrivals
        self.event = wire.event
        self.engine = engine
        self.socket = socket
        self.queue = queue
        self.urls = [b""] * TARGETS
        self.state.fd = self.event.fd
        self.state.sleeping = &self.event.sleeping
        self.state.engine_fd = engine.fd
        self.state.engine_sleeping = &engine.sleeping
        self.state.arrivals = &arrivals.state
        self.names = names
        if names is not None:
            self.state.names = &names.state
        self.peers = <PeerState*>calloc(TARGETS, sizeof(PeerState))
        if self.peers == NULL:
            raise MemoryError()
        for i in range(TARGETS):
            pthread_mutex_init(&self.peers[i].mutex, NULL)
            self.peers[i].wire = &self.state

    def __dealloc__(self):
        cdef int i
        if self.peers != NULL:
            for i in range(self.count):
                self._disconnect(i)
            for i in range(TARGETS):
                pthread_mutex_destroy(&self.peers[i].mutex)
            free(self.peers)

    def add(self, uint64_t id, str host, str port, int family, str url not None, int patience=1, uintptr_t tls=0):
        """Dial member ``id``: host and port over TCP, or without a host the url by NNG itself.

        patience: how many times as long as an attempt the handshake may take. tls: NNG's configuration, which is never
        freed. Any thread, but one at a time, like ``drop``. Raises ValueError: too many.
        """
        cdef bytes text = url.encode()    # first, so that no number is taken when it raises
        cdef int number = self.wire.py_target(id, host, port, family, False)
        # The number is free: neither the wire's thread nor the sender looks at it before it has an id and is begun.
        self.urls[number] = text
        self.url_texts[number] = PyBytes_AS_STRING(self.urls[number])
        self.patience[number] = patience
        raftx_store(&self.peers[number].renew, 0)
        raftx_store(&self.peers[number].hurry, 0)
        self.peers[number].hurried = 0
        self.peers[number].id = id
        raftx_store(&self.peers[number].tls, <int64_t>tls)
        raftx_store(&self.ids[number], <int64_t>id)
        if number == self.count:
            raftx_store(&self.count, number + 1)
        self.wire.py_begin(number)

    def drop(self, uint64_t id):
        """Dial this member no more, and end the connection to it; nothing when it is not dialled."""
        cdef int number = self.number_of(id)
        if number >= 0:
            raftx_store(&self.ids[number], 0)
            raftx_store(&self.peers[number].gone, 1)
            attend(&self.state)

    cdef int number_of(self, uint64_t id) noexcept nogil:
        # -1 for a member that is not dialled.
        cdef int i
        for i in range(<int>raftx_load(&self.count)):
            if raftx_load(&self.ids[i]) == <int64_t>id:
                return i
        return -1

    def watch(self):
        """Count what comes to the Pull0 socket, and close what has to go. Before it listens."""
        cdef raftx_nng_socket s
        s.id = self.socket
        # Instead of pynng's own callbacks, which are Python: they would have NNG's threads wait for the GIL.
        nng_pipe_notify(s, PIPE_COMES, pipe_comes, &self.state)
        nng_pipe_notify(s, PIPE_ADDED, NULL, NULL)
        nng_pipe_notify(s, PIPE_REMOVED, pipe_goes, &self.state)

    cdef int loop(self) except -1 nogil:
        cdef int i
        cdef int64_t until
        raftx_no_sigpipe()
        while not raftx_load(&self.stopping):
            until = self._look()
            self.event.prepare()
            if raftx_exchange(&self.state.attention, 0) or raftx_load(&self.stopping):
                until = 0
            self.wire.step(until)
            while self.wire.take():
                if self.wire.who < 0:
                    self._receive(self.wire.fd, self.wire.source)
                else:
                    self._connect(self.wire.who, self.wire.fd)
        for i in range(<int>raftx_load(&self.count)):
            self._disconnect(i)
        self._close_arrivals()
        return 0

    cdef int64_t _look(self) noexcept nogil:
        # See to every connection; when that has to be done again, -1: not before something happens.
        cdef int64_t now = raftx_now(), next = self.arrivals.sweep(now)
        cdef PeerState* p
        cdef bint ready, lost, renew
        cdef int64_t hurry
        cdef int i
        self._close_arrivals()
        for i in range(<int>raftx_load(&self.count)):
            p = &self.peers[i]
            if raftx_exchange(&p.gone, 0):
                self._disconnect(i)
                self.wire.drop(i)
                continue
            pthread_mutex_lock(&p.mutex)
            ready, lost = p.ready, p.lost
            pthread_mutex_unlock(&p.mutex)
            renew = raftx_exchange(&p.renew, 0) != 0
            hurry = raftx_exchange(&p.hurry, 0)
            if not p.socket:
                if renew or hurry:
                    self.wire.hurry(i, renew or hurry == HURRY_ANEW)
                continue
            if ready and not self.stands[i]:
                self.stands[i] = True
                self.since[i] = now
                self.connections += 1
                self.wire.stood(i)
            # One that is not established yet is new already.
            if lost or (renew and ready):
                self._disconnect(i)
                self.renewals += not lost
                # What ends at once is not dialled as fast as it ends.
                self.wire.again(i, 0 if not lost or (self.stands[i] and now - self.since[i] >= LIVED) else ECONNRESET)
            elif not ready and now >= self.deadlines[i]:
                self._disconnect(i)
                self.wire.again(i, ETIMEDOUT)
            elif not ready:
                next = _sooner(next, self.deadlines[i])
        return next

    cdef void _close_arrivals(self) noexcept nogil:
        cdef raftx_nng_listener listener
        cdef raftx_nng_pipe pipe
        while self.arrivals.next_to_close():
            if self.arrivals.own:
                listener.id = self.arrivals.listener
                nng_listener_close(listener)
            else:
                pipe.id = self.arrivals.pipe
                nng_pipe_close(pipe)

    cdef void _receive(self, int fd, uint64_t source) noexcept nogil:
        # A connection that has greeted becomes one of the Pull0 socket.
        cdef raftx_nng_socket s
        cdef raftx_nng_listener listener
        cdef int64_t refused = self.state.arrivals.refused
        s.id = self.socket
        if nng_listener_create(&listener, s, b"socket://"):
            raftx_close(fd)
            self.wire.shortage(ENOMEM)
            return
        if self.arrivals.admit(listener.id, source, raftx_now()) < 0:
            # Nobody else knows of the listener.
            raftx_close(fd)
            nng_listener_close(listener)
        elif nng_listener_start(listener, 0) or nng_listener_set_int(listener, b"socket:fd", fd):
            raftx_close(fd)
            self.arrivals.drop(listener.id)
        if self.state.arrivals.refused != refused:
            self.wire.crowd()

    cdef void _connect(self, int number, int fd) noexcept nogil:
        # A socket of its own for this connection; without a descriptor NNG dials.
        cdef raftx_nng_socket s
        cdef raftx_nng_listener listener
        cdef PeerState* p = &self.peers[number]
        cdef int code
        check_index(number, TARGETS)
        if nng_push0_open(&s):
            if fd >= 0:
                raftx_close(fd)
            self.wire.shortage(ENOMEM)
            self.wire.again(number, ENOMEM)
            return
        nng_socket_set_int(s, b"send-buffer", self.queue)
        nng_socket_set_ms(s, b"reconnect-time-min", NEVER_MS)
        nng_socket_set_ms(s, b"reconnect-time-max", NEVER_MS)
        if self.state.names != NULL:
            # Without one it dials nobody: NNG would use a configuration of its own.
            if raftx_load(&p.tls) == 0 or nng_socket_set_ptr(s, b"tls-config", <void*>raftx_load(&p.tls)):
                nng_close(s)
                if fd >= 0:
                    raftx_close(fd)
                self.wire.again(number, ECONNRESET)
                return
            nng_pipe_notify(s, PIPE_COMES, pipe_answers, p)
            if fd >= 0:
                # It has shown that somebody listens there: NNG's own dialler would not say so for a long time.
                raftx_close(fd)
                fd = -1
        nng_pipe_notify(s, PIPE_ADDED, pipe_added, p)
        nng_pipe_notify(s, PIPE_REMOVED, pipe_removed, p)
        pthread_mutex_lock(&p.mutex)
        p.socket = s.id
        p.ready = p.lost = p.fresh = False
        pthread_mutex_unlock(&p.mutex)
        self.stands[number] = False
        self.deadlines[number] = raftx_now() + self.patience[number] * self.wire.dial_ns
        if fd < 0:
            code = nng_dial(s, self.url_texts[number], NULL, NNG_NONBLOCK)
        else:
            code = nng_listener_create(&listener, s, b"socket://")
            if not code:
                code = nng_listener_start(listener, 0)
            if not code:
                code = nng_listener_set_int(listener, b"socket:fd", fd)
            if code:
                raftx_close(fd)
        if code:
            self._disconnect(number)
            self.wire.again(number, ECONNRESET)

    cdef void _disconnect(self, int number) noexcept nogil:
        cdef PeerState* p = &self.peers[number]
        cdef raftx_nng_socket s
        check_index(number, TARGETS)
        pthread_mutex_lock(&p.mutex)
        s.id = p.socket
        p.socket = 0
        p.ready = False
        pthread_mutex_unlock(&p.mutex)
        if s.id:
            nng_close(s)    # returns when no callback of this socket can come any more

    cdef void renew(self, uint64_t id) noexcept nogil:
        # End the connection to this member and dial again. Any thread.
        cdef int number = self.number_of(id)
        if number >= 0:
            raftx_store(&self.peers[number].renew, 1)
            attend(&self.state)

    cdef void heard(self, uint64_t id, bint anew) noexcept nogil:
        # Something has come from this member: without a connection to it, dial it now. anew: it has just come to be
        # there. For something that comes all the time, it is dialled so now and then only. For the sending thread.
        cdef int number = self.number_of(id)
        cdef PeerState* p
        cdef int64_t now
        cdef bint stands
        if number < 0:
            return
        p = &self.peers[number]
        pthread_mutex_lock(&p.mutex)
        stands = p.ready and not p.lost
        pthread_mutex_unlock(&p.mutex)
        if stands:
            return
        now = raftx_now()
        if anew or p.hurried == 0 or now - p.hurried >= HURRY:
            p.hurried = now
            raftx_store(&p.hurry, HURRY_ANEW if anew else HURRY_NOW)
            attend(&self.state)

    cdef uint64_t fresh(self) noexcept nogil:
        # A member to which a connection was established since the last call, 0 for none. For the sending thread.
        cdef int i
        cdef bint fresh
        cdef int64_t id
        if not raftx_load(&self.state.fresh):
            return 0
        raftx_store(&self.state.fresh, 0)
        for i in range(<int>raftx_load(&self.count)):
            # Before its mark: a number that is given away meanwhile has no established connection yet.
            id = raftx_load(&self.ids[i])
            pthread_mutex_lock(&self.peers[i].mutex)
            fresh = id and self.peers[i].fresh
            if fresh:
                self.peers[i].fresh = False
            pthread_mutex_unlock(&self.peers[i].mutex)
            if fresh:
                raftx_store(&self.state.fresh, 1)    # there may be others
                return <uint64_t>id
        return 0

    cdef void proven(self, uint32_t pipe) noexcept nogil:
        # A valid frame has come over this pipe.
        self.arrivals.proven(pipe, raftx_now())

    cdef uint64_t member(self, uint32_t pipe) noexcept nogil:
        # Whom the certificate of a connection names; 0: connections have none.
        return self.arrivals.member(pipe) if self.state.names != NULL else 0

    @property
    def unnamed(self):
        """How many connections were ended because somebody answered that was not the member dialled."""
        return sum([raftx_load(&self.peers[i].unnamed) for i in range(<int>raftx_load(&self.count))])

    def py_tls(self, uint64_t id, uintptr_t tls):
        """The next connection to this member uses this configuration, which is never freed. Any thread."""
        cdef int number = self.number_of(id)
        if number >= 0:
            raftx_store(&self.peers[number].tls, <int64_t>tls)

    def py_attend(self):
        """The thread that runs shall look at everything. Any thread."""
        attend(&self.state)

    def stop(self):
        """End ``run``. Any thread; may be called twice."""
        raftx_store(&self.stopping, 1)
        self.event.wake()

    def py_renew(self, uint64_t id):
        """End the connection to this member and dial again. Any thread."""
        self.renew(id)

    def py_heard(self, uint64_t id, bint anew=False):
        """Something has come from this member: without a connection to it, dial it now."""
        self.heard(id, anew)

    def py_fresh(self):
        """A member to which a connection was established since the last call, 0 for none."""
        return self.fresh()

    def py_ready(self, uint64_t id):
        """Whether a connection to this member is established."""
        cdef int number = self.number_of(id)
        return number >= 0 and bool(self.peers[number].ready and not self.peers[number].lost)


cdef class NngSender:
    """Sends frames to the members that a wire dials. For one thread.

    Nothing else is sent on a new connection until ``fresh`` has told of it: its first frame is the sender's to choose.
    """

    def __cinit__(self, NngWire wire not None):
        if not nng_available():
            raise UsageError("NNG's functions cannot be called directly here")
        self.wire = wire
        self.current = NULL

    def __dealloc__(self):
        if self.current != NULL:
            nng_msg_free(self.current)

    cdef uint8_t* prepare(self, uint64_t to, size_t size) noexcept nogil:
        cdef PeerState* p
        cdef bint usable
        cdef int i
        if not self.masked:
            raftx_no_sigpipe()
            self.masked = True
        if self.current != NULL:
            nng_msg_free(self.current)
            self.current = NULL
        i = self.wire.number_of(to)
        if i < 0:
            return NULL
        p = &self.wire.peers[i]
        pthread_mutex_lock(&p.mutex)
        usable = p.ready and not p.lost and not p.fresh
        pthread_mutex_unlock(&p.mutex)
        if not usable or nng_msg_alloc(&self.current, size):
            self.current = NULL
            return NULL
        self.chosen = i
        return <uint8_t*>nng_msg_body(self.current)

    cdef int send(self) noexcept nogil:
        cdef PeerState* p = &self.wire.peers[self.chosen]
        cdef raftx_nng_socket s
        cdef int code = NNG_ECLOSED
        check_index(self.chosen, TARGETS)
        if self.current == NULL:
            return NNG_EAGAIN
        # Under the mutex, so that no connection is freed meanwhile; NNG only queues the frame here. A connection that
        # is new since may be another member's, to which the number was given.
        pthread_mutex_lock(&p.mutex)
        if p.ready and not p.lost and not p.fresh:
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
