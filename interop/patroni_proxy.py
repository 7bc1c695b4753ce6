"""A TCP proxy that falls silent: what patroni_judge.py puts between a Patroni and the store. Threads; loopback alone.

While it is cut nothing passes in either direction, and connections stay open, as when a network swallows what is sent.
"""

from __future__ import annotations

import contextlib
import socket
import threading

PIECE = 65_536


class Proxy:
    """One address that leads to another."""

    def __init__(self, to: int) -> None:
        self.to = to
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Fall silent."""
        self._passes.clear()

    def heal(self) -> None:
        """Pass again what comes; connections from before are reset: their bytes are lost."""
        with self._lock:
            old, self._open = self._open, set()
        for each in old:
            _shut(each)
        self._passes.set()

    def close(self) -> None:
        """End it."""
        _shut(self._listening)
        self._listening.close()
        self.heal()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        self._passes.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self.to), 5)
        except OSError:
            self._end(client)
            return
        server.settimeout(None)
        with self._lock:
            self._open.add(server)
        other = threading.Thread(target=self._pass, args=(server, client), daemon=True)
        other.start()
        self._pass(client, server)
        other.join()
        self._end(client)
        self._end(server)

    def _pass(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                self._passes.wait()
                to.sendall(data)
        _shut(source)
        _shut(to)

    def _end(self, one: socket.socket) -> None:
        with self._lock:
            self._open.discard(one)
        one.close()


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
