"""NngTransport: one Pull0 listener, one Push0 dialler a peer, over pynng.

pynng owns sockets, options and reconnection. Frames pass without the GIL where pynng's library
gives its C functions away (``NngLink``); elsewhere through pynng's Python calls, which every other
transport uses too. Fork is not survived by NNG: a process that has sockets must spawn.
"""

from __future__ import annotations

import logging
import os
import socket as py_socket
import threading
from collections.abc import Callable, Mapping

from .. import _sys
from .._sys import NngReceiver, NngSender
from ..errors import ConfigError, TransportError, UsageError
from ..types import MEMBERS_MAX, NUMBER_MAX
from .link import Link

logger = logging.getLogger("raftx")


class NngLink(Link):
    """Frames over NNG without the GIL."""

    def __init__(self, event, receive_socket, send_sockets):
        self.receiver = NngReceiver(receive_socket, event)
        self.sender = NngSender(0)
        self.ids = memoryview(bytearray(8 * MEMBERS_MAX)).cast("Q")
        self.sockets = memoryview(bytearray(8 * MEMBERS_MAX)).cast("Q")
        self.count = 0
        for id, socket in sorted(send_sockets.items()):
            self.ids[self.count] = id
            self.sockets[self.count] = socket
            self.count += 1

    def start(self):
        self.receiver.start()

    def stop(self):
        self.receiver.stop()

    def prepare(self, to, size):
        for i in range(self.count):
            if self.ids[i] == to:
                self.sender.socket = self.sockets[i]
                self.place = self.sender.prepare(size)
                return True if self.place else False
        return False

    def send(self):
        return self.sender.send()

    def waiting(self):
        return self.receiver.waiting()

    def next(self):
        if not self.receiver.next():
            return False
        self.data = self.receiver.data
        self.size = self.receiver.size
        return True


class NngTransport:
    """Frames over NNG: tcp, ipc or inproc addresses.

    listen: where this node receives, for example ``tcp://0.0.0.0:5601``; port 0 takes a free one (see ``address``).
    peers: id to address of every other member.
    max_frame_bytes: largest frame that is received, 64 KiB..1 GiB; a peer that sends more is disconnected.
    queue_frames: frames that may wait for one peer, 1..8192; more are dropped and the peer counts as unreachable.
    reconnect_ms: shortest and longest pause before dialling again.
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
            if not isinstance(id, int) or not 1 <= id <= NUMBER_MAX:
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
        self._pull = None
        self._push: dict[int, object] = {}
        self._thread: threading.Thread | None = None
        self._link = None
        self._closed = False

    def _open(self, id: int) -> None:
        import pynng

        if self._closed or self._pull is not None:
            raise UsageError("a transport can be started once")
        if os.getpid() != self._pid:
            raise UsageError("NNG does not survive fork: make the transport in the process that uses it")
        try:
            self._pull = pynng.Pull0(recv_max_size=self.max_frame_bytes)
            self._pull.listen(self.listen)
            bound = self._pull.listeners[0]
            if self.listen.startswith("tcp://"):
                self.address = f"{self.listen.rsplit(':', 1)[0]}:{py_socket.ntohs(bound.local_address.port)}"
            for peer, address in sorted(self.peers.items()):
                if peer == id:
                    continue
                push = pynng.Push0(
                    send_buffer_size=self.queue_frames,
                    reconnect_time_min=self.reconnect_ms[0],
                    reconnect_time_max=self.reconnect_ms[1],
                )
                self._push[peer] = push
                push.dial(address, block=False)
        except pynng.NNGException as error:
            self.close()
            raise TransportError(f"cannot listen on {self.listen}: {error}") from error

    def open_link(self, id: int, event: object) -> NngLink | None:
        """Open the sockets for use without the GIL; None when that is not possible here (use ``start``)."""
        if self.use_gil or not _sys.nng_available():
            return None
        self._open(id)
        self._link = NngLink(event, _socket_id(self._pull), {peer: _socket_id(s) for peer, s in self._push.items()})
        self._link.start()
        return self._link

    def start(self, id: int, deliver: Callable[[bytes], object]) -> None:
        """Open the sockets and receive on a thread of our own."""
        self._open(id)
        self._thread = threading.Thread(target=self._receive, args=(deliver,), name=f"raftx-nng-{id}", daemon=True)
        self._thread.start()

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
        """Queue a frame; False when the queue is full or there is no such peer."""
        import pynng

        push = self._push.get(to)
        if push is None:
            return False
        try:
            push.send(frame, block=False)  # type: ignore[attr-defined]
        except pynng.NNGException:
            return False
        return True

    def close(self) -> None:
        """Close every socket; returns when nothing is delivered any more."""
        self._closed = True
        if os.getpid() != self._pid:
            return
        link, self._link = self._link, None
        if link is not None:
            link.stop()
        for socket in [*self._push.values(), self._pull]:
            if socket is not None:
                socket.close()  # type: ignore[attr-defined]
        self._push.clear()
        self._pull = None
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(2)


def _socket_id(socket: object) -> int:
    if hasattr(socket, "socket"):
        return int(socket.socket.id)
    return int(socket._socket[0].id)  # type: ignore[attr-defined]
