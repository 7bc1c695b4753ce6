"""What disk and network do without any of the libraries: the bare limits beside which the others are told."""

from __future__ import annotations

import os
import socket
import time
from multiprocessing.connection import Connection
from typing import Any

from raftx.measure.disk import SPAWN, start, syncs_beside
from raftx.measure.figures import percentile

ENTRY = 256
LIMIT_S = 30.0


def _all(connection: socket.socket, size: int) -> bool:
    while size:
        got = len(connection.recv(size))
        if not got:
            return False
        size -= got
    return True


def _echo(pipe: Connection, size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        connection, _ = server.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        block = bytes(size)
        while _all(connection, size):
            connection.sendall(block)


def round_trips(seconds: float, size: int = ENTRY) -> list[float]:
    """Latencies in us of a message and its answer between two processes over one TCP connection of loopback."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_echo, args=(theirs, size), daemon=True)
    start(process)
    try:
        if not ours.poll(LIMIT_S):
            raise TimeoutError("the other process does not begin")
        block, took = os.urandom(size), []
        with socket.create_connection(("127.0.0.1", ours.recv()), timeout=LIMIT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(None)
            now = time.perf_counter
            end = now() + seconds
            while (since := now()) < end:
                connection.sendall(block)
                _all(connection, size)
                took.append((now() - since) * 1e6)
        process.join(LIMIT_S)
        return took
    finally:
        if process.is_alive():
            process.kill()


def measured(directory: str, seconds: float) -> list[dict[str, Any]]:
    """The limits now, one after the other."""
    rows = []
    for name, took, durable in (
        ("TCP round trip", round_trips(seconds), False),
        ("fdatasync alone", syncs_beside(directory, seconds), True),
        ("fdatasync beside two others", syncs_beside(directory, seconds, processes=3), True),
    ):
        rows.append(
            {
                "system": "limit",
                "transport": "",
                "role": "",
                "mode": name,
                "outstanding": 1,
                "bytes": ENTRY if name.startswith("TCP") else 4096,
                "durable": durable,
                "entries_per_s": round(len(took) / sum(took) * 1e6),
                "p50_us": round(percentile(took, 0.5), 1),
                "p99_us": round(percentile(took, 0.99), 1),
                "failed": 0,
            }
        )
    return rows
