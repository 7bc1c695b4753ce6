"""Loads that are put on a node, in its own process, as an application that embeds it would."""

from __future__ import annotations

import collections
import hashlib
import os
import threading
import time
from typing import Any

from ..node.node import Node
from ..testing.pacer import Pacer

SIZE = 256
WAIT_S = 30.0


class Counter:
    """The cheapest state machine there is."""

    def __init__(self) -> None:
        self.count = 0

    def apply(self, entry: Any) -> int:
        """Count it."""
        self.count += 1
        return self.count


def closed_loop(
    node: Node[int], outstanding: int, seconds: float, many: bool = False, size: int = SIZE
) -> tuple[int, float, list[float]]:
    """Keep ``outstanding`` proposals under way for a time; (entries, seconds, latencies in us)."""
    data = os.urandom(size)
    # With propose_many, four batches are under way, so that the pipeline never runs dry.
    parts = min(4, outstanding) if many else outstanding
    batch = [data] * (outstanding // parts)
    window: collections.deque[tuple[float, Any]] = collections.deque()
    latencies = []
    now = time.perf_counter
    started = now()
    end = started + seconds
    done = 0
    while True:
        t = now()
        if t >= end:
            break
        while len(window) < parts:
            window.append((now(), node.propose_many(batch) if many else node.propose(data)))
        since, future = window.popleft()
        future.result(WAIT_S)
        latencies.append((now() - since) * 1e6)
        done += len(batch) if many else 1
        # What has ended meanwhile is taken at once, so that waiting for the oldest does not thin out the load.
        while window and window[0][1].done():
            since, future = window.popleft()
            future.result(0)
            latencies.append((now() - since) * 1e6)
            done += len(batch) if many else 1
    elapsed = now() - started
    for _, future in window:
        future.result(WAIT_S)
    return done, elapsed, latencies


def reads_at_once(node: Node[int], count: int, seconds: float, level: str) -> tuple[int, float, list[float], float]:
    """So many reads are asked for, all are awaited, and again; (reads, seconds, latencies of each lot in us, frames).

    The frames are those that were sent beyond what is sent without reads.
    """
    bound = {"max_staleness": 1.0} if level == "stale" else {}
    now = time.perf_counter
    before, started = node.status().frames_out, now()
    time.sleep(seconds)
    idle = (node.status().frames_out - before) / (now() - started)
    latencies, done = [], 0
    before, started = node.status().frames_out, now()
    while now() < started + seconds:
        t = now()
        for future in [node.read(level=level, **bound) for _ in range(count)]:
            future.result(WAIT_S)
        latencies.append((now() - t) * 1e6)
        done += count
    elapsed = now() - started
    sent = node.status().frames_out - before - idle * elapsed
    return done, elapsed, latencies, sent


def paced(node: Node[int], period_s: float, seconds: float) -> list[Any]:
    """One proposal every so often, made without the GIL; the engine's own stamps of every round.

    Whoever waits for the GIL to propose would measure that; this is what consensus takes.
    """
    parts: Any = node._parts
    pacer = Pacer(parts.proposer.proposals, SIZE, int(period_s * 1e9))
    thread = threading.Thread(target=pacer.run)
    stages = {}
    started = time.monotonic_ns()
    thread.start()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        time.sleep(0.5)
        stages.update({row[0]: row for row in node.stage_times() if row[1] >= started})
    pacer.stop()
    thread.join()
    return list(stages.values())


def burn_python(stop: threading.Event) -> int:
    """A Python thread that never waits: it holds the GIL for a switch interval at a time."""
    x = 0
    while not stop.is_set():
        for _ in range(1000):
            x = x * 31 % 1000003
    return x


def burn_c(stop: threading.Event) -> None:
    """As busy, but without the GIL."""
    block = bytes(1 << 20)  # hashlib lets go of the GIL for blocks of this size
    while not stop.is_set():
        hashlib.sha256(block)
