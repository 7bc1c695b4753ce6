"""What the network can do alone: round trips of a transport between two processes on loopback."""

from __future__ import annotations

import socket
from multiprocessing.connection import Connection

from .._native.threads import Event
from ..testing.pingpong import PingPong
from ..transport.nng import NngTransport
from ..transport.tcp import TcpTransport
from .disk import SPAWN, start

FRAME = 152  # bytes of a frame with one entry, beside its data
LIMIT_S = 60.0
#: by name, for what is measured
TRANSPORTS = {"nng": NngTransport, "tcp": TcpTransport}


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _echo(pipe: Connection, kind: str, ports: list[int], size: int, rounds: int) -> None:
    event = Event()
    transport = TRANSPORTS[kind](f"tcp://127.0.0.1:{ports[1]}", {1: f"tcp://127.0.0.1:{ports[0]}"})
    link = transport.open_link(2, event)
    pipe.send("ready")
    assert link is not None
    PingPong(link, event, 1, size, rounds, False).run()
    pipe.recv()
    transport.close()


def round_trips(kind: str = "nng", size: int = 256 + FRAME, rounds: int = 5000) -> list[float]:
    """Latencies in us of one round trip of a transport between two processes, without the GIL (a frame of one entry).

    None interpreted, where nothing goes without the GIL.
    """
    from .. import COMPILED

    if not COMPILED:
        return []
    ports = free_ports(2)
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_echo, args=(theirs, kind, ports, size, rounds), daemon=True)
    start(process)
    event = Event()
    transport = TRANSPORTS[kind](f"tcp://127.0.0.1:{ports[0]}", {2: f"tcp://127.0.0.1:{ports[1]}"})
    link = transport.open_link(1, event)
    try:
        if not ours.poll(LIMIT_S):
            raise TimeoutError("the other process does not begin")
        ours.recv()
        assert link is not None
        ping = PingPong(link, event, 2, size, rounds, True)
        ping.run()
        ours.send("enough")
        process.join(10)
        return [nanoseconds / 1000 for nanoseconds in ping.latencies][rounds // 10 :]
    finally:
        transport.close()
        if process.is_alive():
            process.kill()
