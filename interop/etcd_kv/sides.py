"""The two sides: an etcd of its own, and a raftx server in this process. Both fresh, on loopback; and the client.

A watch has a connection of its own and a thread that reads it; what it was told is kept as a flat list.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import raftx
import raftx.aio
from raftx.kv import KeyValues, Server, Settings

PATIENCE = 60.0
SHM = "/dev/shm" if os.path.isdir("/dev/shm") else None


def free_port() -> int:
    """A port below those that the kernel gives to connections, on which nobody listens."""
    while True:
        port = random.randint(12_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def etcd_binary() -> str | None:
    """Where etcd is: by ETCD in the environment, or in PATH."""
    return os.environ.get("ETCD") or shutil.which("etcd")


@contextlib.contextmanager
def etcd(more: tuple[str, ...] = ()) -> Iterator[int]:
    """A fresh one; its port."""
    binary = etcd_binary()
    assert binary is not None
    port, peer = free_port(), free_port()
    with tempfile.TemporaryDirectory(dir=SHM) as directory:
        url, peer_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        process = subprocess.Popen(
            [binary, "--data-dir", directory, "--listen-client-urls", url, "--advertise-client-urls", url,
             "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
             "--initial-cluster", f"default={peer_url}", "--heartbeat-interval", "100", "--election-timeout", "1000",
             "--log-level", "error", *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait_until_healthy(port)
            yield port
        finally:
            process.kill()
            process.wait()


def wait_until_healthy(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                connection.close()
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody is healthy at port {port}")
        time.sleep(0.01)


class Loop:
    """An event loop on a thread, in which servers of raftx run one after the other."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()

    @contextlib.contextmanager
    def server(self) -> Iterator[int]:
        """A fresh server; its port."""
        with tempfile.TemporaryDirectory(dir=SHM) as directory:
            port, url = free_port(), f"tcp://127.0.0.1:{free_port()}"
            server = self.run(self._start(Path(directory, "data"), url, port))
            try:
                wait_until_healthy(port)
                yield port
            finally:
                self.run(server.close())

    async def _start(self, directory: Path, url: str, port: int) -> Server:
        storage = raftx.FileStorage.create(directory, id=1, members={1: url}, segment_bytes=1 << 20)
        machine = KeyValues()
        config = raftx.Config(
            id=1, tick_ms=10, election_ticks=5, max_entry_bytes=2 << 20, max_message_bytes=2 << 20, snapshot_entries=50
        )
        node = raftx.aio.Node(config, storage, raftx.NngTransport(url), machine)
        server = Server(node, machine, Settings("n1", (), (f"http://127.0.0.1:{port}",), compaction="off"))
        await server.start()
        return server


class Client:
    """Sends steps to one side."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self.watches: list[WatchReader] = []

    def close(self) -> None:
        self._connection.close()
        for watch in self.watches:
            watch.close()

    def ask(self, step: dict[str, Any]) -> tuple[int, Any]:
        """Status and body: JSON, a list of documents of a stream, or text."""
        self._connection.request("POST", step["path"], step["body"].encode())
        response = self._connection.getresponse()
        return response.status, parsed(response.read())

    def watch(self, request: dict[str, Any]) -> WatchReader:
        reader = WatchReader(self.port, request)
        self.watches.append(reader)
        return reader


def parsed(body: bytes) -> Any:
    """JSON; where there are several lines, a list of it; text otherwise."""
    lines = body.decode("utf-8", "replace").splitlines()
    try:
        found = [json.loads(line) for line in lines if line]
    except ValueError:
        return body.decode("utf-8", "replace")
    return found[0] if len(found) == 1 else found


class WatchReader:
    """One watch."""

    def __init__(self, port: int, request: dict[str, Any]) -> None:
        self.told: list[Any] = []
        self.changed = threading.Condition()
        self.closed = False
        self._connection = http.client.HTTPConnection("127.0.0.1", port)  # it may be told nothing for long
        self._connection.request("POST", "/v3/watch", json.dumps({"create_request": request}).encode())
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            response = self._connection.getresponse()
            for line in response:
                if line.strip():
                    with self.changed:
                        self.told.append(json.loads(line))
                        self.changed.notify_all()
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def wait(self, condition: Any) -> bool:
        """Until what it was told fulfils a condition; whether it did within the patience."""
        with self.changed:
            return self.changed.wait_for(lambda: self.closed or condition(self.told), PATIENCE) and condition(self.told)

    def close(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            if self._connection.sock is not None:
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._thread.join(PATIENCE)
