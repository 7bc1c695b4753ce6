"""Ports that tests may listen on later. Not a test; it uses nothing of raftx.

They lie below those that the kernel gives to connections, and each worker of a run takes them from a range of its own:
nobody else gets a port between its choice and its use.
"""

from __future__ import annotations

import errno
import os
import random
import socket

LOW, HIGH = 12_000, 32_000
WORKERS = 8

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
_share = (HIGH - LOW) // WORKERS
#: Where to look next. Runs that go on at once in two checkouts begin at different places.
_next = random.SystemRandom().randrange(_share)


def ports(count: int) -> list[int]:
    """``count`` different ports of 127.0.0.1 on which nobody listens. Raises OSError."""
    global _next
    held: list[socket.socket] = []
    try:
        for _ in range(_share):
            if len(held) == count:
                break
            _next = (_next + 1) % _share
            try:
                held.append(socket.create_server(("127.0.0.1", LOW + _worker * _share + _next)))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        assert len(held) == count, "too few ports are free"
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def port() -> int:
    """One such port."""
    return ports(1)[0]
