"""A member of a cluster of raftx that is measured beside others.

python -m bench.peers.raftx_member ID DIR PORTS TRANSPORT
"""

from __future__ import annotations

import collections
import os
import sys
import time
from typing import Any

from bench.peers.spoken import serve, summary
from raftx import Config, Node
from raftx.measure.loads import WAIT_S, Counter
from raftx.measure.network import TRANSPORTS
from raftx.storage.file import FileStorage

BATCHES = 4  # under way with propose_many, so that the pipeline never runs dry
LAST_S = 0.001


def load(node: Node[int], outstanding: int, seconds: float, size: int, mode: str) -> dict[str, Any]:
    """So many proposals are under way, a future each, or one for each of four batches; what fails is counted."""
    data = os.urandom(size)
    many = mode == "many"
    parts = min(BATCHES, outstanding) if many else outstanding
    batch = [data] * (outstanding // parts)
    window: collections.deque[tuple[float, Any]] = collections.deque()
    latencies: list[float] = []
    failed, why = 0, ""
    now = time.perf_counter

    def take() -> None:
        nonlocal failed, why
        since, future = window.popleft()
        try:
            future.result(WAIT_S)
            latencies.append((now() - since) * 1e6)
        except Exception as error:
            failed += len(batch)
            why = f"{type(error).__name__}: {error}"
            time.sleep(LAST_S)

    before = node.status()
    started = now()
    end = started + seconds
    while now() < end:
        while len(window) < parts:
            window.append((now(), node.propose_many(batch) if many else node.propose(data)))
        take()
        # What has ended meanwhile is taken at once, so that waiting for the oldest does not thin out the load.
        while window and window[0][1].done():
            take()
    elapsed = now() - started
    counted = len(latencies)
    while window:
        take()
    after = node.status()
    answer = summary(counted * len(batch), elapsed, latencies[:counted], failed, why)
    answer["frames_dropped"] = after.frames_dropped - before.frames_dropped
    answer["elections"] = after.term - before.term
    return answer


def main() -> None:
    number, directory, ports, transport = sys.argv[1:]
    id = int(number)
    urls = {i + 1: f"tcp://127.0.0.1:{port}" for i, port in enumerate(ports.split(","))}
    storage = FileStorage.create(directory, id=id, members=urls)
    link = TRANSPORTS[transport](urls[id], {i: url for i, url in urls.items() if i != id})
    with Node(Config(id=id), storage, link, Counter()) as node:
        serve(
            lambda: node.status().leader == id,
            lambda outstanding, seconds, size, mode: load(node, outstanding, seconds, size, mode),
        )


if __name__ == "__main__":
    main()
