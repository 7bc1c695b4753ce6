"""A TcpStreams that a test steps itself, and what plays the other end of its connections. Not a test."""

import contextlib
import errno
import socket
import time

from tests.helpers.implementations import module
from tests.helpers.waiting import WAIT

PUSH, PULL = b"\0SP\0\0\x50\0\0", b"\0SP\0\0\x51\0\0"
SECOND = 1_000_000_000


def message(frame):
    return len(frame).to_bytes(8, "big") + frame


class Stepped:
    """Streams on loopback, driven by the test's thread."""

    def __init__(
        self, impl, limit=1 << 20, send_limit=1 << 16, connections=16, strangers=8, stranger_ms=60_000, dial_ms=200,
        reconnect_ms=(5, 40), ipc="",
    ):  # fmt: skip
        threads, limits, wire, tcp = (module(impl, f"_native.{name}") for name in ("threads", "limits", "wire", "tcp"))
        self.event = threads.Event()
        self.notes = limits.Notes()
        self.arrivals = limits.Arrivals(connections, strangers, stranger_ms)
        self.wire = wire.Wire(threads.Event(), self.notes, 4 * strangers, stranger_ms, dial_ms, *reconnect_ms, 60_000)
        self.streams = tcp.TcpStreams(self.wire, self.arrivals, limit, send_limit, bool(ipc))
        if ipc:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(ipc)
            listener.listen(128)
        else:
            listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.place = listener.getsockname()
        self.wire.py_listen(listener.detach())
        self.frames = []
        self.connected = []
        self.others = []
        self.prove = True

    def step(self, seconds=0.01):
        """What an engine does in a round, and its rest."""
        self.streams.py_collect()
        while (id := self.streams.py_fresh()) != 0:
            self.connected.append(id)
        while (frame := self.streams.py_next()) is not None:
            if self.prove:
                self.streams.py_proven()
            self.frames.append(frame)
        self.streams.py_flush()
        self.event.py_prepare()
        self.streams.py_wait(self.event, int(seconds * SECOND))

    def until(self, condition, limit=WAIT):
        deadline = time.monotonic() + limit
        while not (value := condition()):
            assert time.monotonic() < deadline, "it did not happen in time"
            self.step()
        return value

    def come(self, greeting=PUSH):
        """A connection to the streams; greeted unless told otherwise."""
        made = socket.socket(socket.AF_UNIX if isinstance(self.place, str) else socket.AF_INET)
        made.connect(self.place)
        made.settimeout(WAIT)
        self.others.append(made)
        if greeting:
            made.sendall(greeting)
        return made

    def ended(self, connection):
        """Whether the streams have closed it; steps."""
        connection.setblocking(False)
        try:
            return connection.recv(100) == b""
        except BlockingIOError:
            self.step()
            return False
        except ConnectionError:
            return True

    def close(self):
        self.streams.close()
        self.wire.py_close()
        for each in self.others:
            each.close()


class Server:
    """Where a peer would listen: takes connections, and does with them what the test says."""

    def __init__(self, stepped, id=7, port=0, buffer=0):
        self.stepped = stepped
        self.id = id
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(16)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        stepped.others.append(self.listener)

    def dialled(self):
        """Have it dialled from now on."""
        self.stepped.streams.add(self.id, "127.0.0.1", str(self.port), 0)
        return self

    def accept(self, greeting=PULL):
        """The next connection, whose greeting has come; answered unless told otherwise."""
        connection = self.stepped.until(self.waiting)
        self.stepped.others.append(connection)
        if greeting:
            connection.sendall(greeting)
        seen = b""
        while len(seen) < 8:
            seen += self.receive(connection, 8 - len(seen))
        assert seen == PUSH
        return connection

    def waiting(self):
        with contextlib.suppress(BlockingIOError):
            made = self.listener.accept()[0]
            made.setblocking(False)
            return made
        return None

    def receive(self, connection, size):
        """At least a byte; steps meanwhile. Empty at the end."""
        deadline = time.monotonic() + WAIT
        while True:
            assert time.monotonic() < deadline
            try:
                return connection.recv(size)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK):
                    return b""
            self.stepped.step(0.002)

    def frames(self, connection, count):
        """So many frames, whole."""
        data, found = b"", []
        while len(found) < count:
            got = self.receive(connection, 1 << 16)
            if not got:
                return found
            data += got
            while len(data) >= 8 and len(data) >= 8 + (size := int.from_bytes(data[:8], "big")):
                found.append(data[8 : 8 + size])
                data = data[8 + size :]
        assert data == b""
        return found
