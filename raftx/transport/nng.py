"""NngTransport: one Pull0 socket for what comes, one Push0 socket for each connection that is dialled, over pynng.

TCP connections are accepted and dialled by raftx itself, with limits, and given to NNG as descriptors. Frames pass
without the GIL where pynng's library exports its C functions (``NngLink``); elsewhere through pynng's Python calls,
which every other transport uses too. NNG does not survive a fork: fork.py says what becomes of it in the child.
"""

from __future__ import annotations

import logging
import os
import socket as sockets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from .._native.identity import Identities
from .._native.limits import Arrivals, Notes
from .._native.nng import NngReceiver, NngSender, NngWire, nng_available
from .._native.threads import Event, monotonic_ns
from .._native.wire import Wire
from ..errors import ConfigError, TransportError, UsageError
from ..report import report
from . import fork
from .address import Address, listen_on
from .link import Link
from .python import PythonConnections, socket_id
from .silent import Place, SilentConnections, place
from .sockets import GUESTS, SocketTransport, in_range
from .sockets import Keys as ClusterKeys
from .tls import Keys, KeyWatch, Tls

SLOW_HANDSHAKE = 8  # times an attempt, where NNG dials and more than greetings go to and fro


class NngLink(Link):
    """Frames over NNG without the GIL: what arrives on one socket, and a connection to each peer."""

    def __init__(
        self,
        event: Event,
        notes: Notes,
        wire: Wire,
        arrivals: Arrivals,
        socket: int,
        queue: int,
        byte_limit: int,
        names: Identities | None = None,
    ) -> None:
        self.notes = notes
        self.named = names is not None
        #: whose certificate the frame in hand came with; looked up once: its connection may end at any moment
        self.whose = 0
        self.wire = NngWire(event, wire, arrivals, socket, queue, names)
        self.receiver = NngReceiver(socket, event, 1024, byte_limit)
        self.sender = NngSender(self.wire)
        self.threads: list[threading.Thread] = []
        self.wire.watch()

    def start(self, id: int) -> None:
        """Begin to receive, and to accept and dial on a thread. Raises TransportError."""
        self.receiver.start()
        thread = threading.Thread(target=self.wire.run, name=f"raftx-wire-{id}", daemon=True)
        thread.start()
        self.threads.append(thread)

    def stop(self) -> None:
        """End receiving and every connection that was dialled. Not while the engine runs."""
        self.wire.stop()
        for thread in self.threads:
            thread.join()
        self.receiver.stop()

    def prepare(self, to: int, size: int) -> bool:
        self.place = self.sender.prepare(to, size)
        return True if self.place else False  # noqa: SIM210 (a pointer, without the GIL)

    def send(self) -> int:
        return self.sender.send()

    def waiting(self) -> bool:
        return self.receiver.waiting()

    def next(self) -> bool:
        while self.receiver.next():
            self.whose = self.wire.member(self.receiver.pipe()) if self.named else 0
            # Of a connection that has ended since, nobody knows any more whose it was.
            if not self.named or self.whose != 0:
                self.data = self.receiver.data
                self.size = self.receiver.size
                return True
        return False

    def member(self) -> int:
        return self.whose

    def proven(self) -> int:
        self.wire.proven(self.receiver.pipe())
        return 0

    def fresh(self) -> int:
        return self.wire.fresh()

    def renew(self, to: int) -> int:
        self.wire.renew(to)
        return 0

    def heard(self, id: int) -> int:
        self.wire.heard(id, False)
        return 0

    def reach(self, to: int) -> int:
        self.wire.heard(to, True)
        return 0


class NngTransport(SocketTransport):
    """Frames over NNG: tcp, ipc or inproc addresses; with ``tls``, tls+tcp addresses.

    listen: where this node receives, for example ``tcp://0.0.0.0:5601``; port 0 takes a free one (see ``address``).
    peers: id to address of other members; this node's own is not dialled. Addresses that are part of the membership,
    as they are for members that were founded or added with them, take their place.
    max_frame_bytes: largest frame that is received, 64 KiB..1 GiB, rounded up to whole 64 KiB. Members tell
    each other this limit and keep to it; a sender that exceeds it is disconnected.
    queue_frames: frames that may wait for one peer, 1..8192; more are dropped and the peer counts as unreachable,
    as it does while there is no connection to it.
    reconnect_ms: shortest and longest time between the beginnings of two attempts to dial a peer; it doubles from one
    failure to the next, and is the shortest again as soon as the peer itself connects.
    dial_ms: how long one attempt to connect may take, 10..60,000 ms, and the greeting after it.
    unacknowledged_ms: a connection ends when what was sent over it is not acknowledged for so long, 100..600,000 ms.
    max_connections: connections from others at once, 2..4096, peers included.
    max_strangers: how many of these may not have sent a valid frame yet, 1..1024, less than max_connections. Four times
    as many more may be there that have not sent the eight bytes with which a connection begins.
    stranger_ms: how long a connection may be without either, 10..600,000 ms.
    receive_bytes: bytes of received frames that may wait for the engine, 64 KiB..2^40; beyond it nothing is read.
    tls: a ``raftx.Tls``: each connection has a certificate that names its member, and frames of others are dropped.
    Then all addresses are ``tls+tcp://``.
    insecure: True lets it listen where others than members may reach it, without tls or a cluster_key; else it takes
    only loopback addresses, Unix sockets and ``inproc``.
    cluster_key: 32 bytes that all members have: each frame has a seal by it, and what has none is dropped; not
    encrypted. Two keys, of which the first one seals, while one takes the other's place. Nodes only.
    use_gil: receive and send through pynng's Python calls even where the library can be called directly.

    What others can make this node hold is bounded: descriptors by max_connections + 4 * max_strangers + 64, memory by
    (max_strangers + connections of members) * max_frame_bytes + receive_bytes + max_frame_bytes. One stranger too
    many costs another one of the address that has the most; one connection too many costs the one that was silent for
    longest. Without descriptors or memory the node waits until there are some. Both are logged, at most every ten
    seconds, and counted in ``status()``.

    A host that is a name is looked up each time the peer could not be reached, while its addresses of before are tried.
    Four are looked up at a time. A lookup that hangs cannot be ended: its thread, one of four at most, may be left for
    a while after ``close``. Names in tls+tcp and ws addresses are looked up by NNG.

    With ``tls``, NNG accepts: connections that have not come through their handshake within stranger_ms are ended, and
    so are more than 4 * max_strangers of them; looked at some times a second, where there is /proc.

    Raises ConfigError (names the field), TransportError when it cannot listen.
    """

    def __init__(
        self,
        listen: str,
        peers: Mapping[int, str] = MappingProxyType({}),
        *,
        max_frame_bytes: int = 4 << 20,
        queue_frames: int = 128,
        reconnect_ms: tuple[int, int] = (10, 500),
        dial_ms: int = 300,
        unacknowledged_ms: int = 1000,
        max_connections: int = 128,
        max_strangers: int = 16,
        stranger_ms: int = 2000,
        receive_bytes: int = 32 << 20,
        use_gil: bool = False,
        tls: Tls | None = None,
        insecure: bool = False,
        cluster_key: ClusterKeys = None,
    ) -> None:
        if tls is not None and not isinstance(tls, Tls):
            raise ConfigError(f"tls must be a raftx.Tls, not {type(tls).__name__}")
        self.tls = tls
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
            sealed_otherwise=tls is not None,
        )
        in_range("queue_frames", queue_frames, 1, 8192)
        in_range("receive_bytes", receive_bytes, 64 << 10, 1 << 40)
        if not isinstance(use_gil, bool):
            raise ConfigError(f"use_gil must be True or False, not {use_gil!r}")
        self.queue_frames = queue_frames
        self.receive_bytes = receive_bytes
        self.use_gil = use_gil
        self._pull: Any = None
        self._threads: list[threading.Thread] = []
        self._link: NngLink | None = None
        self._connections: PythonConnections | None = None
        self._deliver_from: Callable[..., object] | None = None
        self._connected: Callable[[int], None] | None = None
        self._wire_thread: threading.Thread | None = None
        self._keys: Keys | None = None
        self._watch: KeyWatch | None = None
        self._silent: SilentConnections | None = None
        self._ended: set[int] = set()  # NNG's numbers of connections that had ended, at the last look
        self._listener: Any = None  # of NNG's, with tls; None: it is to be made again
        self._listens: Place = ("", 0)  # where that is
        self._server: Any = None  # NNG's configuration of it
        self._reloaded_ns = 0  # when connections with an older certificate have to end; 0: there are none

    def _parse(self, url: object, field: str, *, listen: bool) -> Address:
        at = super()._parse(url, field, listen=listen)
        if at.scheme.startswith("tls") != (self.tls is not None):
            what = "give the transport tls=raftx.Tls(...)" if self.tls is None else "with tls it must be tls+tcp://"
            raise ConfigError(f"{field} has the address {url!r}: {what}")
        return at

    # --- life ------------------------------------------------------------------------------------

    def secure(self, cluster: bytes, id: int) -> None:
        """For a node, before ``start``: whose certificates are to be here. Reads the files. Raises ConfigError."""
        if self.tls is not None:
            self._keys = Keys(self.tls, cluster, id)
            self._keys.load()

    def reload_tls(self) -> bool:
        """Read the files of ``tls`` again, now; whether there was something new. Any thread.

        New connections use what is there now, but for the first one that comes; those of before end after ``renew_s``.
        Raises ConfigError when the files cannot be used: those of before stay in use. UsageError without ``tls``, and
        before the start.
        """
        keys = self._keys
        if keys is None or self._closed:
            raise UsageError("there is no TLS to reload: the transport has no tls, has not started, or is closed")
        with self._changing:
            before = keys.held()
            if not keys.load():
                return False
            try:
                self._give_keys(keys)
            except ConfigError:
                keys.hold(before)  # NNG takes less than OpenSSL does
                raise
        report(logging.INFO, "node %d: TLS files were read again", self._id, event="tls_reloaded", node=self._id)
        return True

    def _give_keys(self, keys: Keys) -> None:
        import pynng

        server = keys.server()
        clients = {peer: keys.client(peer) for peer in self._dial_at if peer != self._id}
        if self._listener is not None:
            code = pynng.lib.nng_listener_set_ptr(self._listener[0], b"tls-config", server)
            if code:
                raise ConfigError(f"tls: NNG does not take the new files: {_text(code)}")
        self._server = server
        made = self._made()
        for peer, client in clients.items():
            if made is not None:
                made.py_tls(peer, client)
        # With what was replaced first: files that change often must not put it off.
        self._reloaded_ns = self._reloaded_ns or monotonic_ns()

    def _made(self) -> Any:
        """Whoever has the connections, with or without the GIL."""
        return self._connections if self._link is None else self._link.wire

    def _tend(self) -> float:
        """What the thread that watches the files does besides; after how many seconds again."""
        made, tls, arrivals = self._made(), self.tls, self._arrivals
        if made is None or tls is None or arrivals is None:
            return 1.0
        if self._reloaded_ns and monotonic_ns() - self._reloaded_ns >= tls.renew_s * 10**9:
            # All of them: the first one that came after the files had changed was still held against those of before,
            # and those that were dialled meanwhile are not told from the others. They are made again.
            arrivals.py_retire(monotonic_ns())
            self._reloaded_ns = 0
            for peer in list(self.peers):
                self._renew(peer)
            made.py_attend()
        self._close_ended()
        if self._silent is None:
            return 1.0
        again = self._silent.look(time.monotonic())
        if self._listener is None or self._silent.stuck(time.monotonic()) > self._silent.most:
            self._listen_again()
        return again

    def _renew(self, to: int) -> None:
        if self._link is not None:
            self._link.wire.py_renew(to)
        elif self._connections is not None:
            self._connections.renew(to)

    def _established(self) -> set[Place]:
        """Where those come from that are through their handshake."""
        return {there for _, _, there in self._pipes() if there is not None}

    def _close_ended(self) -> None:
        """Close what NNG keeps although it has ended: it does not notice every end of a connection with TLS.

        Only what was so at the last look, too: NNG is about to close most of them.
        """
        import pynng

        ended = {number for number, code, _ in self._pipes() if code & pynng.lib.NNG_ESYSERR}
        pipe = pynng.ffi.new("nng_pipe *")
        for number in ended & self._ended:
            pipe[0].id = number
            pynng.lib.nng_pipe_close(pipe[0])
        self._ended = ended

    def _pipes(self) -> Iterator[tuple[int, int, Place | None]]:
        """Of each connection that came: NNG's number for it, the error that asking for its other end gave, that end."""
        import pynng

        at = pynng.ffi.new("nng_sockaddr *")
        pipe = pynng.ffi.new("nng_pipe *")
        arrivals = self._arrivals
        for number, _ in arrivals.py_pipes() if arrivals is not None else ():
            pipe[0].id = number
            code = pynng.lib.nng_pipe_get_addr(pipe[0], b"remote-address", at)
            yield number, code, None if code else _place_of(at)

    def _start_watch(self) -> None:
        if self._keys is None:
            return
        if self.tls is not None and os.path.isdir("/proc/self/fd"):
            most = GUESTS * self.max_strangers
            self._silent = SilentConnections(self._listens, self.stranger_ms / 1000, most, self._established)
        self._watch = KeyWatch(self._keys, self.reload_tls, self._tend)
        self._watch.start()

    def _open(self) -> Wire:
        """Everything but listening."""
        import pynng

        self._check_new()
        self._check_process()
        if self.tls is not None and self._keys is None:
            raise UsageError(
                "with tls a transport is a node's: whose certificates to expect is told by secure(). A transport of "
                "your own that has this one inside has to hand on its secure() and attach()"
            )
        fork.watch(self)
        wire = self._make_wire()
        try:
            self._pull = pynng.Pull0(recv_max_size=self._largest)
        except pynng.NNGException as error:
            raise TransportError(f"NNG cannot open a socket: {error}") from error
        return wire

    def _check_new(self) -> None:
        if self._closed or self._pull is not None:
            raise UsageError("a transport can be started once")

    def _listen(self, wire: Wire) -> None:
        import pynng

        try:
            if self._listen_at.is_tcp:
                made = listen_on(self._listen_at)
                self.address = self._listen_at.with_port(made.getsockname()[1])
                wire.py_listen(made.detach())
            else:
                if self._keys is None:
                    self._pull.listen(self.listen)
                else:
                    self._server = self._keys.server()
                    self._listen_with_tls()
        except (OSError, pynng.NNGException) as error:
            raise TransportError(f"cannot listen on {self.listen}: {error}") from error

    def _dial(self, peer: int, at: Address) -> None:
        """Begin to dial a member, unless it is this one. Raises ValueError when there are too many."""
        if peer == self._id:
            return
        host, port = (at.host, str(at.port)) if at.is_tcp or self._keys is not None else ("", "")
        # How many attempts' time the handshake may take.
        patience = SLOW_HANDSHAKE if at.host and not at.is_tcp else 1
        tls = self._keys.client(peer) if self._keys is not None else 0
        if self._keys is not None and not tls:
            text = "node %d: tls: names has no name of member %d, which is not dialled: give that of each member"
            report(logging.WARNING, text, self._id, peer, event="tls_refused", node=self._id, peer=peer)
        if self._link is not None:
            self._link.wire.add(peer, host, port, at.family, at.url, patience, tls)
        elif self._connections is not None:
            time_ns = patience * self.dial_ms * 1_000_000
            self._connections.add(peer, host, port, at.family, at.url, self.queue_frames, time_ns, self._connected, tls)

    def _dial_no_more(self, peer: int) -> None:
        if self._link is not None:
            self._link.wire.drop(peer)
        elif self._connections is not None:
            self._connections.drop(peer)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError("NNG does not survive a fork: make the transport in the process that uses it")

    # --- life, for a node ------------------------------------------------------------------------

    def open_link(self, id: int, event: Event) -> NngLink | None:
        """Open the sockets for use without the GIL; None when that is not possible here (use ``start``)."""
        if self.use_gil or not nng_available():
            return None
        try:
            wire = self._open()
            assert self._arrivals is not None
            number = socket_id(self._pull)
            link = NngLink(
                event, self.notes, wire, self._arrivals, number, self.queue_frames, self.receive_bytes, self._names()
            )
            with self._changing:
                self._link = link
                self._dial_all(id)
            self._listen(wire)
            link.start(id)
            self._start_watch()
        except UsageError:
            raise
        except BaseException:
            self.close()
            raise
        return link

    def _listen_with_tls(self) -> None:
        """Again at the same port, if it has listened before. Raises TransportError."""
        import pynng

        ffi, lib = pynng.ffi, pynng.lib
        made = ffi.new("nng_listener *")
        code = lib.nng_listener_create(made, self._pull.socket, self.address.encode())
        if not code:
            code = lib.nng_listener_set_ptr(made[0], b"tls-config", self._server)
        if not code:
            code = lib.nng_listener_start(made[0], 0)
        at = ffi.new("nng_sockaddr *")
        if not code:
            code = lib.nng_listener_get_addr(made[0], b"local-address", at)
        if code:
            lib.nng_listener_close(made[0])
            raise TransportError(f"cannot listen on {self.address}: {_text(code)}")
        self._listener = made
        # Its place is the same in an address of either family.
        self.address = self._listen_at.with_port(sockets.ntohs(at[0].s_in.sa_port))
        self._listens = _place_of(at) or self._listens

    def _listen_again(self) -> None:
        """What NNG has of ended connections goes with their listener; members connect again."""
        import pynng

        with self._changing:
            if self._closed or self._pull is None:
                return
            if self._listener is not None:
                pynng.lib.nng_listener_close(self._listener[0])
                self._listener = None
            try:
                self._listen_with_tls()
            except TransportError as error:
                report(logging.WARNING, "node %d: %s; it is tried again", self._id, error, event="connections_short")

    def _names(self) -> Identities | None:
        return None if self._keys is None else self._keys.identities

    def attach(self, deliver_from: Callable[..., object], connected: Callable[[int], None]) -> None:
        """For a node, before ``start``: it wants received frames with their sources, and tells ``proven`` ones.

        It also wants to hear of each member to which a connection is established. Without a node, every frame counts as
        valid. Raises UsageError when it was started before: the node that has it goes on getting its frames.
        """
        self._check_new()
        self._deliver_from = deliver_from
        self._connected = connected

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Open the sockets and receive on a thread of our own."""
        if self._deliver_from is None:
            self._check_keys()
        try:
            wire = self._open()
            assert self._arrivals is not None
            made = PythonConnections(wire, wire.event, self._arrivals, self._pull, self._names())
            with self._changing:
                self._connections = made
                self._dial_all(id)
            self._listen(wire)
            deliver_from = self._deliver_from
            if deliver_from is None:

                def deliver_from(frame: bytes, source: int, member: int) -> None:
                    self.proven(source)
                    deliver(frame)

            self._add_thread(f"raftx-nng-{id}", lambda: made.receive(deliver_from))
            self._wire_thread = self._add_thread(f"raftx-wire-{id}", made.run)
            self._start_watch()
        except UsageError:
            raise
        except BaseException:
            self.close()
            raise

    def _add_thread(self, name: str, body: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def close(self) -> None:
        """Close every socket; returns when nothing is delivered any more."""
        self._closed = True
        if os.getpid() != self._pid:
            return
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()
        if self._silent is not None:
            self._silent.close()
        # What NNG's callbacks use stays until the Pull0 socket is closed.
        link, self._link = self._link, None
        connections = self._connections
        if link is not None:
            link.stop()
        threads, self._threads = self._threads, []
        if connections is not None:
            connections.stop()
            dialling = self._wire_thread
            if dialling is not None and dialling is not threading.current_thread():
                dialling.join(2)
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.close()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(2)
        if connections is not None and pull is not None:
            connections.forget()
        self._deliver_from = self._connected = None
        if self._wire is not None:
            self._wire.py_close()

    def forget(self) -> list[Any]:
        """In a forked child: let go of everything that NNG or a descriptor is behind, without a call; returns it."""
        self._closed = True
        objects = [self._pull, self._link, self._wire, self._arrivals, self._connections]
        self._pull = self._link = self._wire = self._arrivals = self._connections = None
        return [each for each in objects if each is not None]

    # --- for the node, without NngLink -----------------------------------------------------------

    def send(self, to: int, frame: bytes) -> bool:
        """Queue a frame; False when the queue is full, or there is no such peer or no connection to it."""
        peer = None if self._connections is None else self._connections.by_id.get(to)
        return peer is not None and peer.send(frame)

    def renew(self, to: int) -> None:
        """The connection to this member is of no use any more: end it and dial again. Any thread."""
        if self._connections is not None:
            self._connections.renew(to)

    def reach(self, to: int) -> None:
        """This member has just connected: without a connection to it, dial it now. Any thread."""
        if self._connections is not None:
            self._connections.reach(to)

    def proven(self, source: int) -> None:
        """A valid frame has come from this source. Any thread."""
        if self._arrivals is not None:
            self._arrivals.py_proven(source, monotonic_ns())

    def status(self) -> dict[str, int]:
        """Connections and what was refused; counters begin at 0 with the start. Any thread."""
        made = self._connections if self._link is None else self._link.wire
        found = self._status(*((0, 0) if made is None else (made.connections, made.renewals)))
        keys, arrivals = self._keys, self._arrivals
        if keys is not None and arrivals is not None:
            found["tls_expires"] = keys.not_after
            found["unnamed"] = arrivals.unnamed + (made.unnamed if made is not None else 0)
            if self._silent is not None:
                found["strangers"] += self._silent.waiting()
                found["refused"] += self._silent.ended
        return found

    def __repr__(self) -> str:
        state = " closed" if self._closed else "" if self._pull is not None else ", not started"
        return f"<raftx.NngTransport {self.address} peers={sorted(self.peers)}{state}>"


def _place_of(at: Any) -> Place | None:
    """Host and port in an address of NNG's; None for one that has none."""
    import pynng

    family, ffi = at[0].s_family, pynng.ffi
    if family == pynng.lib.NNG_AF_INET:
        host = sockets.inet_ntop(sockets.AF_INET, ffi.buffer(ffi.addressof(at[0].s_in, "sa_addr"))[:])
        return place((host, sockets.ntohs(at[0].s_in.sa_port)))
    if family == pynng.lib.NNG_AF_INET6:
        host = sockets.inet_ntop(sockets.AF_INET6, ffi.buffer(ffi.addressof(at[0].s_in6, "sa_addr"))[:])
        return place((host, sockets.ntohs(at[0].s_in6.sa_port)))
    return None


def _text(code: int) -> str:
    """What NNG says of one of its error numbers."""
    import pynng

    return bytes(pynng.ffi.string(pynng.lib.nng_strerror(code))).decode()
