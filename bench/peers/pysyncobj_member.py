"""A member of a cluster of PySyncObj, whose journal is never synced.

Its arguments: ID DIR PORTS 0|1, the last for the library's own batching.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated

from bench.peers.spoken import serve, summary

LAST_S = 10.0


class Member(SyncObj):
    """The cheapest state machine there is."""

    def __init__(self, own: str, others: list[str], conf: Any) -> None:
        super().__init__(own, others, conf)
        self.count = 0

    @replicated
    def put(self, data: bytes) -> int:
        """Count it."""
        self.count += 1
        return self.count


def load(member: Member, outstanding: int, seconds: float, size: int, mode: str) -> dict[str, Any]:
    """So many calls are under way; a callback ends each."""
    data = os.urandom(size)
    latencies: list[float] = []
    changed = threading.Condition()
    under_way = failed = 0
    why = ""
    now = time.perf_counter

    def ended(since: float) -> Any:
        def call(result: Any, error: Any) -> None:
            nonlocal under_way, failed, why
            took = (now() - since) * 1e6
            with changed:
                under_way -= 1
                if error:
                    failed, why = failed + 1, f"error {error}"
                else:
                    latencies.append(took)
                changed.notify()

        return call

    started = now()
    end = started + seconds
    while now() < end:
        with changed:
            while under_way >= outstanding and now() < end:
                changed.wait(0.5)
            free = outstanding - under_way
            under_way += free
        for _ in range(free):
            member.put(data, callback=ended(now()))
    elapsed = now() - started
    with changed:
        took = list(latencies)
        changed.wait_for(lambda: under_way == 0, LAST_S)
    return summary(len(took), elapsed, took, failed, why)


def main() -> None:
    number, directory, ports, batch = sys.argv[1:]
    id = int(number)
    addresses = [f"127.0.0.1:{port}" for port in ports.split(",")]
    conf = SyncObjConf(
        journalFile=os.path.join(directory, "journal"),
        fullDumpFile=os.path.join(directory, "dump"),
        appendEntriesUseBatch=batch == "1",
        commandsWaitLeader=True,
    )
    os.makedirs(directory, exist_ok=True)
    member = Member(addresses[id - 1], [each for i, each in enumerate(addresses, 1) if i != id], conf)
    serve(
        lambda: bool(member._isLeader()),
        lambda outstanding, seconds, size, mode: load(member, outstanding, seconds, size, mode),
    )


if __name__ == "__main__":
    main()
