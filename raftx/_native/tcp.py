"""The connections of a node that speaks SP itself, in plain Python: the definition of what ``tcp.pyx`` does faster.

Used where nothing is compiled, and with ``RAFTX_PURE=1``; both change in one commit. Nothing here knows Raft or frames.
One thread has a TcpStreams: it waits in ``wait`` for an event of its own and for all connections at once, sees to them
in ``collect``, takes frames with ``next``, and sends with ``prepare`` and ``send``; ``flush`` gives what was sent to
the kernel. Other threads may add and drop peers only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
from typing import final

from .limits import Arrivals
from .memory import Spans
from .sp import PULL_GREETING, PUSH_GREETING, SP_FRAME, SP_GREETING, SP_MORE, Inflow, Outflow
from .threads import POLL_MAX_MS, Event, _int64, _number, _typed, monotonic_ns
from .wire import EVENTS, RDHUP, Wire

NONE, GREETING, STANDS, ENDED = range(4)
SCRATCH = 256 << 10  # bytes that are read at a time
PARTS = 64  # places from which one call takes what is to be sent
LIVED = 1_000_000_000  # ns: a connection that lasted so long is dialled again at once
HURRY = 100_000_000  # between two attempts because something comes from a peer
PROOF = 100_000_000  # between two words to arrivals that a connection is of use


class _Peer:
    """A member that is dialled."""

    def __init__(self, id: int, ipc: bool) -> None:
        self.id = id  # 0: the number is free, or will be
        self.gone = False  # the member is dialled no more
        self.state = NONE
        self.socket: socket.socket | None = None
        self.greeting = b""
        self.since = 0  # when its connection came to stand, or was begun
        self.hurried = 0  # when it was dialled because something came from it
        self.fresh = False  # the sender was not told of it yet, and may not send on it
        self.blocked = False  # the kernel has no room for more
        self.dirty = False  # something was sent since the last flush
        self.out = Outflow(ipc)


class _Comer:
    """A connection that came."""

    def __init__(self, connection: socket.socket, ipc: bool) -> None:
        self.socket = connection
        self.state = STANDS
        #: the last read took all that it had room for: there may be more
        self.more = False
        self.proven = 0  # when arrivals heard last that something valid came over it; 0: never
        self.inn = Inflow(ipc)


def _receive(connection: socket.socket, size: int) -> bytes | int:
    """Bytes that came, none at the end; or an error number."""
    try:
        return connection.recv(size)
    except OSError as error:
        return error.errno or errno.EIO


def _greets(connection: socket.socket, greeting: bytes) -> bool:
    try:
        return connection.send(greeting) == len(greeting)
    except OSError:
        return False


@final
class TcpStreams:
    """The connections of a node.

    wire, arrivals: who accepts and dials, and who may stay; nobody else may use them. limit: bytes of the largest frame
    that is taken. send_limit: bytes that may wait to be sent to a peer, unless it is one frame. ipc: others connect to
    a Unix socket. Raises OSError, MemoryError.
    """

    def __init__(self, wire: Wire, arrivals: Arrivals, limit: int, send_limit: int, ipc: bool = False) -> None:
        self.closed = True
        self.wire = _typed(Wire, wire)
        self.arrivals = _typed(Arrivals, arrivals)
        self.limit = _number(limit)
        self.send_limit = _number(send_limit)
        self.ipc = bool(ipc)
        #: by the numbers of the wire
        self.peers: list[_Peer] = []
        #: by their places, which arrivals knows as listeners and pipes, from 1 on
        self.comers: list[_Comer | None] = []
        self.inputs: list[int] = []  # descriptors of those that have sent something
        self.current: _Comer | None = None  # whose frame is the present one, or is looked for
        self.chosen: _Peer | None = None  # for whom a frame is prepared
        self.attention = False  # peers are to be looked at
        self.due = 0  # when there is something to do even if nothing happens; -1: never, 0: look
        self.data: bytes | bytearray | memoryview = b""
        self.size = 0
        self.connections = self.renewals = self.malformed = 0
        self.inn = select.epoll()
        self.out = select.epoll()
        self.closed = False

    def __del__(self) -> None:
        if not self.closed:
            self.close()

    # --- peers ------------------------------------------------------------------------------------

    def add(self, id: int, host: str, port: str, family: int, ipc: bool = False) -> None:
        """Dial member ``id`` from now on; ipc: the host is a path, the family UNIX of a Wire.

        Any thread, but one at a time, like ``drop``. Raises ValueError: too many, or too long.
        """
        number = self.wire.py_target(id, host, port, family, False)
        peer = _Peer(id, bool(ipc))
        if number == len(self.peers):
            self.peers.append(peer)
        else:
            self.peers[number] = peer
        self.wire.py_begin(number)
        self._attend()

    def drop(self, id: int) -> None:
        """Dial this member no more, and end the connection to it; nothing when it is not dialled."""
        number = self.number_of(_number(id))
        if number >= 0:
            self.peers[number].gone = True
            self.peers[number].id = 0
            self._attend()

    def _attend(self) -> None:
        """The thread that waits shall look at the peers."""
        self.attention = True
        self.wire.event.wake()

    def number_of(self, id: int) -> int:
        """The number of a member, -1 for one that is not dialled."""
        for number, peer in enumerate(self.peers):
            if peer.id == id:
                return number
        return -1

    # --- waiting ----------------------------------------------------------------------------------

    def wait(self, event: Event, timeout: int, hungry: bool) -> None:
        """Until the event is woken, something has happened, or for so many ns (below 0: no limit).

        hungry: also until a frame comes. The caller has announced its sleep, and looked again.
        """
        now = monotonic_ns()
        # Whoever adds or drops a peer wakes the wire's event: announced before a look at what was left.
        self.wire.event.prepare()
        if self.due == 0:
            self.due = self._next_due(now)
        times = [timeout] if timeout >= 0 else []
        if self.due >= 0:
            times.append(max(self.due - now, 0))
        if self.attention or (hungry and self.waiting()):
            times.append(0)
        # Rounded up: a wait that ends too early would be repeated without a pause.
        left = min(-(-min(times) // 1_000_000), POLL_MAX_MS) if times else None
        self._happens(left, hungry, event.fd)
        event.cancel()
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(event.fd)

    def look(self, hungry: bool) -> bool:
        """Whether ``wait`` would end at once, but for the event."""
        if self.attention or (hungry and self.waiting()):
            return True
        if self.due == 0:
            self.due = self._next_due(monotonic_ns())
        if 0 <= self.due <= monotonic_ns():
            return True
        return self._happens(0, hungry)

    def _happens(self, left: int | None, hungry: bool, *others: int) -> bool:
        """Whether something happens to the connections or these descriptors within so many ms, None: however long."""
        poll = select.poll()
        for fd in (self.wire.poller, self.out.fileno(), *others, *([self.inn.fileno()] if hungry else [])):
            poll.register(fd, select.POLLIN)
        with contextlib.suppress(OSError):  # no memory for it: there is nothing to be seen this time
            return bool(poll.poll(left))
        return False

    def _next_due(self, now: int) -> int:
        times = [self.wire.due(), self.arrivals.sweep(now)]
        self._close_comers()
        times += [peer.since + self.wire.dial_ns for peer in self.peers if peer.state == GREETING]
        return min((time for time in times if time >= 0), default=-1)

    def collect(self) -> None:
        """See to what has happened to the connections; nothing waits. Frames that have come are found by ``next``."""
        now = monotonic_ns()
        if not self.inputs:
            with contextlib.suppress(OSError):
                self.inputs = [fd for fd, _ in self.inn.poll(0, EVENTS)]
        if self.attention:
            self.attention = False
            for number, peer in enumerate(list(self.peers)):
                if peer.gone:
                    peer.gone = False
                    self._disconnect(peer)
                    self.wire.drop(number)
        self.wire.look()
        while self.wire.take():
            if self.wire.who < 0:
                self._receive(socket.socket(fileno=self.wire.fd), self.wire.source, now)
            else:
                self._connect(self.wire.who, socket.socket(fileno=self.wire.fd), now)
        self._look_at_peers(now)
        for number, peer in enumerate(self.peers):
            if peer.state == GREETING and now - peer.since >= self.wire.dial_ns:
                self._lost(number, errno.ETIMEDOUT)
        self.due = self._next_due(now)

    # --- those that came --------------------------------------------------------------------------

    def _receive(self, connection: socket.socket, source: int, now: int) -> None:
        refused = self.arrivals.refused
        # The wire has seen the greeting, and left it there.
        if not isinstance(seen := _receive(connection, SP_GREETING), bytes) or len(seen) != SP_GREETING:
            connection.close()
            return
        if not _greets(connection, PULL_GREETING):
            connection.close()
            return
        place = self.comers.index(None) if None in self.comers else len(self.comers)
        if self.arrivals.admit(place + 1, source, now) < 0:
            connection.close()
        else:
            self.arrivals.opened(place + 1, place + 1, now)
            comer = _Comer(connection, self.ipc)
            if place == len(self.comers):
                self.comers.append(comer)
            else:
                self.comers[place] = comer
            try:
                self.inn.register(connection, select.EPOLLIN)
            except OSError:
                self.wire.shortage(errno.ENOMEM)
                self._end(comer)
        if self.arrivals.refused != refused:
            self.wire.crowd()
        self._close_comers()

    def _end(self, comer: _Comer) -> None:
        """It has ended, or is to."""
        self.arrivals.ended(self.comers.index(comer) + 1)
        self._close_comers()

    def _close_comers(self) -> None:
        """Those that have to go, and those that have gone."""
        while self.arrivals.next_to_close():
            comer = self.comers[self.arrivals.listener - 1]
            assert comer is not None
            with contextlib.suppress(OSError):
                self.inn.unregister(comer.socket)
            comer.socket.close()
            comer.state = ENDED
            self.comers[self.arrivals.listener - 1] = None

    def waiting(self) -> bool:
        """Whether ``next`` has something to look at."""
        return self.current is not None or bool(self.inputs)

    def next(self) -> bool:
        """Make the next frame the present one (``data``, ``size``) until the next call."""
        while True:
            if self.current is not None:
                comer = self.current
                code = SP_MORE
                if comer.state == STANDS:
                    code = comer.inn.next(self.limit)
                    if code == SP_FRAME:
                        self.data = comer.inn.data
                        self.size = comer.inn.size
                        return True
                    # Of a large frame that is here nothing waits for another round.
                    if code == SP_MORE and comer.more and comer.inn.in_body and self._take(comer):
                        continue
                self.current = None
                if code != SP_MORE:
                    self.malformed += 1
                    self._end(comer)
            if not self.inputs:
                return False
            self._read(self.inputs.pop(0))

    def _read(self, fd: int) -> None:
        """What has come over a connection, as much as is read at a time."""
        comer = next((each for each in self.comers if each is not None and each.socket.fileno() == fd), None)
        if comer is None:
            return
        if self._take(comer):
            self.current = comer

    def _take(self, comer: _Comer) -> bool:
        """The same of one that is known; False when nothing came."""
        got = _receive(comer.socket, SCRATCH)
        if got in (errno.EAGAIN, errno.EWOULDBLOCK):
            return False
        if isinstance(got, int) or not got:
            self._end(comer)
            return False
        comer.more = len(got) == SCRATCH
        comer.inn.feed(got)
        return True

    def proven(self) -> None:
        """The present frame is valid: where it came from is no stranger."""
        comer = self.current
        if comer is None or comer.state != STANDS:
            return
        now = monotonic_ns()
        if comer.proven == 0 or now - comer.proven >= PROOF:
            comer.proven = now
            self.arrivals.proven(self.comers.index(comer) + 1, now)

    # --- those that are dialled -------------------------------------------------------------------

    def _connect(self, number: int, connection: socket.socket, now: int) -> None:
        peer = self.peers[number]
        if not _greets(connection, PUSH_GREETING):
            connection.close()
            self.wire.again(number, errno.ECONNRESET)
            return
        try:
            self.out.register(connection, select.EPOLLIN | RDHUP)
        except OSError:
            connection.close()
            self.wire.shortage(errno.ENOMEM)
            self.wire.again(number, errno.ENOMEM)
            return
        peer.state = GREETING
        peer.socket = connection
        peer.greeting = b""
        peer.since = now

    def _look_at_peers(self, now: int) -> None:
        try:
            events = self.out.poll(0, EVENTS)
        except OSError:
            return
        for fd, happened in events:
            for number, peer in enumerate(self.peers):
                if peer.socket is None or peer.socket.fileno() != fd:
                    continue
                if happened & ~select.EPOLLOUT:
                    self._hear(number, now)
                if happened & select.EPOLLOUT and peer.state == STANDS:
                    self._write(number)
                break

    def _hear(self, number: int, now: int) -> None:
        """The greeting, or the end: nothing else comes from where frames are sent to."""
        peer = self.peers[number]
        assert peer.socket is not None
        got = _receive(peer.socket, SP_GREETING - len(peer.greeting) if peer.state == GREETING else SP_GREETING)
        if got in (errno.EAGAIN, errno.EWOULDBLOCK):
            return
        if isinstance(got, int) or not got:
            self._lost(number, got if isinstance(got, int) else errno.ECONNRESET)
            return
        peer.greeting += got
        if peer.state == STANDS or not PULL_GREETING.startswith(peer.greeting):
            self._lost(number, errno.EPROTO)
        elif len(peer.greeting) == SP_GREETING:
            peer.state = STANDS
            peer.since = now
            peer.fresh = True
            self.connections += 1
            self.wire.stood(number)

    def _disconnect(self, peer: _Peer) -> None:
        if peer.socket is not None:
            self.out.unregister(peer.socket)
            peer.socket.close()
        peer.socket = None
        peer.state = NONE
        peer.fresh = peer.blocked = peer.dirty = False
        peer.out.clear()

    def _lost(self, number: int, code: int) -> None:
        """Its connection has ended, not by us. What ends at once is not dialled as fast as it ends."""
        peer = self.peers[number]
        lived = peer.state == STANDS and monotonic_ns() - peer.since >= LIVED
        self._disconnect(peer)
        self.wire.again(number, 0 if lived else code)
        self.due = 0

    def prepare(self, to: int, size: int, copied: int) -> bytearray | None:
        """The memory for one frame to a member, or for ``copied`` bytes of it where ``refer`` brings the others.

        None when there is no connection to it, or no room.
        """
        number = self.number_of(to)
        if number < 0:
            return None
        peer = self.peers[number]
        if peer.state != STANDS or peer.fresh:
            return None
        self.chosen = peer
        return peer.out.reserve(size, copied, self.send_limit)

    def refer(self, at: int, spans: Spans) -> None:
        """These are part of the prepared frame, behind so many of its bytes in that memory. They are emptied."""
        assert self.chosen is not None
        self.chosen.out.refer(at, spans)

    def send(self) -> int:
        """The prepared frame is to be sent, with the next flush; 0."""
        assert self.chosen is not None
        self.chosen.out.commit()
        self.chosen.dirty = True
        return 0

    def flush(self) -> None:
        """What was sent goes to the kernel, as far as it has room."""
        for number, peer in enumerate(self.peers):
            if peer.dirty:
                peer.dirty = False
                if not peer.blocked:
                    self._write(number)

    def _write(self, number: int) -> None:
        peer = self.peers[number]
        assert peer.socket is not None
        blocked = False
        while peer.out.waiting() and not blocked:
            try:
                size = peer.socket.sendmsg(peer.out.gather(PARTS), [], socket.MSG_NOSIGNAL)
            except BlockingIOError:
                size, blocked = 0, True
            except OSError as error:
                size = -(error.errno or errno.EIO)
            if size < 0:
                self._lost(number, -size)
                return
            peer.out.sent(size)
        if blocked != peer.blocked:
            peer.blocked = blocked
            what = select.EPOLLIN | RDHUP | (select.EPOLLOUT if blocked else 0)
            self.out.modify(peer.socket, what)

    def fresh(self) -> int:
        """A member to which a connection was established since the last call, 0 for none."""
        for peer in self.peers:
            if peer.fresh and peer.id:
                peer.fresh = False
                return peer.id
        return 0

    def renew(self, id: int) -> None:
        """The connection to this member is of no use: end it and dial again. One that does not stand is new already."""
        number = self.number_of(id)
        if number < 0:
            return
        if self.peers[number].state == STANDS:
            self.renewals += 1
            self._disconnect(self.peers[number])
            self.wire.again(number, 0)
        elif self.peers[number].state == NONE:
            self.wire.hurry(number, True)
        self.due = 0

    def heard(self, id: int, anew: bool) -> None:
        """Something has come from this member: without a connection to it, dial it now.

        anew: it has just come to be there. For something that comes all the time, it is dialled so now and then only:
        it may be one that cannot be.
        """
        number = self.number_of(id)
        if number < 0 or self.peers[number].state != NONE:
            return
        peer, now = self.peers[number], monotonic_ns()
        if anew or peer.hurried == 0 or now - peer.hurried >= HURRY:
            peer.hurried = now
            self.wire.hurry(number, anew)
            self.due = 0

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """End every connection; the wire is closed by its owner. Not while another thread waits here. Twice is well."""
        if self.closed:
            return
        self.closed = True
        for peer in self.peers:
            self._disconnect(peer)
        for comer in self.comers:
            if comer is not None:
                comer.socket.close()
        self.comers.clear()
        self.inputs.clear()
        self.current = None
        self.inn.close()
        self.out.close()

    def abandon(self) -> None:
        """In a forked child: close the copies of the descriptors, and nothing else of what the parent uses."""
        if self.closed:
            return
        self.closed = True
        for each in [peer.socket for peer in self.peers] + [comer.socket for comer in self.comers if comer is not None]:
            if each is not None:
                each.close()
        self.inn.close()
        self.out.close()

    # --- by the names of the compiled module -------------------------------------------------------

    def py_wait(self, event: Event, timeout: int = -1, hungry: bool = True) -> None:
        """Wait until the event is woken, something has happened, or for so many nanoseconds. Without the GIL."""
        self.wait(_typed(Event, event), _int64(timeout), bool(hungry))

    def py_look(self, hungry: bool = True) -> bool:
        """Whether ``py_wait`` would end at once for the connections. Without the GIL."""
        return self.look(bool(hungry))

    def py_collect(self) -> None:
        """See to what has happened to the connections. Without the GIL."""
        self.collect()

    def py_waiting(self) -> bool:
        """Whether ``py_next`` has something to look at."""
        return self.waiting()

    def py_next(self) -> bytes | None:
        """The next frame, or None."""
        return bytes(self.data) if self.next() else None

    def py_proven(self) -> None:
        """The frame that was taken last is valid."""
        self.proven()

    def py_send(self, to: int, frame: bytes, spans: Spans | None = None, at: int = 0) -> int:
        """Send a copy with the next flush; 0, or a number when it was dropped. Raises ValueError.

        With ``spans``, they are part of the frame behind ``at`` bytes of it; they are empty afterwards, unless it was
        dropped.
        """
        size = len(_typed(bytes, frame))
        if _number(at) > size:
            raise ValueError("at must be in the frame")
        place = self.prepare(_number(to), size + (spans.size if spans is not None else 0), size)
        if place is None:
            return 1
        place[:] = frame
        if spans is not None:
            self.refer(at, spans)
        return self.send()

    def py_flush(self) -> None:
        """What was sent goes to the kernel, as far as it has room. Without the GIL."""
        self.flush()

    def py_fresh(self) -> int:
        """A member to which a connection was established since the last call, 0 for none."""
        return self.fresh()

    def py_renew(self, id: int) -> None:
        """The connection to this member is of no use: end it and dial again."""
        self.renew(_number(id))

    def py_heard(self, id: int, anew: bool = False) -> None:
        """Something has come from this member: without a connection to it, dial it now."""
        self.heard(_number(id), bool(anew))

    def py_stands(self, id: int) -> bool:
        """Whether a connection to this member is established. Any thread."""
        number = self.number_of(_number(id))
        return number >= 0 and self.peers[number].state == STANDS

    def py_unsent(self, id: int) -> int:
        """Bytes that wait to be sent to this member. Any thread."""
        number = self.number_of(_number(id))
        return self.peers[number].out.waiting() if number >= 0 else 0
