"""NngTransport: one Pull0 listener, one Push0 dialler a peer, over pynng.

pynng owns sockets, options and reconnection. Frames pass without the GIL where pynng's library
gives its C functions away (``NngLink``); elsewhere through pynng's Python calls, which every other
transport uses too. NNG does not survive a fork: fork.py says what becomes of it in the child.
"""

from __future__ import annotations

import logging
import os
import socket as py_socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .. import _nng, _sys
from .._nng import NngPeer, NngReceiver, NngSender
from ..errors import ConfigError, TransportError, UsageError
from ..types import MEMBERS_MAX, NUMBER_MAX, is_id
from . import fork
from .link import Link

logger = logging.getLogger("raftx")

NEVER_MS = 0x7FFFFFFF  # NNG's own reconnection is not used: see NngPeer


class NngLink(Link):
    """Frames over NNG without the GIL: what arrives on one socket, and a connection to each peer."""

    def __init__(self, event: _sys.Event, receive_socket: int, peers: dict[int, NngPeer]) -> None:
        self.receiver = NngReceiver(receive_socket, event)
        self.sender = NngSender()
        self.peers = list(peers.values())
        self.threads: list[threading.Thread] = []
        for id, peer in sorted(peers.items()):
            self.sender.add(id, peer)

    def start(self, id: int) -> None:
        """Begin to receive, and to dial on a thread for each peer. Raises TransportError; then call ``stop``."""
        self.receiver.start()
        for peer in self.peers:
            thread = threading.Thread(target=peer.run, name=f"raftx-dial-{id}", daemon=True)
            thread.start()
            self.threads.append(thread)  # those that stop() waits for

    def stop(self) -> None:
        """End receiving and every connection. Not while the engine runs."""
        for peer in self.peers:
            peer.stop()
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
        if not self.receiver.next():
            return False
        self.data = self.receiver.data
        self.size = self.receiver.size
        return True


class PythonPeer:
    """What NngPeer does, through pynng's Python calls: the same rules for the life of a socket."""

    def __init__(self, url: str, queue: int, shortest: int, longest: int) -> None:
        self.url = url
        self.queue = queue
        self.shortest = shortest / 1000
        self.longest = longest / 1000
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._socket: Any = None
        self._ready = self._lost = False

    def run(self) -> None:
        """Keep a connection until ``stop``: the body of a thread."""
        import pynng

        pause = self.shortest
        while not self.stopping.is_set():
            push = pynng.Push0(send_buffer_size=self.queue, reconnect_time_min=NEVER_MS, reconnect_time_max=NEVER_MS)
            push.add_post_pipe_connect_cb(self._added)
            push.add_post_pipe_remove_cb(self._removed)
            with self._lock:
                self._socket = push
                self._ready = self._lost = False
            self._over.clear()
            try:
                # Who stops us either finds the socket or has been seen here.
                if not self.stopping.is_set():
                    push.dial(self.url, block=True)
            except pynng.NNGException:
                self._disconnect()
                self.stopping.wait(pause)
                pause = min(2 * pause, self.longest)
                continue
            pause = self.shortest
            if not self.stopping.is_set():
                self._over.wait()
            self._disconnect()
            self.stopping.wait(pause)
        self._disconnect()

    def send(self, frame: bytes) -> bool:
        """Queue a frame; False when it was dropped."""
        import pynng

        with self._lock:
            if not self._ready or self._lost:
                return False
            try:
                self._socket.send(frame, block=False)
            except pynng.NNGException:
                return False
            return True

    def stop(self) -> None:
        """End ``run``, also while it dials."""
        self.stopping.set()
        self._over.set()
        self._disconnect()

    def _added(self, pipe: object) -> None:
        with self._lock:
            self._ready = True

    def _removed(self, pipe: object) -> None:
        # NNG frees the connection when this returns; so it waits for a send that is under way.
        with self._lock:
            self._lost = True
        self._over.set()

    def _disconnect(self) -> None:
        with self._lock:
            push, self._socket = self._socket, None
            self._ready = False
        if push is not None:
            push.close()


class NngTransport:
    """Frames over NNG: tcp, ipc or inproc addresses.

    listen: where this node receives, for example ``tcp://0.0.0.0:5601``; port 0 takes a free one (see ``address``).
    peers: id to address of every other member.
    max_frame_bytes: largest frame that is received, 64 KiB..1 GiB; a peer that sends more is disconnected.
    queue_frames: frames that may wait for one peer, 1..8192; more are dropped and the peer counts as unreachable,
    as it does while there is no connection to it.
    reconnect_ms: shortest and longest pause before dialling again; it doubles from one failure to the next.
    use_gil: receive and send through pynng's Python calls even where the library can be called directly.

    Raises ConfigError (names the field), TransportError when it cannot listen.
    """

    def __init__(
        self,
        listen: str,
        peers: Mapping[int, str],
        *,
        max_frame_bytes: int = 4 << 20,
        queue_frames: int = 128,
        reconnect_ms: tuple[int, int] = (10, 500),
        use_gil: bool = False,
    ) -> None:
        if not isinstance(listen, str) or "://" not in listen:
            raise ConfigError(f"listen must be an address such as tcp://127.0.0.1:5601, not {listen!r}")
        for id, address in peers.items():
            if not is_id(id):
                raise ConfigError(f"peers: an id must be in 1..{NUMBER_MAX}, not {id!r}")
            if not isinstance(address, str) or "://" not in address:
                raise ConfigError(f"peers: {id} needs an address such as tcp://127.0.0.1:5601, not {address!r}")
        if len(peers) > MEMBERS_MAX:
            raise ConfigError(f"peers: at most {MEMBERS_MAX}")
        if not 64 << 10 <= max_frame_bytes <= 1 << 30:
            raise ConfigError("max_frame_bytes must be in 65536..2^30")
        if not 1 <= queue_frames <= 8192:
            raise ConfigError("queue_frames must be in 1..8192")
        low, high = reconnect_ms
        if not 1 <= low <= high <= 600_000:
            raise ConfigError("reconnect_ms must be two numbers, 1 <= shortest <= longest <= 600000")
        self.listen = listen
        self.peers = dict(peers)
        self.max_frame_bytes = max_frame_bytes
        self.queue_frames = queue_frames
        self.reconnect_ms = (low, high)
        self.use_gil = bool(use_gil)
        self.address = listen
        self._pid = os.getpid()
        self._pull: Any = None
        self._peers: dict[int, PythonPeer] = {}
        self._threads: list[threading.Thread] = []
        self._link: NngLink | None = None
        self._closed = False

    def _open(self, id: int) -> None:
        import pynng

        if self._closed or self._pull is not None:
            raise UsageError("a transport can be started once")
        if os.getpid() != self._pid:
            raise UsageError("NNG does not survive fork: make the transport in the process that uses it")
        fork.watch(self)
        try:
            self._pull = pynng.Pull0(recv_max_size=self.max_frame_bytes)
            self._pull.listen(self.listen)
            bound = self._pull.listeners[0]
            if self.listen.startswith("tcp://"):
                self.address = f"{self.listen.rsplit(':', 1)[0]}:{py_socket.ntohs(bound.local_address.port)}"
        except pynng.NNGException as error:
            self.close()
            raise TransportError(f"cannot listen on {self.listen}: {error}") from error

    def open_link(self, id: int, event: _sys.Event) -> NngLink | None:
        """Open the sockets for use without the GIL; None when that is not possible here (use ``start``)."""
        if self.use_gil or not _nng.nng_available():
            return None
        self._open(id)
        peers = {
            peer: NngPeer(url, self.queue_frames, *self.reconnect_ms) for peer, url in self.peers.items() if peer != id
        }
        try:
            self._link = NngLink(event, _socket_id(self._pull), peers)
            self._link.start(id)
        except BaseException:
            self.close()
            raise
        return self._link

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Open the sockets and receive on a thread of our own."""
        self._open(id)
        try:
            self._add_thread(f"raftx-nng-{id}", lambda: self._receive(deliver))
            for peer, url in self.peers.items():
                if peer != id:
                    self._peers[peer] = PythonPeer(url, self.queue_frames, *self.reconnect_ms)
                    self._add_thread(f"raftx-dial-{id}", self._peers[peer].run)
        except BaseException:
            self.close()
            raise

    def _add_thread(self, name: str, body: Callable[[], None]) -> None:
        thread = threading.Thread(target=body, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)  # those that close() waits for

    def _receive(self, deliver: Callable[[bytes], object]) -> None:
        import pynng

        pull = self._pull
        assert pull is not None
        while True:
            try:
                deliver(pull.recv())
            except pynng.Closed:
                return
            except pynng.NNGException as error:
                if self._closed:
                    return
                logger.warning("receiving failed: %s", error)

    def send(self, to: int, frame: bytes) -> bool:
        """Queue a frame; False when the queue is full, or there is no such peer or no connection to it."""
        peer = self._peers.get(to)
        return peer is not None and peer.send(frame)

    def close(self) -> None:
        """Close every socket; returns when nothing is delivered any more."""
        self._closed = True
        if os.getpid() != self._pid:
            return
        link, self._link = self._link, None
        if link is not None:
            link.stop()
        for peer in self._peers.values():
            peer.stop()
        pull, self._pull = self._pull, None
        if pull is not None:
            pull.close()
        threads, self._threads = self._threads, []
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(2)
        self._peers.clear()

    def forget(self) -> list[Any]:
        """In a forked child: let go of everything that NNG is behind, without a call; returns it."""
        self._closed = True
        objects = [self._pull, self._link, *self._peers.values(), *[peer._socket for peer in self._peers.values()]]
        self._pull, self._link = None, None
        self._peers.clear()
        return [each for each in objects if each is not None]


def _socket_id(socket: object) -> int:
    if hasattr(socket, "socket"):
        return int(socket.socket.id)
    return int(socket._socket[0].id)  # type: ignore[attr-defined]
