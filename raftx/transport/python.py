"""A node's connections through pynng's Python calls: what ``_native.nng`` does without the GIL, under the same rules.

Used where NNG's functions cannot be called directly, and with ``use_gil``. Knows no frames; what came over which
connection is told by a number, its *source*.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

from .._native.identity import Identities
from .._native.limits import Arrivals
from .._native.threads import Event, monotonic_ns
from .._native.wire import Wire

NEVER_MS = 0x7FFFFFFF  # NNG's own reconnection is not used: see _native.nng.NngWire
LIVED_NS = 1_000_000_000  # a connection that lasted so long is dialled again at once


def socket_id(socket: object) -> int:
    """NNG's number of a pynng socket."""
    if hasattr(socket, "socket"):
        return int(socket.socket.id)
    return int(socket._socket[0].id)  # type: ignore[attr-defined]


def _lib_socket(socket: Any) -> Any:
    return socket.socket if hasattr(socket, "socket") else socket._socket[0]


def hand_over(socket: Any, fd: int, admit: Callable[[int], bool] = lambda listener: True) -> bool:
    """Give a connected descriptor to NNG, over a listener of its own, which ``admit`` may refuse; else it is closed."""
    import pynng

    listener = pynng.ffi.new("nng_listener *")
    lib = pynng.lib
    if lib.nng_listener_create(listener, _lib_socket(socket), b"socket://"):
        os.close(fd)
        return False
    if (
        admit(int(listener[0].id))
        and not lib.nng_listener_start(listener[0], 0)
        and not lib.nng_listener_set_int(listener[0], b"socket:fd", fd)
    ):
        return True
    os.close(fd)
    lib.nng_listener_close(listener[0])
    return False


def named(names: Identities, pipe: Any) -> int:
    """The member that the certificate of a connection names, if it was verified; 0: nobody."""
    import pynng

    ffi, lib = pynng.ffi, pynng.lib
    verified, value = ffi.new("bool *"), ffi.new("void **")
    if lib.nng_pipe_get_bool(pipe.pipe, b"tls-verified", verified) or not verified[0]:
        return 0
    if lib.nng_pipe_get_ptr(pipe.pipe, b"tls-peer-alt-names", value) or value[0] == ffi.NULL:
        return 0
    texts = ffi.cast("char **", value[0])
    found: list[bytes] = []
    while texts[len(found)] != ffi.NULL:
        text = texts[len(found)]
        found.append(bytes(ffi.string(text)))
        lib.nng_free(text, 0)  # both are the caller's; NNG frees as C does, which needs no size
    lib.nng_free(value[0], 0)
    return names.py_member(found)


class PythonPeer:
    """The way to one member. ``send`` for one thread, the rest for the one that runs the connections."""

    def __init__(
        self,
        id: int,
        url: str,
        queue: int,
        patience: int,
        attend: Callable[[], None],
        connected: Callable[[int], None] | None,
        names: Identities | None = None,
        tls: int = 0,
    ) -> None:
        self.id = id
        self.names = names
        self.tls = tls
        self.unnamed = 0  # connections that were ended because another member answered
        self.url = url
        self.queue = queue
        self.patience = patience
        self.attend = attend
        self.connected = connected
        self.renew = self.reach = False
        self.gone = False  # the member is dialled no more
        self.masked = False  # SIGPIPE is, in the sending thread: a connection that has ended must not end the process
        self.stands = False  # the running thread has seen that it is established
        self.since = self.deadline = 0
        self._lock = threading.Lock()
        self._socket: Any = None
        self._ready = self._lost = False

    def __repr__(self) -> str:
        # Without the lock: a debugger may stop the thread that holds it.
        state = "no connection"
        if self._socket is not None:
            state = "ended" if self._lost else "connected" if self._ready else "connecting"
        return f"<PythonPeer {self.id} at {self.url}: {state}{', dropped' if self.gone else ''}>"

    def connect(self, fd: int) -> bool:
        """A Push0 socket of its own for this connection; without a descriptor NNG dials."""
        import pynng

        try:
            push = pynng.Push0(send_buffer_size=self.queue, reconnect_time_min=NEVER_MS, reconnect_time_max=NEVER_MS)
        except pynng.NNGException:
            if fd >= 0:
                os.close(fd)
            return False
        if self.names is not None:
            if fd >= 0:
                # It has shown that somebody listens there: NNG's own dialler would not say so for a long time.
                os.close(fd)
                fd = -1
            pointer = pynng.ffi.cast("void *", self.tls)
            # Without one it dials nobody: NNG would use a configuration of its own.
            if not self.tls or pynng.lib.nng_socket_set_ptr(_lib_socket(push), b"tls-config", pointer):
                push.close()
                return False
            push.add_pre_pipe_connect_cb(self._answers)
        push.add_post_pipe_connect_cb(self._added)
        push.add_post_pipe_remove_cb(self._removed)
        with self._lock:
            self._socket = push
            self._ready = self._lost = False
        self.stands = False
        try:
            if fd >= 0:
                good = hand_over(push, fd)
            else:
                push.dial(self.url, block=False)
                good = True
        except pynng.NNGException:
            good = False
        if not good:
            self.disconnect()
        return good

    def state(self) -> tuple[bool, bool, bool]:
        """Whether there is a socket, its connection was established, and has ended."""
        with self._lock:
            return self._socket is not None, self._ready, self._lost

    def send(self, frame: bytes) -> bool:
        """Queue a frame; False when it was dropped."""
        import pynng

        if not self.masked:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
            self.masked = True
        with self._lock:
            if not self._ready or self._lost:
                return False
            try:
                self._socket.send(frame, block=False)
            except pynng.NNGException:
                return False
            return True

    def disconnect(self) -> None:
        """Close the socket; no callback of it comes afterwards."""
        with self._lock:
            push, self._socket = self._socket, None
            self._ready = False
        if push is not None:
            push.close()
            if self.names is not None:
                push.remove_pre_pipe_connect_cb(self._answers)
            push.remove_post_pipe_connect_cb(self._added)
            push.remove_post_pipe_remove_cb(self._removed)

    def _answers(self, pipe: Any) -> None:
        """Before anything is sent over it: whoever answers has to be the member that was dialled."""
        assert self.names is not None
        if named(self.names, pipe) != self.id:
            self.unnamed += 1
            pipe.close()

    def _added(self, pipe: object) -> None:
        with self._lock:
            self._ready = True
        if self.connected is not None:
            self.connected(self.id)
        self.attend()

    def _removed(self, pipe: object) -> None:
        # NNG frees the connection when this returns; so it waits for a send that is under way.
        with self._lock:
            self._lost = True
        self.attend()


class PythonConnections:
    """Runs a Wire, gives its connections to NNG, and ends those that have to go. ``run`` is the body of a thread."""

    def __init__(
        self, wire: Wire, event: Event, arrivals: Arrivals, pull: Any, names: Identities | None = None
    ) -> None:
        self.names = names
        self.wire = wire
        self.event = event
        self.arrivals = arrivals
        self.pull = pull
        #: by the numbers of the wire; None: the number is free
        self.peers: list[PythonPeer | None] = []
        self.by_id: dict[int, PythonPeer] = {}
        self.attention = self.stopping = False
        self.connections = self.renewals = 0
        pull.add_pre_pipe_connect_cb(self._comes)
        pull.add_post_pipe_remove_cb(self._goes)

    def __repr__(self) -> str:
        return f"<PythonConnections peers={sorted(self.by_id)} made={self.connections} renewals={self.renewals}>"

    def add(
        self,
        id: int,
        host: str,
        port: str,
        family: int,
        url: str,
        queue: int,
        patience: int,
        connected: Callable[[int], None] | None = None,
        tls: int = 0,
    ) -> None:
        """Dial a member: as NngWire.add does. ``connected``: told its id when a connection is established."""
        number = self.wire.py_target(id, host, port, family, False)
        peer = PythonPeer(id, url, queue, patience, self.attend, connected, self.names, tls)
        if number == len(self.peers):
            self.peers.append(peer)
        else:
            self.peers[number] = peer
        self.by_id[id] = peer
        self.wire.py_begin(number)

    def drop(self, id: int) -> None:
        """Dial this member no more, and end the connection to it: as NngWire.drop does."""
        peer = self.by_id.pop(id, None)
        if peer is not None:
            peer.gone = True
            self.attend()

    def attend(self) -> None:
        """The running thread shall look at everything. Any thread."""
        self.attention = True
        self.event.py_wake()

    def renew(self, id: int) -> None:
        """End the connection to this member and dial again. Any thread."""
        peer = self.by_id.get(id)
        if peer is not None:
            peer.renew = True
            self.attend()

    def reach(self, id: int) -> None:
        """This member has just connected: without a connection to it, dial it now. Any thread."""
        peer = self.by_id.get(id)
        if peer is not None:
            peer.reach = True
            self.attend()

    @property
    def unnamed(self) -> int:
        """How many connections were ended because somebody answered that was not the member dialled."""
        return sum([peer.unnamed for peer in list(self.by_id.values())])

    def py_tls(self, id: int, tls: int) -> None:
        """The next connection to this member uses this configuration, which is never freed. Any thread."""
        peer = self.by_id.get(id)
        if peer is not None:
            peer.tls = tls

    def py_attend(self) -> None:
        """The running thread shall look at everything. Any thread."""
        self.attend()

    def stop(self) -> None:
        """End ``run``. Any thread; may be called twice."""
        self.stopping = True
        self.event.py_wake()

    def forget(self) -> None:
        """After the Pull0 socket is closed: let go of what refers back to this, so that its memory goes at once."""
        # pynng's sockets refer to themselves, and what they refer to would wait with them for the collector.
        self.pull.remove_pre_pipe_connect_cb(self._comes)
        self.pull.remove_post_pipe_remove_cb(self._goes)
        self.pull = None
        self.peers.clear()
        self.by_id.clear()

    def run(self) -> None:
        """Until ``stop``."""
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])
        while not self.stopping:
            until = self._look()
            self.event.py_prepare()
            if self.attention or self.stopping:
                self.attention = False
                until = 0
            self.wire.py_step(until)
            while (taken := self.wire.py_take()) is not None:
                who, fd, source = taken
                if who < 0:
                    self._receive(fd, source)
                    continue
                peer = self.peers[who]
                assert peer is not None  # what the wire takes up for a number that is free, it never began
                peer.deadline = monotonic_ns() + peer.patience
                if not peer.connect(fd):
                    self.wire.py_again(who, errno.ECONNRESET)
        for each in list(self.peers):
            if each is not None:
                each.disconnect()
        self._close_arrivals()

    def _look(self) -> int:
        """See to every connection; when that has to be done again, -1: not before something happens."""
        now = monotonic_ns()
        times = [self.arrivals.py_sweep(now)]
        self._close_arrivals()
        for number, peer in enumerate(list(self.peers)):
            if peer is None:
                continue
            if peer.gone:
                peer.disconnect()
                self.peers[number] = None
                self.wire.py_drop(number)
                continue
            there, ready, lost = peer.state()
            renew, peer.renew = peer.renew, False
            reach, peer.reach = peer.reach, False
            if not there:
                if renew or reach:
                    self.wire.py_hurry(number, True)
                continue
            if ready and not peer.stands:
                peer.stands = True
                peer.since = now
                self.connections += 1
                self.wire.py_stood(number)
            # One that is not established yet is new already.
            if lost or (renew and ready):
                peer.disconnect()
                self.renewals += not lost
                # What ends at once is not dialled as fast as it ends.
                lived = not lost or (peer.stands and now - peer.since >= LIVED_NS)
                self.wire.py_again(number, 0 if lived else errno.ECONNRESET)
            elif not ready and now >= peer.deadline:
                peer.disconnect()
                self.wire.py_again(number, errno.ETIMEDOUT)
            elif not ready:
                times.append(peer.deadline)
        return min((time for time in times if time >= 0), default=-1)

    def _receive(self, fd: int, source: int) -> None:
        """A connection that has greeted becomes one of the Pull0 socket."""
        refused = self.arrivals.refused
        given: list[int] = []

        def admit(listener: int) -> bool:
            given.append(listener)
            return self.arrivals.py_admit(listener, source, monotonic_ns()) >= 0

        if not hand_over(self.pull, fd, admit):
            if given:
                self.arrivals.py_drop(given[0])
            else:
                self.wire.py_shortage(errno.ENOMEM)
        if self.arrivals.refused != refused:
            self.wire.py_crowd()

    def _close_arrivals(self) -> None:
        import pynng

        while (going := self.arrivals.py_next_to_close()) is not None:
            listener, pipe, own = going
            made = pynng.ffi.new("nng_listener *") if own else pynng.ffi.new("nng_pipe *")
            made[0].id = listener if own else pipe
            if own:
                pynng.lib.nng_listener_close(made[0])
            else:
                pynng.lib.nng_pipe_close(made[0])

    def _comes(self, pipe: Any) -> None:
        import pynng

        member = 0
        if self.names is not None:
            member = named(self.names, pipe)
            if member == 0:
                self.arrivals.py_identify(int(pipe.id), 0)
                pipe.close()
                return
        listener = int(pynng.lib.nng_pipe_listener(pipe.pipe).id) & 0xFFFFFFFF
        if self.arrivals.py_opened(listener, int(pipe.id), monotonic_ns()) < 0:
            pipe.close()
        elif member:
            self.arrivals.py_identify(int(pipe.id), member)
        self.attend()

    def _goes(self, pipe: Any) -> None:
        self.arrivals.py_ended(int(pipe.id))
        self.attend()

    def receive(self, deliver: Callable[[bytes, int, int], object]) -> None:
        """Hand what comes to ``deliver``, with its source and member, until the Pull0 socket is closed."""
        import pynng

        lib, ffi = pynng.lib, pynng.ffi
        message = ffi.new("nng_msg **")
        while True:
            code = lib.nng_recvmsg(_lib_socket(self.pull), message, 0)
            if code == pynng.lib.NNG_ECLOSED or self.stopping:
                return
            if code:
                # What else can fail is memory.
                self.wire.py_shortage(errno.ENOMEM)
                continue
            try:
                frame = bytes(ffi.buffer(lib.nng_msg_body(message[0]), lib.nng_msg_len(message[0])))
                source = int(lib.nng_msg_get_pipe(message[0]).id)
            finally:
                lib.nng_msg_free(message[0])
            self.arrivals.py_heard(source, monotonic_ns())
            if self.names is None:
                deliver(frame, source, 0)
            elif (member := self.arrivals.py_member(source)) != 0:
                deliver(frame, source, member)
            # Else its connection has ended: whose it was is not known any more.
