"""A transport of one's own: members talk over TCP with TLS, by Python's socket and ssl. To be copied, and changed.

    python tls_transport.py DIRECTORY       # with ca.pem, member.pem and member.key in it

Each member sends over a connection that it has dialled itself, one for each other member, and receives over those that
others have dialled. A frame goes behind its length, in eight bytes. Everybody must have a certificate of the same
authority (mutual TLS). Whose id a certificate stands for is not looked at: any of its holders may speak for any member.

What raftx asks of a transport stands in ``raftx.Transport``; ``raftx.testing.transport_suite`` checks it. It may lose
frames, so nothing here repeats any: what is sent while there is no connection is dropped, and raftx sends again. It
must not wait in ``send``, so each peer has a queue and a thread. raftx's own transports need no GIL, and are faster.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import raftx

LENGTH = 8
MAX_FRAME_BYTES = 16 << 20
QUEUED = 64  # frames that may wait for one peer
CONNECTIONS = 64  # that are served at once
DIAL_SECONDS = 5.0  # for a connection, and for each side of a handshake
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)  # seconds between attempts


def parse(address: object, field: str = "address") -> tuple[str, int]:
    """Host and port of "tcp://HOST:PORT". Raises raftx.ConfigError."""
    scheme, _, place = address.partition("://") if isinstance(address, str) else ("", "", "")
    host, _, port = place.rpartition(":")
    if scheme != "tcp" or not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise raftx.ConfigError(f"{field} must be like tcp://host:5601, not {address!r}")
    return host.strip("[]"), int(port)


def check_id(id: object) -> None:
    """Raises raftx.ConfigError for what is no member's id."""
    if not isinstance(id, int) or isinstance(id, bool) or not 1 <= id < 1 << 63:
        raise raftx.ConfigError(f"id must be an integer in 1..2^63-1, not {id!r}")


def contexts(ca: Path, certificate: Path, key: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the side that listens, and for the one that dials."""
    made = []
    for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # members are known by the authority that they share, wherever they are
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(ca)
        context.load_cert_chain(certificate, key)
        made.append(context)
    return made[0], made[1]


class Peer:
    """The way to one member: a queue, and a thread that dials and sends."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self.place = (host, port)
        self.context = context
        self.frames: queue.Queue[bytes | None] = queue.Queue(QUEUED)  # None: look whether it is to stop
        self.connected = False
        self.stopping = threading.Event()
        self.socket: socket.socket | None = None
        self.thread = threading.Thread(target=self.run, name=f"tls-to-{host}:{port}", daemon=True)

    def run(self) -> None:
        """Dial, send what is queued, and dial again when the connection has ended."""
        attempt = 0
        while not self.stopping.is_set():
            try:
                with self.dial() as connection:
                    self.connected, attempt = True, 0
                    while not self.stopping.is_set():
                        frame = self.frames.get()
                        if frame is not None:
                            connection.sendall(len(frame).to_bytes(LENGTH, "little") + frame)
            except OSError:
                self.connected = False
            with contextlib.suppress(queue.Empty):
                while True:
                    self.frames.get_nowait()  # it was for a connection that is gone
            self.stopping.wait(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1

    def dial(self) -> socket.socket:
        """A connection. Raises OSError."""
        connection = socket.create_connection(self.place, DIAL_SECONDS)
        self.socket = connection
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is not None:
                self.socket = connection = self.context.wrap_socket(connection, do_handshake_on_connect=False)
                connection.do_handshake()
            connection.settimeout(None)
        except BaseException:
            connection.close()
            raise
        if self.stopping.is_set():
            connection.close()
            raise OSError("it is closed")
        return connection

    def send(self, frame: bytes) -> bool:
        """Queue a frame; False: there is no connection, or no room."""
        if not self.connected or self.stopping.is_set():
            return False
        try:
            self.frames.put_nowait(frame)
        except queue.Full:
            return False
        return True

    def stop(self) -> None:
        """End the thread soon; a send that is under way is broken off."""
        self.stopping.set()
        self.connected = False
        with contextlib.suppress(queue.Full):  # then it does not wait for one
            self.frames.put_nowait(None)
        if self.socket is not None:
            hang_up(self.socket)


class TlsTransport:
    """One member's transport. bind: where it listens, "tcp://HOST:PORT". tls: of ``contexts``; None: without TLS."""

    max_frame_bytes = MAX_FRAME_BYTES

    def __init__(self, bind: str, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None) -> None:
        self.place = parse(bind, "bind")
        self.tls = tls
        #: where each member is, as it was told; raftx shows it
        self.peers: dict[int, str] = {}
        self.ways: dict[int, Peer] = {}
        self.lock = threading.Lock()
        self.deliver: Callable[[bytes], object] | None = None
        self.listener: socket.socket | None = None
        self.incoming: set[socket.socket] = set()
        self.threads: list[threading.Thread] = []
        self.closed = False

    # --- what a node calls -----------------------------------------------------------------------

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Listen, and dial those that are known."""
        try:
            family = socket.AF_INET6 if ":" in self.place[0] else socket.AF_INET
            self.listener = socket.create_server(self.place, family=family)
        except OSError as error:
            raise raftx.TransportError(f"cannot listen on {self.place[0]}:{self.place[1]}: {error}") from error
        self.deliver = deliver
        with self.lock:
            for way in self.ways.values():
                way.thread.start()
        self.run_thread(self.accept, "tls-accept")

    def send(self, to: int, frame: bytes) -> bool:
        """Queue a frame for a member; never waits."""
        way = self.ways.get(to)
        return way is not None and way.send(frame)

    def check_address(self, address: str, field: str) -> None:
        """Raises raftx.ConfigError for what cannot be an address; so a node refuses it before it is replicated."""
        parse(address, field)

    def add_peer(self, id: int, address: str) -> None:
        """Reach a member there from now on."""
        check_id(id)
        place = parse(address)
        with self.lock:
            if self.closed or self.peers.get(id) == address:
                return
            before, self.peers[id] = self.ways.get(id), address
            self.ways[id] = way = Peer(*place, self.tls[1] if self.tls else None)
            if self.deliver is not None:
                way.thread.start()
        if before is not None:
            before.stop()

    def remove_peer(self, id: int) -> None:
        """Send it nothing more."""
        check_id(id)
        with self.lock:
            self.peers.pop(id, None)
            way = self.ways.pop(id, None)
        if way is not None:
            way.stop()

    def close(self) -> None:
        """End all threads; nothing is delivered from then on."""
        with self.lock:
            self.closed = True
            ways, self.ways = [*self.ways.values()], {}
            sockets = [*self.incoming]
        if self.listener is not None:
            hang_up(self.listener)
        for way in ways:
            way.stop()
        for each in sockets:
            hang_up(each)
        for thread in [*self.threads, *[way.thread for way in ways]]:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join()
        if self.listener is not None:
            self.listener.close()

    # --- what others send ------------------------------------------------------------------------

    def run_thread(self, body: Callable[[], None], name: str) -> None:
        """A thread that ``close`` waits for."""
        thread = threading.Thread(target=body, name=name, daemon=True)
        self.threads = [*[each for each in self.threads if each.is_alive()], thread]
        thread.start()

    def accept(self) -> None:
        """A thread for each connection that others have dialled."""
        assert self.listener is not None
        while not self.closed:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                if self.closed:
                    return
                threading.Event().wait(PAUSES[0])  # too many descriptors are open, say
                continue
            with self.lock:
                if self.closed or len(self.incoming) >= CONNECTIONS:
                    connection.close()
                    continue
                self.incoming.add(connection)
            self.run_thread(lambda connection=connection: self.serve(connection), "tls-from")

    def serve(self, connection: socket.socket) -> None:
        """Receive until the connection ends, or something comes that is no frame."""
        plain = connection
        try:
            plain.settimeout(DIAL_SECONDS)
            if self.tls is not None:
                connection = self.tls[0].wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
                with self.lock:
                    self.incoming.add(connection)
                    if self.closed:
                        return
                connection.do_handshake()
            connection.settimeout(None)
            while not self.closed:
                size = int.from_bytes(received(connection, LENGTH), "little")
                if not 0 < size <= MAX_FRAME_BYTES:
                    return  # whoever sends that is no member
                frame = received(connection, size)
                if not self.closed and self.deliver is not None:
                    self.deliver(frame)
        except (OSError, EOFError):
            return
        finally:
            with self.lock:
                self.incoming -= {plain, connection}
            connection.close()
            plain.close()


def received(connection: socket.socket, size: int) -> bytes:
    """So many bytes. Memory grows as they come, and not as somebody says that they will."""
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def hang_up(connection: socket.socket) -> None:
    """Wake whoever waits for it, without releasing its number while another thread may use it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class Counter:
    """Adds numbers."""

    value = 0

    def apply(self, entry: raftx.Entry) -> int:
        """Add one."""
        self.value += int(entry.data)
        return self.value


def main(directory: Path) -> None:
    """Three members in this process, which count over TLS."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        urls = {id: f"tcp://127.0.0.1:{each.getsockname()[1]}" for id, each in enumerate(sockets, 1)}
    tls = contexts(directory / "ca.pem", directory / "member.pem", directory / "member.key")
    with contextlib.ExitStack() as stack:
        nodes = []
        for id, url in urls.items():
            transport = TlsTransport(url, tls)
            for other in urls.keys() - {id}:
                transport.add_peer(other, urls[other])
            storage = raftx.MemoryStorage(voters=[*urls])
            nodes.append(stack.enter_context(raftx.Node(raftx.Config(id=id), storage, transport, Counter())))
        for node in nodes:
            node.wait_ready(timeout=30)
            done = node.propose(b"1", timeout=10).result()
        print(f"{len(nodes)} members count {done.result} over {tls[0].minimum_version.name}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
