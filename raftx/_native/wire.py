"""Connections of TCP and of Unix sockets as they come and go: the definition of what ``wire.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``; both change in one commit. Nothing here knows NNG, frames or
Raft: an established connection is handed on as a descriptor. One thread steps a Wire, or waits for its ``poller`` among
others and then has it look.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from typing import Any, final

from .limits import NOTE_CROWD, NOTE_REACHED, NOTE_SHORTAGE, NOTE_UNREACHABLE, Notes, _Draw, _most_frequent
from .lookups import Address, Lookup, Resolver, find
from .threads import POLL_MAX_MS, Event, _int, _int64, _number, _typed, monotonic_ns

UNIX = 1  # a family, beside 4 and 6: the host is a path
UNIX_PATH = 107  # bytes that one may have
EVENTS = 64  # that are looked at together
TARGETS = 64  # members, as many as a membership has
GREETING = b"\0SP\0\0\x50\0\0"  # of a Push0 socket (protocol 0x50) in SP, as NNG sends it
ACCEPTS = 64  # in one step
IDLE, PAUSE, LOOKUP, CONNECTING = range(4)
SECOND = 1_000_000_000
QUIET = 10 * SECOND  # between two notes of one kind
RECOVERY = SECOND // 10  # how long nothing is accepted after a shortage
PATIENT = SECOND // 20  # an attempt that is younger is not given up for a hurry
RDHUP: int = getattr(select, "EPOLLRDHUP", 0x2000)  # PyPy lacks the name
ENDED = RDHUP | select.EPOLLHUP | select.EPOLLERR
SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)


def _source(address: Any) -> int:
    """What tells one sender from another: an IPv4 address, or the first 64 bits of an IPv6 one."""
    if not address or isinstance(address, (str, bytes)):
        return 0
    if ":" not in address[0]:
        return 1 + int.from_bytes(socket.inet_pton(socket.AF_INET, address[0]), "big")
    six = socket.inet_pton(socket.AF_INET6, address[0].split("%")[0])
    if six.startswith(bytes(10) + b"\xff\xff"):
        return 1 + int.from_bytes(six[12:], "big")
    return int.from_bytes(six[:8], "big") ^ 2**64 - 1


def _tune(connection: socket.socket, unacknowledged_ms: int) -> None:
    """What is not acknowledged in time ends the connection; so does a peer that has gone without a word."""
    connection.setblocking(False)
    if connection.family == socket.AF_UNIX:
        return
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, unacknowledged_ms)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _greeting(connection: socket.socket, ended: bool) -> int:
    """1: the whole greeting is there; 2: and nothing else, and its sender has gone; 0: not yet; -1: it is another one.

    Or -1: the connection has ended. ended: nothing follows what is there.
    """
    try:
        seen = connection.recv(len(GREETING) + 1, socket.MSG_PEEK)
    except BlockingIOError:
        return -1 if ended else 0
    except OSError:
        return -1
    if not seen or not GREETING.startswith(seen[: len(GREETING)]):
        return -1
    if seen == GREETING:
        gone = select.poll()
        gone.register(connection, RDHUP)
        return 2 if ended or gone.poll(0) else 1
    return 1 if len(seen) > len(GREETING) else -1 if ended else 0


class _Target:
    """What is dialled, and how far that is."""

    def __init__(self, id: int, host: str, port: str, family: int, pause: int) -> None:
        self.id = id
        self.host, self.port, self.family = host, port, family
        self.state = PAUSE
        self.pause = pause
        self.socket: socket.socket | None = None
        self.deadline = self.began = self.failing = self.turn = 0
        self.named = self.stale = self.told = False
        self.live = False  # it is dialled; else its number is free
        self.addresses: list[Address] = []
        self.lookup: Lookup | None = None


@final
class Wire:
    """Accepts on one listening socket and dials up to 64 targets, each until it is connected, and again after that.

    guests: connections that have not sent the eight bytes of their greeting, 1..4096; one more costs one of those
    whose sender has the most. Times in milliseconds: guest_ms for the greeting, dial_ms for an attempt, shortest and
    longest between the beginnings of two attempts, unacknowledged_ms until unacknowledged data end a connection.
    Raises ValueError.
    """

    def __init__(
        self,
        event: Event,
        notes: Notes,
        guests: int,
        guest_ms: int,
        dial_ms: int,
        shortest: int,
        longest: int,
        unacknowledged_ms: int,
    ) -> None:
        self.listener: socket.socket | None = None
        self.reserve = self.poller = -1
        if not 1 <= _int(guests) <= 4096:
            raise ValueError("guests must be in 1..4096")
        if min(_int(guest_ms), _int(dial_ms), _int(unacknowledged_ms)) < 1 or not 1 <= _int(shortest) <= _int(longest):
            raise ValueError("times must be at least 1 ms, and shortest at most longest")
        self.event = _typed(Event, event)
        self.notes = _typed(Notes, notes)
        self.guest_limit = guests
        self.guest_ns = guest_ms * 1_000_000
        self.dial_ns = dial_ms * 1_000_000
        self.shortest = shortest * 1_000_000
        self.longest = longest * 1_000_000
        self.unacknowledged_ms = unacknowledged_ms
        self.draw = _Draw()
        self.guests: list[tuple[socket.socket, int, int]] = []  # with source and since when
        self.targets: list[_Target] = []
        self.resolver: Resolver | None = None  # until a name is to be looked up
        self.pausing = 0  # till when nothing is accepted, for a shortage; 0: it is
        self.ready: list[tuple[int, int, int]] = []
        self.shortage_told = self.crowd_told = 0
        self.who = self.fd = self.source = 0  # of the connection that take() found
        self.accepted = self.refused = self.dials = self.failures = self.shortages = 0
        #: an epoll: of all that is waited for
        self.poll = select.epoll()
        self.poller = self.poll.fileno()
        self.poll.register(self.event.fd, select.EPOLLIN)

    def __del__(self) -> None:
        if self.poller >= 0:
            self.py_close()
            self.poll.close()

    @property
    def target_count(self) -> int:
        """One more than the largest number that a target has had."""
        return len(self.targets)

    def py_listen(self, fd: int) -> None:
        """Accept on this descriptor, which now belongs to the wire. Raises OSError when none can be kept in reserve."""
        self.reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.listener = socket.socket(fileno=_int(fd))
        self.listener.setblocking(False)
        self.poll.register(self.listener, select.EPOLLIN)

    def py_target(self, id: int, host: str, port: str, family: int, begin: bool = True) -> int:
        """Dial this address from now on, or when ``py_begin`` says so; its number. Without a host the owner dials.

        family: 4, 6 or 0 for either; UNIX: the host is a path. Any thread, but one at a time. Raises ValueError: too
        many, or too long.
        """
        free = [number for number, each in enumerate(self.targets) if not each.live]
        if not free and len(self.targets) == TARGETS:
            raise ValueError("at most 64 targets")
        host, port = host or "", port or ""
        if family != UNIX and not host.isascii():
            host = host.encode("idna").decode()
        if len(os.fsencode(host)) > 255 or len(port) > 7:
            raise ValueError("host or port is too long")
        if family == UNIX and len(os.fsencode(host)) > UNIX_PATH:
            raise ValueError("the path is too long")
        target = _Target(_number(id), host, port, _int(family), self.shortest)
        if family == UNIX:
            target.addresses = [(socket.AF_UNIX, host)]
        elif host:
            try:
                target.addresses = find(host, port, family, socket.AI_NUMERICHOST)
            except socket.gaierror:
                target.named = True
        if free:
            number = free[0]
            self.targets[number] = target
        else:
            number = len(self.targets)
            self.targets.append(target)
        if begin:
            self.py_begin(number)
        return number

    def py_begin(self, number: int) -> None:
        """Dial a target that ``py_target`` was told not to begin with. Raises IndexError."""
        self._checked(number)
        self.targets[number].live = True
        self.event.wake()

    def drop(self, number: int) -> None:
        """Dial this target no more; its number is free. The thread that steps, which has taken what was ready."""
        target = self.targets[number]
        if target.socket is not None:
            self._shut(target.socket)
            target.socket = None
        self._forget(target)
        target.state = IDLE
        target.live = False

    def py_drop(self, number: int) -> None:
        """Dial this target no more; its number is free. The thread that steps, which has taken what was ready.

        Raises IndexError.
        """
        self._checked(number)
        self.drop(number)

    def step(self, until: int) -> int:
        """Wait for something until then (monotonic ns; below 0: no limit), and see to it.

        Who wakes the event has the step return at once. How many connections stand ready.
        """
        next = self.due()
        if next < 0 or 0 <= until < next:
            next = until
        # Rounded up: a step that ends too early would be repeated without a pause.
        timeout = min(max(-(-(next - monotonic_ns()) // 1_000_000), 0), POLL_MAX_MS) if next >= 0 else None
        waiting = select.poll()
        waiting.register(self.poller, select.POLLIN)
        with contextlib.suppress(OSError):  # no memory for it: there is nothing to be seen this time
            waiting.poll(timeout)
        self.event.sleeping = 0
        return self.look()

    def due(self) -> int:
        """When ``look`` has something to do even if nothing happens; -1: never."""
        if self.ready:
            return 0
        times = [since + self.guest_ns for _, _, since in self.guests]
        times += [each.deadline for each in self.targets if each.live and each.state in (CONNECTING, PAUSE)]
        if self.pausing:
            times.append(self.pausing)
        return min(times, default=-1)

    def look(self) -> int:
        """See to what has happened and to what is due; how many connections stand ready."""
        try:
            events = self.poll.poll(0, EVENTS)
        except OSError:
            events = []
        now = monotonic_ns()
        comes = False
        # No descriptor is made while these are looked at: none of them is of an older one with the same number.
        guests = {guest[0].fileno(): guest for guest in self.guests}
        for fd, happened in events:
            if fd == self.event.fd:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(fd)
            elif self.listener is not None and fd == self.listener.fileno():
                comes = True
            elif fd in guests:
                self._greets(guests[fd], bool(happened & ENDED))
            else:
                self._woken(fd, now)
        self._overdue(now)
        if self.pausing and now >= self.pausing and self.listener is not None:
            self.pausing = 0
            self.poll.modify(self.listener, select.EPOLLIN)
        if comes and not self.pausing and self.listener is not None:
            self._accept(now)
            if self.pausing:
                self.poll.modify(self.listener, 0)
        return len(self.ready)

    def _greets(self, guest: tuple[socket.socket, int, int], ended: bool) -> None:
        """A guest has sent something, or ended."""
        connection, source, _ = guest
        greeted = _greeting(connection, ended)
        if greeted == 0:
            return
        self.guests.remove(guest)
        if greeted == 1:
            self.poll.unregister(connection)
            self.ready.append((-1, connection.detach(), source))
        else:
            self._shut(connection)
            self.refused += greeted < 0

    def _woken(self, fd: int, now: int) -> None:
        """An attempt has ended."""
        for number, target in enumerate(self.targets):
            if target.state == CONNECTING and target.socket is not None and target.socket.fileno() == fd:
                code = target.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                self._connected(target, number, code, now)
                return

    def _connected(self, target: _Target, number: int, code: int, now: int) -> None:
        """An attempt has ended: well, or with an error number."""
        assert target.socket is not None
        if code:
            self._shut(target.socket)
            self._failed(target, code, now)
        else:
            self.poll.unregister(target.socket)
            target.state = IDLE
            self.ready.append((number, target.socket.detach(), 0))
        target.socket = None

    def _overdue(self, now: int) -> None:
        for guest in list(self.guests):
            if now - guest[2] >= self.guest_ns:
                self.guests.remove(guest)
                self._shut(guest[0])
                self.refused += 1
        for number, target in enumerate(self.targets):
            if not target.live:
                continue
            if target.state == CONNECTING and now >= target.deadline:
                self._connected(target, number, errno.ETIMEDOUT, now)
            elif target.state == LOOKUP or (target.state == PAUSE and now >= target.deadline):
                self._begin(target, number, now)

    def _shut(self, connection: socket.socket) -> None:
        self.poll.unregister(connection)
        connection.close()

    def _accept(self, now: int) -> None:
        assert self.listener is not None
        for _ in range(ACCEPTS):
            if len(self.ready) >= self.guest_limit + ACCEPTS - 1:
                return
            try:
                connection, address = self.listener.accept()
            except BlockingIOError:
                return
            except (InterruptedError, ConnectionAbortedError):
                continue
            except OSError as error:
                if error.errno in SHORTAGES:
                    self.shortage(error.errno or 0)
                if error.errno in (errno.EMFILE, errno.ENFILE) and self._refuse_one():
                    continue
                # Of the network under it, or a shortage: what waits is taken a little later.
                self.pausing = now + RECOVERY
                return
            self.accepted += 1
            source = _source(address)
            _tune(connection, self.unacknowledged_ms)
            greeted = _greeting(connection, False)
            if greeted == 1:
                self.ready.append((-1, connection.detach(), source))
                continue
            if greeted:
                # Who has gone is no stranger, but gave up: a process that was stopped finds all of its peers' attempts.
                connection.close()
                self.refused += greeted < 0
                continue
            if len(self.guests) == self.guest_limit:
                self._make_room()
            # Each time that something comes: what has come stays where it is, and wakes nobody again.
            try:
                self.poll.register(connection, select.EPOLLIN | RDHUP | select.EPOLLET)
            except OSError:
                connection.close()
                self.refused += 1
                self.shortage(errno.ENOMEM)
                continue
            self.guests.append((connection, source, now))

    def _refuse_one(self) -> bool:
        """No descriptor is left: with the one in reserve, the connection that waits longest is taken and closed.

        So nobody spins. False when another thread has taken the reserve.
        """
        assert self.listener is not None
        if self.reserve < 0:
            taken = False
        else:
            os.close(self.reserve)
            try:
                self.listener.accept()[0].close()
                self.refused += 1
                taken = True
            except OSError:
                taken = False
        try:
            self.reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.reserve = -1
        return taken and self.reserve >= 0

    def _make_room(self) -> None:
        """One of those whose sender has the most of them goes."""
        source = _most_frequent([guest[1] for guest in self.guests])
        same = [place for place, guest in enumerate(self.guests) if guest[1] == source]
        place = same[self.draw.below(len(same))]
        self._shut(self.guests[place][0])
        self.guests[place] = self.guests[-1]
        self.guests.pop()
        self.refused += 1
        self.crowd()

    def shortage(self, code: int) -> None:
        """Something is waited out; said now and then."""
        now = monotonic_ns()
        self.shortages += 1
        if self.shortage_told == 0 or now - self.shortage_told >= QUIET:
            self.shortage_told = now
            self.notes.put(NOTE_SHORTAGE, 0, code)

    def crowd(self) -> None:
        """Somebody was closed for want of room; said now and then."""
        now = monotonic_ns()
        if self.crowd_told == 0 or now - self.crowd_told >= QUIET:
            self.crowd_told = now
            self.notes.put(NOTE_CROWD, 0, 0)

    def take(self) -> bool:
        """Make an established connection the present one; False when there is none.

        ``who`` is the target's number, -1 for one that came; ``fd`` is the taker's now.
        """
        if not self.ready:
            return False
        self.who, self.fd, self.source = self.ready.pop()
        return True

    def _begin(self, target: _Target, number: int, now: int) -> None:
        if target.state != LOOKUP:
            target.began = now
        if not target.host:
            target.state = IDLE
            self.dials += 1
            self.ready.append((number, -1, 0))
            return
        if target.named and not self._looked_up(target, now):
            return
        self.dials += 1
        family, address = target.addresses[target.turn]
        made = None
        try:
            made = socket.socket(family, socket.SOCK_STREAM)
            _tune(made, self.unacknowledged_ms)
            code = made.connect_ex(address)
            if code in (0, errno.EINPROGRESS, errno.EINTR):
                self.poll.register(made, select.EPOLLOUT)
        except OSError as error:
            code = error.errno or errno.EIO
        if made is None or code not in (0, errno.EINPROGRESS, errno.EINTR):
            if made is not None:
                made.close()
            if code in SHORTAGES:
                self.shortage(code)
            self._failed(target, code, now)
            return
        target.state = CONNECTING
        target.socket = made
        target.deadline = now + self.dial_ns

    def _looked_up(self, target: _Target, now: int) -> bool:
        """Whether there are addresses to dial."""
        if target.lookup is not None and target.lookup.result is not None:
            result, target.lookup = target.lookup.result, None
            target.stale = False
            if not isinstance(result, int):
                target.addresses = result
                target.turn = 0
            elif not target.addresses:
                self._failed(target, result, now)
                return False
        if target.lookup is None and (target.stale or not target.addresses):
            try:
                self._look_up(target)
            except RuntimeError:  # no thread can be started
                self.shortage(errno.EAGAIN)
                self._failed(target, errno.EAGAIN, now)
                return False
        if not target.addresses:
            target.state = LOOKUP
            return False
        return True

    def _look_up(self, target: _Target) -> None:
        """Its turn comes when those before it have ended. Raises RuntimeError when no thread can be started."""
        if self.resolver is None:
            self.resolver = Resolver(self.event)
        lookup = Lookup(target.host, target.port, target.family)
        self.resolver.begin(lookup)
        target.lookup = lookup

    def _forget(self, target: _Target) -> None:
        if target.lookup is not None and self.resolver is not None:
            self.resolver.forget(target.lookup)
        target.lookup = None

    def _failed(self, target: _Target, code: int, now: int) -> None:
        """The next address at once; after the last of them a pause, counted from when this round began."""
        self.failures += 1
        if not target.failing:
            target.failing = now
        elif not target.told and now - target.failing >= SECOND:
            target.told = True
            self.notes.put(NOTE_UNREACHABLE, target.id, code)
        target.turn += 1
        target.state = PAUSE
        if target.turn < len(target.addresses):
            target.deadline = now
            return
        target.turn = 0
        target.stale = True
        target.deadline = max(target.began + target.pause, now + self.shortest)
        target.pause = min(2 * target.pause, self.longest)

    def again(self, number: int, code: int) -> None:
        """What was taken for this target has ended; code 0: after it had lasted for a while."""
        target, now = self.targets[number], monotonic_ns()
        if code:
            self._failed(target, code, now)
        else:
            target.turn = 0
            target.pause = self.shortest
            target.state = PAUSE
            target.deadline = now + self.shortest

    def stood(self, number: int) -> None:
        """What was taken for this target is of use."""
        target = self.targets[number]
        if target.told:
            self.notes.put(NOTE_REACHED, target.id, 0)
        target.told = False
        target.failing = 0

    def hurry(self, number: int, anew: bool) -> None:
        """There is reason to believe that it can be reached: no pause that was meant for one that cannot.

        anew: as of now, so that an attempt which began before is as good as lost.
        """
        target = self.targets[number]
        now = monotonic_ns()
        if anew and target.state == CONNECTING and now - (target.deadline - self.dial_ns) >= PATIENT:
            assert target.socket is not None
            self._shut(target.socket)
            target.socket = None
            target.state = PAUSE
            target.deadline = now
        if target.state == PAUSE:
            target.pause = self.shortest
            target.deadline = min(target.deadline, max(now, target.began + self.shortest))

    def py_take(self) -> tuple[int, int, int] | None:
        """An established connection, as (target's number or -1, descriptor or -1, source), or None."""
        return (self.who, self.fd, self.source) if self.take() else None

    def py_step(self, until: int = -1) -> int:
        """Wait until then for something and see to it; how many connections stand ready. Without the GIL."""
        return self.step(_int64(until))

    def py_again(self, number: int, code: int) -> None:
        """What was taken for this target has ended; code 0: after it had lasted for a while. Raises IndexError."""
        self._checked(number)
        self.again(number, _int(code))

    def py_stood(self, number: int) -> None:
        """What was taken for this target is of use. Raises IndexError."""
        self._checked(number)
        self.stood(number)

    def py_hurry(self, number: int, anew: bool = False) -> None:
        """Dial this target without a further pause, instead of an attempt under way if ``anew``. Raises IndexError."""
        self._checked(number)
        self.hurry(number, bool(anew))

    def py_shortage(self, code: int) -> None:
        """The owner has met a shortage and waits: count it, and say so now and then."""
        self.shortage(_int(code))

    def py_crowd(self) -> None:
        """The owner has closed a connection for want of room: say so now and then."""
        self.crowd()

    def py_close(self) -> None:
        """Close every socket. Not while another thread steps; may be called twice."""
        while self.take():
            if self.fd >= 0:
                os.close(self.fd)
        for guest, _, _ in self.guests:
            self._shut(guest)
        self.guests = []
        for target in self.targets:
            if target.socket is not None:
                self._shut(target.socket)
                target.socket = None
            self._forget(target)
            target.state = IDLE
        if self.resolver is not None:
            self.resolver.close()
            self.resolver = None
        if self.listener is not None:
            self._shut(self.listener)
            self.listener = None
        if self.reserve >= 0:
            os.close(self.reserve)
            self.reserve = -1

    def py_abandon(self) -> None:
        """In a forked child: close the copies of the descriptors, and nothing else of what the parent uses."""
        while self.take():
            if self.fd >= 0:
                os.close(self.fd)
        for each in [guest[0] for guest in self.guests] + [target.socket for target in self.targets]:
            if each is not None:
                each.close()
        if self.listener is not None:
            self.listener.close()
        if self.reserve >= 0:
            os.close(self.reserve)
        self.poll.close()
        self.guests, self.targets, self.listener, self.resolver = [], [], None, None
        self.poller = self.reserve = -1

    def py_waiting(self) -> int:
        """How many connections have not greeted yet."""
        return len(self.guests)

    def _checked(self, number: int) -> None:
        if not 0 <= _int(number) < len(self.targets):
            raise IndexError("no such target")
