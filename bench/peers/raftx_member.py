"""A member of a cluster of raftx that is measured beside others.

python -m bench.peers.raftx_member ID DIR PORTS TRANSPORT
"""

from __future__ import annotations

import collections
import os
import sys
import time
from collections.abc import Callable
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
    # Names of this function, and no calls of its own in the loop: the load shares its core with what is measured.
    propose: Callable[[Any], Any] = node.propose_many if many else node.propose
    what: Any = batch if many else data
    window: collections.deque[tuple[float, Any]] = collections.deque()
    latencies: list[float] = []
    failed, why = 0, ""
    now, add, oldest, ended = time.perf_counter, window.append, window.popleft, latencies.append

    before = node.status()
    started = now()
    end = started + seconds
    elapsed, counted, limit = 0.0, 0, parts
    while window or limit:
        for _ in range(limit - len(window)):
            add((now(), propose(what)))
        # The oldest is waited for; what has ended meanwhile is taken with it, so that this does not thin out the load.
        while True:
            since, future = oldest()
            try:
                future.result(WAIT_S)
                ended((now() - since) * 1e6)
            except Exception as error:
                failed += len(batch)
                why = f"{type(error).__name__}: {error}"
                time.sleep(LAST_S)
            if not window or not window[0][1].done():
                break
        if limit and now() >= end:
            elapsed, counted, limit = now() - started, len(latencies), 0
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
