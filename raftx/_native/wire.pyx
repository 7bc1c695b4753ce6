"""Connections of TCP and of Unix sockets as they come and go: accepting with limits, dialling, looking names up.

wire.py is the twin in plain Python. Nothing here knows NNG, frames or Raft: an established connection is handed
on as a descriptor. One thread steps a Wire, or waits for its ``poller`` among others and then has it look; nothing
else waits, and no mutex is held meanwhile.
"""
import errno
import os

from libc.stdlib cimport calloc, free
from libc.string cimport memset

from .checks cimport check_index
from .limits cimport CROWD, REACHED, SHORTAGE, UNREACHABLE, _drawn, _sooner

from .limits import Notes
from .threads import Event

cdef extern from "_native/threads.h":
    int64_t raftx_now() noexcept nogil
    int64_t raftx_load(int64_t*) noexcept nogil
    void raftx_store(int64_t*, int64_t) noexcept nogil
    void raftx_drain(int) noexcept nogil
    void raftx_poll(int, int64_t) noexcept nogil

cdef extern from "_native/wire.h":
    int ETIMEDOUT, EAGAIN, EWOULDBLOCK, EINTR, ECONNABORTED, EMFILE, ENFILE, ENOMEM, AI_NUMERICHOST
    int raftx_reserve() noexcept nogil
    int raftx_accept(int, uint64_t*) noexcept nogil
    int raftx_greeting(int, int) noexcept nogil
    int raftx_dial(const raftx_addresses*, int, int) noexcept nogil
    int raftx_dialled(int) noexcept nogil
    int EPOLLIN, EPOLLOUT, EPOLLRDHUP
    uint32_t EPOLLET
    int raftx_poller() noexcept nogil
    int raftx_watch(int, int, uint32_t, uint64_t) noexcept nogil
    int raftx_rewatch(int, int, uint32_t, uint64_t) noexcept nogil
    void raftx_unwatch(int, int) noexcept nogil
    int raftx_happened(int, raftx_epoll_event*, int) noexcept nogil
    uint64_t raftx_tag(const raftx_epoll_event*) noexcept nogil
    int raftx_has_ended(const raftx_epoll_event*) noexcept nogil
    int raftx_unix(const char*, raftx_addresses*) noexcept nogil
    int raftx_is_shortage(int) noexcept nogil
    void raftx_tune(int, int) noexcept nogil
    int raftx_find(const char*, const char*, int, int, raftx_addresses*) noexcept nogil
    raftx_resolver* raftx_resolver_new(int) noexcept nogil
    void raftx_resolver_close(raftx_resolver*) noexcept nogil
    raftx_lookup* raftx_lookup_begin(raftx_resolver*, const char*, const char*, int) noexcept nogil
    int raftx_lookup_ended(raftx_resolver*, raftx_lookup*, raftx_addresses*, int*) noexcept nogil
    void raftx_lookup_forget(raftx_resolver*, raftx_lookup*) noexcept nogil
    char* strcpy(char*, const char*) noexcept nogil

cdef enum:
    ACCEPTS = 64                          # in one step
    # of a target
    IDLE = 0                              # handed on, or not begun
    PAUSE = 1
    LOOKUP = 2
    CONNECTING = 3
    # what an event is of: the upper half of its tag. The lower one is a guest's descriptor, or a target's number
    OF_EVENT = 0
    OF_LISTENER = 1
    OF_GUEST = 2
    OF_TARGET = 3

UNIX = 1    # a family, beside 4 and 6: the host is a path
cdef int64_t SECOND = 1_000_000_000
cdef int64_t QUIET = 10 * SECOND          # between two notes of one kind
cdef int64_t RECOVERY = SECOND // 10      # how long nothing is accepted after a shortage
cdef int64_t PATIENT = SECOND // 20       # an attempt that is younger is not given up for a hurry


cdef inline uint64_t _tag(int kind, int which) noexcept nogil:
    return <uint64_t>kind << 32 | <uint32_t>which


cdef class Wire:
    """Accepts on one listening socket and dials up to 64 targets, each until it is connected, and again after that.

    guests: connections that have not sent the eight bytes of their greeting, 1..4096; one more costs one of those
    whose sender has the most. Times in milliseconds: guest_ms for the greeting, dial_ms for an attempt, shortest and
    longest between the beginnings of two attempts, unacknowledged_ms until unacknowledged data end a connection.
    Raises ValueError.
    """

    def __cinit__(self, Event event not None, Notes notes not None, int guests, int guest_ms, int dial_ms,
                  int shortest, int longest, int unacknowledged_ms):
        self.listener = self.reserve = self.poller = -1
        if not 1 <= guests <= 4096:
            raise ValueError("guests must be in 1..4096")
        if min(guest_ms, dial_ms, unacknowledged_ms) < 1 or not 1 <= shortest <= longest:
            raise ValueError("times must be at least 1 ms, and shortest at most longest")
        self.event = event
        self.notes = notes
        self.guest_limit = guests
        self.guest_ns = guest_ms * <int64_t>1000000
        self.dial_ns = dial_ms * <int64_t>1000000
        self.shortest = shortest * <int64_t>1000000
        self.longest = longest * <int64_t>1000000
        self.unacknowledged_ms = unacknowledged_ms
        self.draw = 88172645463325252
        self.ready_room = guests + ACCEPTS + TARGETS
        self.guests = <Guest*>calloc(guests, sizeof(Guest))
        self.ready_whos = <int*>calloc(self.ready_room, sizeof(int))
        self.ready_fds = <int*>calloc(self.ready_room, sizeof(int))
        self.ready_sources = <uint64_t*>calloc(self.ready_room, sizeof(uint64_t))
        if self.guests == NULL or self.ready_whos == NULL or self.ready_fds == NULL or self.ready_sources == NULL:
            raise MemoryError()
        self.poller = raftx_poller()
        if self.poller < 0:
            raise OSError(errno.EMFILE, "no descriptor to wait with")
        if raftx_watch(self.poller, self.event.fd, EPOLLIN, _tag(OF_EVENT, 0)):
            raise MemoryError()

    def __dealloc__(self):
        if self.ready_sources != NULL:
            self._close()
        if self.poller >= 0:
            raftx_close(self.poller)
        free(self.guests)
        free(self.ready_whos)
        free(self.ready_fds)
        free(self.ready_sources)

    def py_listen(self, int fd):
        """Accept on this descriptor, which now belongs to the wire. Raises OSError when none can be kept in reserve."""
        self.reserve = raftx_reserve()
        if self.reserve < 0:
            raise OSError(errno.EMFILE, "no descriptor can be kept in reserve")
        os.set_blocking(fd, False)
        if raftx_watch(self.poller, fd, EPOLLIN, _tag(OF_LISTENER, 0)):
            raise OSError(errno.ENOMEM, "no memory to wait for connections")
        self.listener = fd

    def py_target(self, uint64_t id, str host, str port, int family, bint begin=True):
        """Dial this address from now on, or when ``py_begin`` says so; its number. Without a host the owner dials.

        family: 4, 6 or 0 for either; UNIX: the host is a path. Any thread, but one at a time. Raises ValueError: too
        many, or too long.
        """
        cdef Target* t
        cdef int number = 0
        while number < self.target_count and raftx_load(&self.targets[number].live):
            number += 1
        if number == TARGETS:
            raise ValueError("at most 64 targets")
        host, digits = "" if host is None else host, ("" if port is None else port).encode("ascii")
        encoded = os.fsencode(host) if family == UNIX else host.encode("ascii" if host.isascii() else "idna")
        if len(encoded) > 255 or len(digits) > 7:
            raise ValueError("host or port is too long")
        # Nobody else looks at it before it is live.
        t = &self.targets[number]
        memset(t, 0, sizeof(Target))
        t.id = id
        t.fd = -1
        t.state = PAUSE
        t.pause = self.shortest
        t.family = family
        strcpy(t.host, encoded)
        strcpy(t.port, digits)
        if family == UNIX:
            if raftx_unix(t.host, &t.addresses):
                raise ValueError("the path is too long")
        elif encoded:
            t.named = raftx_find(t.host, t.port, family, AI_NUMERICHOST, &t.addresses) != 0
        if number == self.target_count:
            raftx_store(&self.target_count, number + 1)
        if begin:
            self.py_begin(number)
        return number

    def py_begin(self, int number):
        """Dial a target that ``py_target`` was told not to begin with. Raises IndexError."""
        self._checked(number)
        raftx_store(&self.targets[number].live, 1)
        self.event.wake()

    def py_drop(self, int number):
        """Dial this target no more; its number is free. The thread that steps, which has taken what was ready.

        Raises IndexError.
        """
        self._checked(number)
        self.drop(number)

    cdef int step(self, int64_t until) noexcept nogil:
        # Wait for something until then (monotonic ns; below 0: no limit), and see to it. Who wakes the event has it
        # return at once. How many connections stand ready.
        cdef int64_t next = self.due()
        if next < 0 or 0 <= until < next:
            next = until
        raftx_poll(self.poller, -1 if next < 0 else max(next - raftx_now(), <int64_t>0))
        raftx_store(&self.event.sleeping, 0)
        return self.look()

    cdef int64_t due(self) noexcept nogil:
        # When look() has something to do even if nothing happens; -1: never.
        cdef int64_t next = -1
        cdef int i
        cdef Target* t
        if self.ready_count:
            return 0
        for i in range(self.guest_count):
            next = _sooner(next, self.guests[i].since + self.guest_ns)
        for i in range(<int>raftx_load(&self.target_count)):
            t = &self.targets[i]
            if raftx_load(&t.live) and (t.state == CONNECTING or t.state == PAUSE):
                next = _sooner(next, t.deadline)
        if self.pausing:
            next = _sooner(next, self.pausing)
        return next

    cdef int look(self) noexcept nogil:
        # See to what has happened and to what is due; how many connections stand ready.
        cdef int count = raftx_happened(self.poller, self.events, EVENTS), i, kind, which
        cdef int64_t now = raftx_now()
        cdef bint comes = False
        # No descriptor is made while these are looked at: none of them is of an older one with the same number.
        for i in range(count):
            kind = <int>(raftx_tag(&self.events[i]) >> 32)
            which = <int><uint32_t>raftx_tag(&self.events[i])
            if kind == OF_EVENT:
                raftx_drain(self.event.fd)
            elif kind == OF_LISTENER:
                comes = True
            elif kind == OF_GUEST:
                self._greets(which, raftx_has_ended(&self.events[i]))
            else:
                check_index(which, TARGETS)
                if self.targets[which].state == CONNECTING:
                    self._connected(&self.targets[which], which, raftx_dialled(self.targets[which].fd), now)
        self._overdue(now)
        if self.pausing and now >= self.pausing:
            self.pausing = 0
            raftx_rewatch(self.poller, self.listener, EPOLLIN, _tag(OF_LISTENER, 0))
        if comes and not self.pausing:
            self._accept(now)
            if self.pausing:
                raftx_rewatch(self.poller, self.listener, 0, _tag(OF_LISTENER, 0))
        return self.ready_count

    cdef void _greets(self, int fd, bint ended) noexcept nogil:
        # A guest has sent something, or ended.
        cdef int i, greeted = raftx_greeting(fd, ended)
        if greeted == 0:
            return
        for i in range(self.guest_count):
            if self.guests[i].fd != fd:
                continue
            if greeted == 1:
                raftx_unwatch(self.poller, fd)
                self._ready(-1, fd, self.guests[i].source)
            else:
                self._shut(fd)
                self.refused += greeted < 0
            self.guest_count -= 1
            self.guests[i] = self.guests[self.guest_count]
            return

    cdef void _connected(self, Target* t, int number, int code, int64_t now) noexcept nogil:
        # An attempt has ended: well, or with an error number.
        if code:
            self._shut(t.fd)
            t.fd = -1
            self._failed(t, number, code, now)
        else:
            raftx_unwatch(self.poller, t.fd)
            t.state = IDLE
            self._ready(number, t.fd, 0)
            t.fd = -1

    cdef void _overdue(self, int64_t now) noexcept nogil:
        cdef int i = 0
        cdef Target* t
        while i < self.guest_count:
            if now - self.guests[i].since >= self.guest_ns:
                self._shut(self.guests[i].fd)
                self.refused += 1
                self.guest_count -= 1
                self.guests[i] = self.guests[self.guest_count]
            else:
                i += 1
        for i in range(<int>raftx_load(&self.target_count)):
            t = &self.targets[i]
            if not raftx_load(&t.live):
                continue
            if t.state == CONNECTING and now >= t.deadline:
                self._connected(t, i, ETIMEDOUT, now)
            elif t.state == LOOKUP or (t.state == PAUSE and now >= t.deadline):
                self._begin(t, i, now)

    cdef void _shut(self, int fd) noexcept nogil:
        raftx_unwatch(self.poller, fd)
        raftx_close(fd)

    cdef void _accept(self, int64_t now) noexcept nogil:
        cdef int _, fd, greeted
        cdef uint64_t source = 0
        for _ in range(ACCEPTS):
            if self.ready_count >= self.ready_room - TARGETS - 1:
                return
            fd = raftx_accept(self.listener, &source)
            if fd == -EAGAIN or fd == -EWOULDBLOCK:
                return
            if fd == -EMFILE or fd == -ENFILE:
                self.shortage(-fd)
                if not self._refuse_one():
                    self.pausing = now + RECOVERY
                    return
                continue
            if fd == -EINTR or fd == -ECONNABORTED:
                continue
            if fd < 0:
                # Of the network under it, or a shortage: what waits is taken a little later.
                if raftx_is_shortage(-fd):
                    self.shortage(-fd)
                self.pausing = now + RECOVERY
                return
            self.accepted += 1
            raftx_tune(fd, self.unacknowledged_ms)
            greeted = raftx_greeting(fd, False)
            if greeted == 1:
                self._ready(-1, fd, source)
                continue
            if greeted:
                # Who has gone is no stranger, but gave up: a process that was stopped finds all of its peers' attempts.
                raftx_close(fd)
                self.refused += greeted < 0
                continue
            if self.guest_count == self.guest_limit:
                self._make_room()
            # Each time that something comes: what has come stays where it is, and wakes nobody again.
            if raftx_watch(self.poller, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, _tag(OF_GUEST, fd)):
                raftx_close(fd)
                self.refused += 1
                self.shortage(ENOMEM)
                continue
            check_index(self.guest_count, self.guest_limit)
            self.guests[self.guest_count].fd = fd
            self.guests[self.guest_count].source = source
            self.guests[self.guest_count].since = now
            self.guest_count += 1

    cdef int _refuse_one(self) noexcept nogil:
        # No descriptor is left: with the one in reserve, the connection that waits longest is taken and closed, so
        # that nobody spins. False when another thread has taken the reserve.
        cdef int fd
        cdef uint64_t source = 0
        if self.reserve >= 0:
            raftx_close(self.reserve)
            fd = raftx_accept(self.listener, &source)
            if fd >= 0:
                raftx_close(fd)
                self.refused += 1
        else:
            fd = -1
        self.reserve = raftx_reserve()
        return fd >= 0 and self.reserve >= 0

    cdef void _make_room(self) noexcept nogil:
        # One of those whose sender has the most of them goes.
        cdef int i, j, same, most = 0, chosen = 0, seen = 0
        cdef uint64_t source = 0
        for i in range(self.guest_count):
            same = 0
            for j in range(self.guest_count):
                same += self.guests[j].source == self.guests[i].source
            if same > most:
                most = same
                source = self.guests[i].source
        seen = <int>(_drawn(&self.draw) % most)
        for i in range(self.guest_count):
            if self.guests[i].source == source:
                if seen == 0:
                    chosen = i
                    break
                seen -= 1
        self._shut(self.guests[chosen].fd)
        self.guest_count -= 1
        self.guests[chosen] = self.guests[self.guest_count]
        self.refused += 1
        self.crowd()

    cdef void shortage(self, int code) noexcept nogil:
        # Something is waited out; said now and then.
        cdef int64_t now = raftx_now()
        self.shortages += 1
        if self.shortage_told == 0 or now - self.shortage_told >= QUIET:
            self.shortage_told = now
            self.notes.put(SHORTAGE, 0, code)

    cdef void crowd(self) noexcept nogil:
        # Somebody was closed for want of room; said now and then.
        cdef int64_t now = raftx_now()
        if self.crowd_told == 0 or now - self.crowd_told >= QUIET:
            self.crowd_told = now
            self.notes.put(CROWD, 0, 0)

    cdef void _ready(self, int who, int fd, uint64_t source) noexcept nogil:
        check_index(self.ready_count, self.ready_room)
        self.ready_whos[self.ready_count] = who
        self.ready_fds[self.ready_count] = fd
        self.ready_sources[self.ready_count] = source
        self.ready_count += 1

    cdef bint take(self) noexcept nogil:
        # An established connection: ``who`` is the target's number, -1 for one that came; ``fd`` is the taker's now.
        if not self.ready_count:
            return False
        self.ready_count -= 1
        self.who = self.ready_whos[self.ready_count]
        self.fd = self.ready_fds[self.ready_count]
        self.source = self.ready_sources[self.ready_count]
        return True

    cdef void _begin(self, Target* t, int number, int64_t now) noexcept nogil:
        cdef int code = 0, fd
        cdef raftx_addresses found
        if t.state != LOOKUP:
            t.began = now
        if t.host[0] == 0:
            t.state = IDLE
            self.dials += 1
            self._ready(number, -1, 0)
            return
        if t.named:
            if t.lookup != NULL and raftx_lookup_ended(self.resolver, t.lookup, &found, &code):
                self._forget(t)
                t.stale = False
                if not code:
                    t.addresses = found
                    t.turn = 0
                elif not t.addresses.count:
                    self._failed(t, number, code, now)
                    return
            if t.lookup == NULL and (t.stale or not t.addresses.count):
                self._look_up(t)
                if t.lookup == NULL:
                    self.shortage(EAGAIN)
                    self._failed(t, number, EAGAIN, now)
                    return
            if not t.addresses.count:
                t.state = LOOKUP
                return
        self.dials += 1
        fd = raftx_dial(&t.addresses, t.turn, self.unacknowledged_ms)
        if fd < 0:
            if raftx_is_shortage(-fd):
                self.shortage(-fd)
            self._failed(t, number, -fd, now)
            return
        if raftx_watch(self.poller, fd, EPOLLOUT, _tag(OF_TARGET, number)):
            raftx_close(fd)
            self.shortage(ENOMEM)
            self._failed(t, number, ENOMEM, now)
            return
        t.state = CONNECTING
        t.fd = fd
        t.deadline = now + self.dial_ns

    cdef void _look_up(self, Target* t) noexcept nogil:
        # Its turn comes when those before it have ended. ``lookup`` stays NULL without memory or a thread.
        if self.resolver == NULL:
            self.resolver = raftx_resolver_new(self.event.fd)
        if self.resolver != NULL:
            t.lookup = raftx_lookup_begin(self.resolver, t.host, t.port, t.family)

    cdef void _forget(self, Target* t) noexcept nogil:
        if t.lookup != NULL:
            raftx_lookup_forget(self.resolver, t.lookup)
        t.lookup = NULL

    cdef void _failed(self, Target* t, int number, int code, int64_t now) noexcept nogil:
        # The next address at once; after the last of them a pause, counted from when this round began.
        self.failures += 1
        if not t.failing:
            t.failing = now
        elif not t.told and now - t.failing >= SECOND:
            t.told = True
            self.notes.put(UNREACHABLE, t.id, code)
        t.turn += 1
        t.state = PAUSE
        if t.turn < t.addresses.count:
            t.deadline = now
            return
        t.turn = 0
        t.stale = True
        t.deadline = max(t.began + t.pause, now + self.shortest)
        t.pause = min(2 * t.pause, self.longest)

    cdef void again(self, int number, int code) noexcept nogil:
        # What was taken for this target has ended; 0: after it had lasted for a while.
        cdef Target* t = &self.targets[number]
        cdef int64_t now = raftx_now()
        check_index(number, TARGETS)
        if code:
            self._failed(t, number, code, now)
        else:
            t.turn = 0
            t.pause = self.shortest
            t.state = PAUSE
            t.deadline = now + self.shortest

    cdef void stood(self, int number) noexcept nogil:
        # What was taken for this target is of use.
        cdef Target* t = &self.targets[number]
        check_index(number, TARGETS)
        if t.told:
            self.notes.put(REACHED, t.id, 0)
        t.told = False
        t.failing = 0

    cdef void hurry(self, int number, bint anew) noexcept nogil:
        # There is reason to believe that it can be reached: no pause that was meant for one that cannot. anew: as of
        # now, so that an attempt which began before is as good as lost.
        cdef Target* t = &self.targets[number]
        cdef int64_t now = raftx_now()
        check_index(number, TARGETS)
        if anew and t.state == CONNECTING and now - (t.deadline - self.dial_ns) >= PATIENT:
            self._shut(t.fd)
            t.fd = -1
            t.state = PAUSE
            t.deadline = now
        if t.state == PAUSE:
            t.pause = self.shortest
            t.deadline = min(t.deadline, max(now, t.began + self.shortest))

    cdef void drop(self, int number) noexcept nogil:
        # Dial this target no more. The thread that steps, which has taken what was ready.
        cdef Target* t = &self.targets[number]
        check_index(number, TARGETS)
        if t.fd >= 0:
            self._shut(t.fd)
        self._forget(t)
        t.fd = -1
        t.state = IDLE
        raftx_store(&t.live, 0)

    cdef void _close(self) noexcept nogil:
        cdef int i
        while self.take():
            if self.fd >= 0:
                raftx_close(self.fd)
        for i in range(self.guest_count):
            self._shut(self.guests[i].fd)
        self.guest_count = 0
        for i in range(self.target_count):
            if self.targets[i].fd >= 0:
                self._shut(self.targets[i].fd)
            self._forget(&self.targets[i])
            self.targets[i].fd = -1
            self.targets[i].state = IDLE
        if self.resolver != NULL:
            raftx_resolver_close(self.resolver)
        self.resolver = NULL
        if self.listener >= 0:
            self._shut(self.listener)
        if self.reserve >= 0:
            raftx_close(self.reserve)
        self.listener = self.reserve = -1

    def py_step(self, int64_t until=-1):
        """Wait until then for something and see to it; how many connections stand ready. Without the GIL."""
        cdef int ready
        with nogil:
            ready = self.step(until)
        return ready

    def py_take(self):
        """An established connection, as (target's number or -1, descriptor or -1, source), or None."""
        return (self.who, self.fd, self.source) if self.take() else None

    def py_again(self, int number, int code):
        """What was taken for this target has ended; code 0: after it had lasted for a while. Raises IndexError."""
        self._checked(number)
        self.again(number, code)

    def py_stood(self, int number):
        """What was taken for this target is of use. Raises IndexError."""
        self._checked(number)
        self.stood(number)

    def py_hurry(self, int number, bint anew=False):
        """Dial this target without a further pause, instead of an attempt under way if ``anew``. Raises IndexError."""
        self._checked(number)
        self.hurry(number, anew)

    def py_shortage(self, int code):
        """The owner has met a shortage and waits: count it, and say so now and then."""
        self.shortage(code)

    def py_crowd(self):
        """The owner has closed a connection for want of room: say so now and then."""
        self.crowd()

    def py_close(self):
        """Close every socket. Not while another thread steps; may be called twice."""
        self._close()

    def py_abandon(self):
        """In a forked child: close the copies of the descriptors, and nothing else of what the parent uses."""
        cdef int i
        while self.take():
            if self.fd >= 0:
                raftx_close(self.fd)
        for i in range(self.guest_count):
            raftx_close(self.guests[i].fd)
        self.guest_count = 0
        for i in range(TARGETS):
            if self.targets[i].state == CONNECTING:
                raftx_close(self.targets[i].fd)
                self.targets[i].fd = -1
            # A lookup is left as it is: its mutex may have been held when the process was forked.
            self.targets[i].state = IDLE
            self.targets[i].lookup = NULL
        for fd in (self.listener, self.reserve, self.poller):
            if fd >= 0:
                raftx_close(fd)
        self.resolver = NULL
        self.listener = self.reserve = self.poller = -1

    def py_waiting(self):
        """How many connections have not greeted yet."""
        return self.guest_count

    def _checked(self, int number):
        if not 0 <= number < self.target_count:
            raise IndexError("no such target")
