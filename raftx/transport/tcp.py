"""TcpTransport: TCP and Unix sockets in the hands of the engine's own thread, with the bytes that NNG sends.

There is no thread for a peer, nor one for all of them: the engine waits for its sockets and its queues at once, reads
what has come and writes what goes (``TcpLink``). Without a node, ``start`` does the same on a thread of its own. A
member with this transport and one with NngTransport understand each other.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import socket
import stat
import threading
import weakref
from collections.abc import Callable, Mapping
from types import MappingProxyType

from .._native.limits import Notes
from .._native.memory import Spans
from .._native.tcp import TcpStreams
from .._native.threads import Event
from .._native.wire import UNIX
from ..errors import ConfigError, TransportError, UsageError
from .address import Address, listen_on
from .link import Link
from .sockets import Keys as ClusterKeys
from .sockets import SocketTransport, in_range

PATHS = ("ipc", "unix")
PATH_BYTES = 107  # that the path of a Unix socket may have


class TcpLink(Link):
    """Frames over sockets that the engine's thread reads and writes itself."""

    def __init__(self, streams: TcpStreams, notes: Notes) -> None:
        self.streams = streams
        self.notes = notes

    def prepare(self, to: int, size: int) -> bool:
        return self.prepare_lean(to, size, size)

    def refers(self) -> bool:
        return True

    def prepare_lean(self, to: int, size: int, copied: int) -> bool:
        self.place = self.streams.prepare(to, size, copied)
        return True if self.place else False  # noqa: SIM210 (a pointer, without the GIL)

    def refer(self, at: int, spans: Spans) -> int:
        self.streams.refer(at, spans)
        return 0

    def send(self) -> int:
        return self.streams.send()

    def waiting(self) -> bool:
        return self.streams.waiting()

    def next(self) -> bool:
        if not self.streams.next():
            return False
        self.data = self.streams.data
        self.size = self.streams.size
        return True

    def proven(self) -> int:
        self.streams.proven()
        return 0

    def fresh(self) -> int:
        return self.streams.fresh()

    def renew(self, to: int) -> int:
        self.streams.renew(to)
        return 0

    def heard(self, id: int) -> int:
        self.streams.heard(id, False)
        return 0

    def reach(self, to: int) -> int:
        self.streams.heard(to, True)
        return 0

    def wait(self, event: Event, timeout: int, hungry: bool) -> int:
        self.streams.wait(event, timeout, hungry)
        return 0

    def look(self, hungry: bool) -> bool:
        return self.streams.look(hungry)

    def collect(self) -> int:
        self.streams.collect()
        return 0

    def flush(self) -> int:
        self.streams.flush()
        return 0


class TcpTransport(SocketTransport):
    """Frames over TCP or Unix sockets, as NNG's Push0 and Pull0 have them: tcp and ipc addresses.

    listen: where this node receives, for example ``tcp://0.0.0.0:5601``; port 0 takes a free one (see ``address``).
    ``ipc:///run/service/1`` is a Unix socket; a file that a process left behind there is replaced.
    peers: id to address of other members; this node's own is not dialled. Addresses that are part of the membership,
    as they are for members that were founded or added with them, take their place.
    max_frame_bytes: largest frame that is received, 64 KiB..1 GiB, rounded up to whole 64 KiB. Members tell
    each other this limit and keep to it; a sender that exceeds it is disconnected.
    send_bytes: bytes that may wait to be sent to one peer, 64 KiB..2^40, and behind them one of more than a quarter
    of that; more are dropped and the peer counts as unreachable, as it does while there is no connection to it.
    reconnect_ms: shortest and longest time between the beginnings of two attempts to dial a peer; it doubles from one
    failure to the next, and is the shortest again as soon as something comes from the peer.
    dial_ms: how long one attempt to connect may take, 10..60,000 ms, and the greeting after it.
    unacknowledged_ms: a connection ends when what was sent over it is not acknowledged for so long, 100..600,000 ms.
    max_connections: connections from others at once, 2..4096, peers included.
    max_strangers: how many of these may not have sent a valid frame yet, 1..1024, less than max_connections. Four times
    as many more may be there that have not sent the eight bytes with which a connection begins.
    stranger_ms: how long a connection may be without either, 10..600,000 ms.
    insecure: True lets it listen where others than members may reach it, without tls or a cluster_key; else it takes
    only loopback addresses, Unix sockets and ``inproc``.
    cluster_key: 32 bytes that all members have: each frame has a seal by it, and what has none is dropped; not
    encrypted. Two keys, of which the first one seals, while one takes the other's place. Nodes only.

    What others can make this node hold is bounded: descriptors by max_connections + 4 * max_strangers + 64, memory by
    (max_strangers + connections of members) * max_frame_bytes, and by 2 * (send_bytes + a frame) for each peer: of what
    waits, large entries stay in blocks of the log, which are kept for it. As long as nothing valid has come over a
    connection it holds no more than twice what has come of its frame. One stranger too many costs another one of the
    address that has the most; one connection too many costs the one that was silent for longest. Without descriptors or
    memory the node waits until there are some. Both are logged, at most every ten seconds, and counted in ``status()``.

    A host that is a name is looked up each time the peer could not be reached, while its addresses of before are tried.
    Four are looked up at a time. A lookup that hangs cannot be ended: its thread, one of four at most, may be left for
    a while after ``close``.

    Raises ConfigError (names the field), TransportError when it cannot listen.
    """

    def __init__(
        self,
        listen: str,
        peers: Mapping[int, str] = MappingProxyType({}),
        *,
        max_frame_bytes: int = 4 << 20,
        send_bytes: int = 16 << 20,
        reconnect_ms: tuple[int, int] = (10, 500),
        dial_ms: int = 300,
        unacknowledged_ms: int = 1000,
        max_connections: int = 128,
        max_strangers: int = 16,
        stranger_ms: int = 2000,
        insecure: bool = False,
        cluster_key: ClusterKeys = None,
    ) -> None:
        super().__init__(
            listen,
            peers,
            max_frame_bytes=max_frame_bytes,
            reconnect_ms=reconnect_ms,
            dial_ms=dial_ms,
            unacknowledged_ms=unacknowledged_ms,
            max_connections=max_connections,
            max_strangers=max_strangers,
            stranger_ms=stranger_ms,
            insecure=insecure,
            cluster_key=cluster_key,
        )
        in_range("send_bytes", send_bytes, 64 << 10, 1 << 40)
        self.send_bytes = send_bytes
        self._streams: TcpStreams | None = None
        self._pump: Pump | None = None
        self._made = ""  # the file of the Unix socket that listens

    def _parse(self, url: object, field: str, *, listen: bool) -> Address:
        at = super()._parse(url, field, listen=listen)
        if not at.is_tcp and at.scheme not in PATHS:
            raise ConfigError(
                f"{field} has the address {url!r}: TcpTransport takes tcp:// and ipc:// addresses; use NngTransport"
            )
        if not at.is_tcp and len(os.fsencode(_path(at))) > PATH_BYTES:
            raise ConfigError(f"{field} has the address {url!r}: a path must have at most {PATH_BYTES} bytes")
        return at

    # --- life ------------------------------------------------------------------------------------

    def _open(self, id: int) -> TcpStreams:
        """Listen, and begin to dial; whoever has the streams runs them. Raises TransportError."""
        if self._closed or self._streams is not None:
            raise UsageError("a transport can be started once")
        self._check_process()
        try:
            wire = self._make_wire()
            assert self._arrivals is not None
            streams = TcpStreams(wire, self._arrivals, self._largest, self.send_bytes, not self._listen_at.is_tcp)
        except OSError as error:
            raise TransportError(f"the sockets for {self.listen} cannot be had: {error}") from error
        _transports.add(self)
        with self._changing:
            self._streams = streams
            self._dial_all(id)
        try:
            if self._listen_at.is_tcp:
                made = listen_on(self._listen_at)
                self.address = self._listen_at.with_port(made.getsockname()[1])
            else:
                made = listen_on_path(_path(self._listen_at))
                self._made = os.path.abspath(_path(self._listen_at))
            wire.py_listen(made.detach())
        except OSError as error:
            raise TransportError(f"cannot listen on {self.listen}: {error}") from error
        return streams

    def _dial(self, peer: int, at: Address) -> None:
        if peer == self._id or self._streams is None:
            return
        if at.is_tcp:
            self._streams.add(peer, at.host, str(at.port), at.family)
        else:
            self._streams.add(peer, _path(at), "", UNIX, True)

    def _dial_no_more(self, peer: int) -> None:
        if self._streams is not None:
            self._streams.drop(peer)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError("a transport does not survive a fork: make another one in the process that uses it")

    def open_link(self, id: int, event: Event) -> TcpLink:
        """For a node: listen, dial, and leave the rest to the engine. Raises TransportError."""
        try:
            return TcpLink(self._open(id), self.notes)
        except UsageError:
            raise
        except BaseException:
            self.close()
            raise

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Listen and dial, and receive on a thread of its own, which calls ``deliver``. Raises TransportError."""
        self._check_keys()
        try:
            self._pump = Pump(self._open(id), deliver, self.send_bytes)
            self._pump.start(f"raftx-tcp-{id}")
        except UsageError:
            raise
        except BaseException:
            self.close()
            raise

    def send(self, to: int, frame: bytes) -> bool:
        """Queue a frame, without a node; False when there is no connection to that member, or no room."""
        return self._pump is not None and self._pump.send(to, frame)

    def close(self) -> None:
        """Close every socket; returns when nothing is delivered any more."""
        self._closed = True
        if os.getpid() != self._pid:
            return
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.stop()
        if self._streams is not None:
            self._streams.close()
        if self._wire is not None:
            self._wire.py_close()
        made, self._made = self._made, ""
        if made:
            with contextlib.suppress(OSError):
                os.unlink(made)

    def _abandon(self) -> None:
        """In a forked child: the sockets are the parent's."""
        self._closed = True
        if self._streams is not None:
            self._streams.abandon()
        if self._wire is not None:
            self._wire.py_abandon()

    def status(self) -> dict[str, int]:
        """Connections and what was refused; counters begin at 0 with the start. Any thread."""
        streams = self._streams
        if streams is None:
            return {}
        return {**self._status(streams.connections, streams.renewals), "malformed": streams.malformed}

    def __repr__(self) -> str:
        state = " closed" if self._closed else "" if self._streams is not None else ", not started"
        return f"<raftx.TcpTransport {self.address} peers={sorted(self.peers)}{state}>"


class Pump:
    """Runs the streams of a transport that has no node, on a thread. ``limit``: bytes that may wait to be sent."""

    def __init__(self, streams: TcpStreams, deliver: Callable[[bytes], object], limit: int) -> None:
        self.streams = streams
        self.deliver = deliver
        self.limit = limit
        self.event = Event()
        self.stopping = False
        self.waiting: collections.deque[tuple[int, bytes]] = collections.deque()
        #: bytes of those that wait. Under the lock, which is reentrant: a signal handler may send
        self.size = 0
        self.lock = threading.RLock()
        self.thread: threading.Thread | None = None

    def start(self, name: str) -> None:
        """Begin to receive."""
        self.thread = threading.Thread(target=self.run, name=name, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End ``run``. Any thread."""
        self.stopping = True
        self.event.py_wake()
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join()

    def send(self, to: int, frame: bytes) -> bool:
        """Queue a frame. Any thread."""
        if not self.streams.py_stands(to):
            return False
        with self.lock:
            ahead = self.size + self.streams.py_unsent(to)
            if ahead and ahead + len(frame) > self.limit:
                return False
            self.size += len(frame)
            self.waiting.append((to, frame))
        self.event.py_wake()
        return True

    def run(self) -> None:
        """The body of the thread."""
        while not self.stopping:
            self.streams.py_collect()
            while self.streams.py_fresh():
                pass
            while not self.stopping and (frame := self.streams.py_next()) is not None:
                self.streams.py_proven()
                self.deliver(frame)
            while self.waiting:
                with self.lock:
                    to, frame = self.waiting.popleft()
                    self.size -= len(frame)
                self.streams.py_send(to, frame)
            self.streams.py_flush()
            self.event.py_prepare()
            if self.waiting or self.stopping:
                self.event.py_cancel()
            else:
                self.streams.py_wait(self.event)


def _path(address: Address) -> str:
    return address.url.split("://", 1)[1]


def listen_on_path(path: str, backlog: int = 128) -> socket.socket:
    """A Unix socket that listens there; the file of one that nobody listens on any more is replaced. Raises OSError."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            made.bind(path)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            os.unlink(path)
            made.bind(path)
        made.listen(backlog)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _is_stale(path: str) -> bool:
    """Whether it is a socket that nobody listens on."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            probe.connect(path)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


_transports: weakref.WeakSet[TcpTransport] = weakref.WeakSet()


def _in_child() -> None:
    for transport in list(_transports):
        transport._abandon()


os.register_at_fork(after_in_child=_in_child)
