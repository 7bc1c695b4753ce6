"""The connections of a node that speaks SP itself: what comes is read, what goes is written, nothing else waits.

tcp.py is the twin in plain Python. Nothing here knows Raft or frames. One thread has a TcpStreams: it waits in ``wait``
for an event of its own and for all connections at once, sees to them in ``collect``, takes frames with ``next``, and sends
with ``prepare`` and ``send``; ``flush`` gives what was sent to the kernel, all that is for a peer in one call. Other
threads may add and drop peers only.

A Wire accepts and dials. A connection that is dialled begins with both greetings; only its own side sends on it, so
whatever else comes ends it. What waits to be sent to a peer is bounded, and ends with its connection: half a frame is
never followed by another connection's. Of those that came, one at a time is read into a buffer that all share; what is
left over of a frame is kept by its connection.
"""
import errno

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

cimport cython

from .checks cimport check, check_index
from .limits cimport _sooner
from .memory cimport Spans
from .sp cimport (SP_FRAME, SP_MORE, _inflow_clear, _inflow_feed, _inflow_next, _inflow_place, _inflow_placed, _outflow_clear,
                  _outflow_commit, _outflow_gather, _outflow_refer, _outflow_reserve, _outflow_sent, _outflow_waiting, iovec)
from .wire cimport raftx_close

from .limits import Arrivals
from .threads import Event
from .wire import Wire

cdef extern from "_native/threads.h":
    int64_t raftx_now() noexcept nogil
    int64_t raftx_load(int64_t*) noexcept nogil
    void raftx_store(int64_t*, int64_t) noexcept nogil
    int64_t raftx_exchange(int64_t*, int64_t) noexcept nogil
    void raftx_drain(int) noexcept nogil

cdef extern from "_native/tcp.h":
    int ECONNRESET, ENOMEM, EPROTO, ETIMEDOUT, EAGAIN, EWOULDBLOCK, EPOLLIN, EPOLLOUT, EPOLLRDHUP
    const uint8_t* raftx_push_greeting
    const uint8_t* raftx_pull_greeting
    ssize_t raftx_receive(int, uint8_t*, size_t, uint8_t*, size_t) noexcept nogil
    ssize_t raftx_send_parts(int, iovec*, int) noexcept nogil
    int raftx_greets(int, const uint8_t*) noexcept nogil
    int raftx_wait_few(const int*, int, int64_t) noexcept nogil
    int raftx_poller() noexcept nogil
    int raftx_watch(int, int, uint32_t, uint64_t) noexcept nogil
    int raftx_rewatch(int, int, uint32_t, uint64_t) noexcept nogil
    void raftx_unwatch(int, int) noexcept nogil
    int raftx_happened(int, raftx_epoll_event*, int) noexcept nogil
    uint64_t raftx_tag(const raftx_epoll_event*) noexcept nogil
    uint32_t raftx_events(const raftx_epoll_event*) noexcept nogil

cdef enum:
    SCRATCH = 256 << 10                   # bytes that are read at a time
    PARTS = 64                            # places from which one call takes what is to be sent
    # bits of what has happened: to the wire, to peers, to those that came, to the event
    WIRE = 1
    PEERS = 2
    COMERS = 4
    EVENT = 8

cdef int64_t LIVED = 1_000_000_000        # ns: a connection that lasted so long is dialled again at once
cdef int64_t HURRY = 100_000_000          # between two attempts because something comes from a peer
cdef int64_t PROOF = 100_000_000          # between two words to arrivals that a connection is of use


cdef inline uint64_t _tag(uint32_t turn, int which) noexcept nogil:
    return <uint64_t>turn << 32 | <uint32_t>which


@cython.no_gc_clear
cdef class TcpStreams:
    """The connections of a node.

    wire, arrivals: who accepts and dials, and who may stay; nobody else may use them. limit: bytes of the largest frame
    that is taken. send_limit: bytes that may wait to be sent to a peer, unless it is one frame. ipc: others connect to
    a Unix socket. Raises OSError, MemoryError.
    """

    def __cinit__(self, Wire wire not None, Arrivals arrivals not None, size_t limit, size_t send_limit, bint ipc=False):
        cdef int i
        self.inn = self.out = self.current = self.chosen = -1
        self.wire = wire
        self.arrivals = arrivals
        self.limit = limit
        self.send_limit = send_limit
        self.ipc = ipc
        # Arrivals has as many places; one more may be looked at after its place was given back.
        self.room = 2 * arrivals.state.limit + 1
        self.peers = <Peer*>calloc(TARGETS, sizeof(Peer))
        self.comers = <Comer*>calloc(self.room, sizeof(Comer))
        self.free_places = <int*>calloc(self.room, sizeof(int))
        self.scratch = <uint8_t*>malloc(SCRATCH)
        if self.peers == NULL or self.comers == NULL or self.free_places == NULL or self.scratch == NULL:
            raise MemoryError()
        for i in range(TARGETS):
            self.peers[i].fd = -1
        for i in range(self.room):
            self.comers[i].fd = -1
            self.free_places[self.room - 1 - i] = i    # the lowest first
        self.free_count = self.room
        self.inn = raftx_poller()
        self.out = raftx_poller()
        if self.inn < 0 or self.out < 0:
            raise OSError(errno.EMFILE, "no descriptor to wait with")

    def __dealloc__(self):
        if self.peers != NULL and self.comers != NULL and self.free_places != NULL:
            self._close()
        free(self.peers)
        free(self.comers)
        free(self.free_places)
        free(self.scratch)

    # --- peers ------------------------------------------------------------------------------------

    def add(self, uint64_t id, str host, str port, int family, bint ipc=False):
        """Dial member ``id`` from now on; ipc: the host is a path, the family UNIX of a Wire.

        Any thread, but one at a time, like ``drop``. Raises ValueError: too many, or too long.
        """
        cdef int number = self.wire.py_target(id, host, port, family, False)
        # The number is free: the thread that waits does not look at it before it has an id and is begun.
        self.peers[number].out.ipc = ipc
        self.peers[number].hurried = 0
        raftx_store(&self.peers[number].id, <int64_t>id)
        if number == self.count:
            raftx_store(&self.count, number + 1)
        self.wire.py_begin(number)
        self._attend()

    def drop(self, uint64_t id):
        """Dial this member no more, and end the connection to it; nothing when it is not dialled."""
        cdef int number = self.number_of(id)
        if number >= 0:
            raftx_store(&self.peers[number].id, 0)
            raftx_store(&self.peers[number].gone, 1)
            self._attend()

    cdef void _attend(self) noexcept nogil:
        # The thread that waits shall look at the peers.
        raftx_store(&self.attention, 1)
        self.wire.event.wake()

    cdef int number_of(self, uint64_t id) noexcept nogil:
        # -1 for a member that is not dialled.
        cdef int i
        for i in range(<int>raftx_load(&self.count)):
            if raftx_load(&self.peers[i].id) == <int64_t>id:
                return i
        return -1

    cdef void _drop_gone(self) noexcept nogil:
        cdef int i
        for i in range(<int>raftx_load(&self.count)):
            if raftx_exchange(&self.peers[i].gone, 0):
                self._disconnect(i)
                self.wire.drop(i)

    # --- waiting ----------------------------------------------------------------------------------

    cdef void wait(self, Event event, int64_t timeout, bint hungry) noexcept nogil:
        # Until the event is woken, something has happened, or for so many ns (below 0: no limit). hungry: also until a
        # frame comes. The caller has announced its sleep, and looked again.
        cdef int fds[4]
        cdef int64_t left = -1, now = raftx_now()
        # Whoever adds or drops a peer wakes the wire's event: announced before a look at what was left.
        self.wire.event.prepare()
        if self.due == 0:
            self.due = self._next_due(now)
        if self.due >= 0:
            left = max(self.due - now, <int64_t>0)
        if timeout >= 0:
            left = _sooner(left, timeout)
        if raftx_load(&self.attention) or (hungry and self.waiting()):
            left = 0
        fds[0] = self.wire.poller
        fds[1] = self.out
        fds[2] = self.inn if hungry else -1
        fds[3] = event.fd
        self.woken = raftx_wait_few(fds, 4, left)
        self.polled = hungry
        event.cancel()
        if self.woken & EVENT:
            raftx_drain(event.fd)

    cdef bint look(self, bint hungry) noexcept nogil:
        # Whether ``wait`` would end at once, but for the event: what was found is for the next ``collect``.
        cdef int fds[3]
        if raftx_load(&self.attention) or (hungry and self.waiting()):
            return True
        if self.due == 0:
            self.due = self._next_due(raftx_now())
        if self.due >= 0 and raftx_now() >= self.due:
            return True
        fds[0] = self.wire.poller
        fds[1] = self.out
        fds[2] = self.inn if hungry else -1
        self.woken = raftx_wait_few(fds, 3, 0)
        self.polled = hungry
        return self.woken != 0

    cdef int64_t _next_due(self, int64_t now) noexcept nogil:
        cdef int64_t next = self.wire.due(), other = self.arrivals.sweep(now)
        cdef int i
        self._close_comers()
        if other >= 0:
            next = _sooner(next, other)
        for i in range(<int>raftx_load(&self.count)):
            if self.peers[i].state == GREETING:
                next = _sooner(next, self.peers[i].since + self.wire.dial_ns)
        return next

    cdef void collect(self) noexcept nogil:
        # See to what has happened to the connections; nothing waits. Frames that have come are found by ``next``.
        cdef int fds[3]
        cdef int64_t now = raftx_now()
        cdef int i
        if not self.polled:
            fds[0] = self.wire.poller
            fds[1] = self.out
            fds[2] = self.inn
            self.woken = raftx_wait_few(fds, 3, 0)
        self.polled = False
        if self.woken & COMERS and self.input_at == self.input_count:
            self.input_at = 0
            self.input_count = raftx_happened(self.inn, self.events, EVENTS)
            for i in range(self.input_count):
                self.inputs[i] = raftx_tag(&self.events[i])
        if not self.woken & (WIRE | PEERS) and not raftx_load(&self.attention) and self.due != 0:
            if self.due < 0 or now < self.due:
                return
        self.due = 0
        if raftx_exchange(&self.attention, 0):
            self._drop_gone()
        self.wire.look()
        while self.wire.take():
            if self.wire.who < 0:
                self._receive(self.wire.fd, self.wire.source, now)
            else:
                self._connect(self.wire.who, self.wire.fd, now)
        if self.woken & PEERS:
            self._look_at_peers(now)
        for i in range(<int>raftx_load(&self.count)):
            if self.peers[i].state == GREETING and now - self.peers[i].since >= self.wire.dial_ns:
                self._lost(i, ETIMEDOUT)
        self.due = self._next_due(now)

    # --- those that came --------------------------------------------------------------------------

    cdef void _receive(self, int fd, uint64_t source, int64_t now) noexcept nogil:
        cdef uint8_t greeting[8]
        cdef int64_t refused = self.arrivals.state.refused
        cdef int place
        cdef Comer* c
        if self.free_count == 0:
            raftx_close(fd)
            self.wire.crowd()
            return
        place = self.free_places[self.free_count - 1]
        c = &self.comers[place]
        check(c.state == NONE)
        # The wire has seen the greeting, and left it there.
        if (raftx_receive(fd, greeting, SP_GREETING, NULL, 0) != SP_GREETING
                or not raftx_greets(fd, raftx_pull_greeting)):
            raftx_close(fd)
            return
        if raftx_watch(self.inn, fd, EPOLLIN, _tag(c.turn, place)):
            raftx_close(fd)
            self.wire.shortage(ENOMEM)
            return
        if self.arrivals.admit(place + 1, source, now) < 0:
            raftx_unwatch(self.inn, fd)
            raftx_close(fd)
        else:
            self.arrivals.opened(place + 1, place + 1, now)
            self.free_count -= 1
            c.state = STANDS
            c.fd = fd
            c.source = source
            c.proven = 0
            c.inn.ipc = self.ipc
        if self.arrivals.state.refused != refused:
            self.wire.crowd()
        self._close_comers()

    cdef void _end(self, int place) noexcept nogil:
        # It has ended, or is to.
        self.arrivals.ended(place + 1)
        self._close_comers()

    cdef void _close_comers(self) noexcept nogil:
        # Those that have to go, and those that have gone.
        cdef int place
        cdef Comer* c
        while self.arrivals.next_to_close():
            place = <int>self.arrivals.listener - 1
            check_index(place, self.room)
            c = &self.comers[place]
            raftx_unwatch(self.inn, c.fd)
            raftx_close(c.fd)
            c.fd = -1
            c.turn += 1
            c.state = ENDED
            if place != self.current:
                self._release(place)

    cdef void _release(self, int place) noexcept nogil:
        _inflow_clear(&self.comers[place].inn)
        self.comers[place].state = NONE
        check_index(self.free_count, self.room)
        self.free_places[self.free_count] = place
        self.free_count += 1

    cdef bint _read(self, int place) noexcept nogil:
        # What has come over a connection, as much as the shared buffer takes; False when nothing did.
        cdef Comer* c = &self.comers[place]
        cdef uint8_t* first = self.scratch
        cdef bint whole = True
        cdef size_t part = _inflow_place(&c.inn, &first, &whole)
        cdef size_t room = SCRATCH if part == 0 or whole else 0
        cdef ssize_t size
        if part == 0:
            size = raftx_receive(c.fd, self.scratch, SCRATCH, NULL, 0)
        else:
            size = raftx_receive(c.fd, first, part, self.scratch, room)
        c.more = size > 0 and <size_t>size == part + room
        if size == -EAGAIN or size == -EWOULDBLOCK:
            return False
        if size <= 0:
            self._end(place)
            return False
        if part:
            part = min(part, <size_t>size)
            _inflow_placed(&c.inn, part)
        _inflow_feed(&c.inn, self.scratch, <size_t>size - part)
        return True

    cdef bint waiting(self) noexcept nogil:
        # Whether ``next`` has something to look at.
        return self.current >= 0 or self.input_at < self.input_count

    cdef bint next(self) noexcept nogil:
        # Make the next frame the present one (data, size) until the next call.
        cdef Comer* c
        cdef uint64_t tag
        cdef int place, code
        while True:
            if self.current >= 0:
                place = self.current
                c = &self.comers[place]
                code = SP_MORE
                if c.state == STANDS:
                    code = _inflow_next(&c.inn, self.limit)
                    if code == SP_FRAME:
                        self.data = c.inn.data
                        self.size = c.inn.size
                        return True
                    # Of a large frame that is here nothing waits for another round.
                    if code == SP_MORE and c.more and c.inn.in_body and self._read(place):
                        continue
                self.current = -1
                if c.state == ENDED:
                    self._release(place)
                elif code != SP_MORE:
                    self.malformed += 1
                    self._end(place)
            if self.input_at == self.input_count:
                return False
            tag = self.inputs[self.input_at]
            self.input_at += 1
            place = <int><uint32_t>tag
            check_index(place, self.room)
            c = &self.comers[place]
            if c.state == STANDS and c.turn == <uint32_t>(tag >> 32) and self._read(place):
                self.current = place

    cdef void proven(self) noexcept nogil:
        # The present frame is valid: where it came from is no stranger.
        cdef Comer* c
        cdef int64_t now
        if self.current < 0:
            return
        c = &self.comers[self.current]
        now = raftx_now()
        if c.state == STANDS and (c.proven == 0 or now - c.proven >= PROOF):
            c.proven = now
            c.inn.trusted = True
            self.arrivals.proven(self.current + 1, now)

    # --- those that are dialled -------------------------------------------------------------------

    cdef void _connect(self, int number, int fd, int64_t now) noexcept nogil:
        cdef Peer* p = &self.peers[number]
        check_index(number, TARGETS)
        check(p.state == NONE)
        if not raftx_greets(fd, raftx_push_greeting):
            raftx_close(fd)
            self.wire.again(number, ECONNRESET)
            return
        if raftx_watch(self.out, fd, EPOLLIN | EPOLLRDHUP, _tag(p.turn, number)):
            raftx_close(fd)
            self.wire.shortage(ENOMEM)
            self.wire.again(number, ENOMEM)
            return
        p.state = GREETING
        p.fd = fd
        p.greeted = 0
        p.since = now

    cdef void _look_at_peers(self, int64_t now) noexcept nogil:
        cdef int i, number, count = raftx_happened(self.out, self.events, EVENTS)
        cdef uint32_t happened
        for i in range(count):
            number = <int><uint32_t>raftx_tag(&self.events[i])
            check_index(number, TARGETS)
            if self.peers[number].fd < 0 or self.peers[number].turn != <uint32_t>(raftx_tag(&self.events[i]) >> 32):
                continue
            happened = raftx_events(&self.events[i])
            if happened & ~<uint32_t>EPOLLOUT:
                self._hear(number, now)
            if happened & EPOLLOUT and self.peers[number].state == STANDS:
                self._write(number)

    cdef void _hear(self, int number, int64_t now) noexcept nogil:
        # The greeting, or the end: nothing else comes from where frames are sent to.
        cdef Peer* p = &self.peers[number]
        cdef uint8_t other[8]
        cdef ssize_t size
        if p.state == STANDS:
            size = raftx_receive(p.fd, other, sizeof(other), NULL, 0)
        else:
            size = raftx_receive(p.fd, p.greeting + p.greeted, SP_GREETING - p.greeted, NULL, 0)
        if size == -EAGAIN or size == -EWOULDBLOCK:
            return
        if size <= 0 or p.state == STANDS:
            self._lost(number, <int>-size if size < 0 else ECONNRESET if size == 0 else EPROTO)
            return
        p.greeted += <int>size
        if memcmp(p.greeting, raftx_pull_greeting, p.greeted):
            self._lost(number, EPROTO)
        elif p.greeted == SP_GREETING:
            p.state = STANDS
            p.since = now
            p.fresh = self.any_fresh = True
            self.connections += 1
            self.wire.stood(number)

    cdef void _disconnect(self, int number) noexcept nogil:
        cdef Peer* p = &self.peers[number]
        check_index(number, TARGETS)
        if p.fd >= 0:
            raftx_unwatch(self.out, p.fd)
            raftx_close(p.fd)
        p.fd = -1
        p.turn += 1
        p.state = NONE
        p.fresh = p.blocked = p.dirty = False
        _outflow_clear(&p.out)

    cdef void _lost(self, int number, int code) noexcept nogil:
        # Its connection has ended, not by us. What ends at once is not dialled as fast as it ends.
        cdef Peer* p = &self.peers[number]
        cdef bint lived = p.state == STANDS and raftx_now() - p.since >= LIVED
        self._disconnect(number)
        self.wire.again(number, 0 if lived else code)
        self.due = 0

    cdef uint8_t* prepare(self, uint64_t to, size_t size, size_t copied) noexcept nogil:
        # The memory for one frame to a member, or for ``copied`` bytes of it where ``refer`` brings the others; NULL
        # when there is no connection to it, or no room.
        cdef int number = self.number_of(to)
        cdef Peer* p
        if number < 0:
            return NULL
        p = &self.peers[number]
        if p.state != STANDS or p.fresh:
            return NULL
        self.chosen = number
        return _outflow_reserve(&p.out, size, copied, self.send_limit)

    cdef void refer(self, size_t at, Spans spans) noexcept nogil:
        # These are part of the prepared frame, behind so many of its bytes in that memory. They are emptied.
        check_index(self.chosen, TARGETS)
        _outflow_refer(&self.peers[self.chosen].out, at, spans)

    cdef int send(self) noexcept nogil:
        # The prepared frame is to be sent, with the next flush; 1 when there was no memory for it.
        cdef Peer* p = &self.peers[self.chosen]
        check_index(self.chosen, TARGETS)
        if not _outflow_commit(&p.out):
            return 1
        p.dirty = self.any_dirty = True
        return 0

    cdef void flush(self) noexcept nogil:
        # What was sent goes to the kernel, as far as it has room.
        cdef int i
        if not self.any_dirty:
            return
        self.any_dirty = False
        for i in range(<int>raftx_load(&self.count)):
            if self.peers[i].dirty:
                self.peers[i].dirty = False
                if not self.peers[i].blocked:
                    self._write(i)

    cdef void _write(self, int number) noexcept nogil:
        cdef Peer* p = &self.peers[number]
        cdef ssize_t size
        cdef bint blocked = False
        cdef iovec parts[PARTS]
        while _outflow_waiting(&p.out) and not blocked:
            size = raftx_send_parts(p.fd, parts, _outflow_gather(&p.out, parts, PARTS))
            if size >= 0:
                _outflow_sent(&p.out, <size_t>size)
            elif size == -EAGAIN or size == -EWOULDBLOCK:
                blocked = True
            else:
                self._lost(number, <int>-size)
                return
        if blocked != p.blocked:
            p.blocked = blocked
            raftx_rewatch(self.out, p.fd, EPOLLIN | EPOLLRDHUP | (EPOLLOUT if blocked else 0), _tag(p.turn, number))

    cdef uint64_t fresh(self) noexcept nogil:
        # A member to which a connection was established since the last call, 0 for none.
        cdef int i
        cdef int64_t id
        if not self.any_fresh:
            return 0
        for i in range(<int>raftx_load(&self.count)):
            id = raftx_load(&self.peers[i].id)
            if self.peers[i].fresh and id:
                self.peers[i].fresh = False
                return <uint64_t>id
        self.any_fresh = False
        return 0

    cdef void renew(self, uint64_t id) noexcept nogil:
        # The connection to this member is of no use: end it and dial again. One that does not stand is new already.
        cdef int number = self.number_of(id)
        if number < 0:
            return
        if self.peers[number].state == STANDS:
            self.renewals += 1
            self._disconnect(number)
            self.wire.again(number, 0)
        elif self.peers[number].state == NONE:
            self.wire.hurry(number, True)
        self.due = 0

    cdef void heard(self, uint64_t id, bint anew) noexcept nogil:
        # Something has come from this member: without a connection to it, dial it now. anew: it has just come to be
        # there. For something that comes all the time, it is dialled so now and then only: it may be one that cannot be.
        cdef int number = self.number_of(id)
        cdef Peer* p
        cdef int64_t now
        if number < 0 or self.peers[number].state != NONE:
            return
        p = &self.peers[number]
        now = raftx_now()
        if anew or p.hurried == 0 or now - p.hurried >= HURRY:
            p.hurried = now
            self.wire.hurry(number, anew)
            self.due = 0

    # --- the end ----------------------------------------------------------------------------------

    cdef void _close(self) noexcept nogil:
        cdef int i
        for i in range(TARGETS):
            self._disconnect(i)
        for i in range(self.room):
            if self.comers[i].fd >= 0:
                raftx_close(self.comers[i].fd)
                self.comers[i].fd = -1
                self.comers[i].state = ENDED
            _inflow_clear(&self.comers[i].inn)
        self.current = -1
        self.input_at = self.input_count
        if self.inn >= 0:
            raftx_close(self.inn)
        if self.out >= 0:
            raftx_close(self.out)
        self.inn = self.out = -1

    def close(self):
        """End every connection; the wire is closed by its owner. Not while another thread waits here. Twice is well."""
        self._close()

    def abandon(self):
        """In a forked child: close the copies of the descriptors, and nothing else of what the parent uses."""
        cdef int i
        for i in range(TARGETS):
            if self.peers[i].fd >= 0:
                raftx_close(self.peers[i].fd)
                self.peers[i].fd = -1
        for i in range(self.room):
            if self.comers[i].fd >= 0:
                raftx_close(self.comers[i].fd)
                self.comers[i].fd = -1
        for fd in (self.inn, self.out):
            if fd >= 0:
                raftx_close(fd)
        self.inn = self.out = -1

    # --- with the GIL -----------------------------------------------------------------------------

    def py_wait(self, Event event not None, int64_t timeout=-1, bint hungry=True):
        """Wait until the event is woken, something has happened, or for so many nanoseconds. Without the GIL."""
        with nogil:
            self.wait(event, timeout, hungry)

    def py_look(self, bint hungry=True):
        """Whether ``py_wait`` would end at once for the connections. Without the GIL."""
        cdef bint found
        with nogil:
            found = self.look(hungry)
        return bool(found)

    def py_collect(self):
        """See to what has happened to the connections. Without the GIL."""
        with nogil:
            self.collect()

    def py_waiting(self):
        """Whether ``py_next`` has something to look at."""
        return bool(self.waiting())

    def py_next(self):
        """The next frame, or None."""
        if not self.next():
            return None
        return PyBytes_FromStringAndSize(<const char*>self.data, self.size)

    def py_proven(self):
        """The frame that was taken last is valid."""
        self.proven()

    def py_send(self, uint64_t to, bytes frame not None, Spans spans=None, size_t at=0):
        """Send a copy with the next flush; 0, or a number when it was dropped. Raises ValueError.

        With ``spans``, they are part of the frame behind ``at`` bytes of it; they are empty afterwards, unless it was
        dropped.
        """
        cdef size_t size = PyBytes_GET_SIZE(frame)
        cdef uint8_t* place
        if at > size:
            raise ValueError("at must be in the frame")
        place = self.prepare(to, size + (spans.size if spans is not None else 0), size)
        if place == NULL:
            return 1
        memcpy(place, PyBytes_AS_STRING(frame), size)
        if spans is not None:
            self.refer(at, spans)
        return self.send()

    def py_flush(self):
        """What was sent goes to the kernel, as far as it has room. Without the GIL."""
        with nogil:
            self.flush()

    def py_fresh(self):
        """A member to which a connection was established since the last call, 0 for none."""
        return self.fresh()

    def py_renew(self, uint64_t id):
        """The connection to this member is of no use: end it and dial again."""
        self.renew(id)

    def py_heard(self, uint64_t id, bint anew=False):
        """Something has come from this member: without a connection to it, dial it now."""
        self.heard(id, anew)

    def py_stands(self, uint64_t id):
        """Whether a connection to this member is established. Any thread."""
        cdef int number = self.number_of(id)
        return number >= 0 and self.peers[number].state == STANDS

    def py_unsent(self, uint64_t id):
        """Bytes that wait to be sent to this member. Any thread."""
        cdef int number = self.number_of(id)
        return _outflow_waiting(&self.peers[number].out) if number >= 0 else 0
