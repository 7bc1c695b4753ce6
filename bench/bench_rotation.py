"""Appends to a log in files, and what a rotation adds: the times of those that begin a segment beside the others.

    python bench/bench_rotation.py [--appends 3000] [--bytes 30000] [--segment 1048576] [--path DIRECTORY] [--json]

One append at a time, each awaited, by the two threads that a node has for it. Segments are small, so that many are
begun; each has entries that nobody needs any more compacted away, so that segments are used again. Prints p50 and p99
of all appends, of those that begin a segment and of those right after, in microseconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

CLUSTER = b"bench-rotation.."


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def measure(path: Path, appends: int, size: int, segment: int) -> dict[str, float]:
    """Figures in microseconds."""
    import raftx
    from raftx import _core
    from raftx._native.memory import Spans
    from raftx._native.threads import Clock, Event
    from raftx.storage.writes import DiskGauges, WriteQueue

    conf = raftx.ConfState(voters=(1, 2, 3))
    storage = raftx.FileStorage.create(path, id=1, members=[1, 2, 3], cluster=CLUSTER, segment_bytes=segment)
    storage.open(1, CLUSTER)
    wal = storage.wal
    assert wal is not None
    done = Event()
    queue, gauges = WriteQueue(Event()), DiskGauges()

    def run() -> None:
        wal.begin_serving(queue, gauges, done, Clock())
        try:
            wal.run()
        finally:
            wal.end_serving()

    threads = [threading.Thread(target=wal.reserve.run), threading.Thread(target=run)]
    for thread in threads:
        thread.start()
    log = _core.EntryLog()
    log.py_append(1, bytes(range(1, 251)) * (size // 250))
    record = bytearray(log.records(1, 1))
    times: list[tuple[float, bool, bool]] = []
    before = False
    for index in range(1, appends + 1):
        entries = _core.EntryLog()
        if index > 1:
            entries.py_restore(index - 1, 1)
        entries.py_append(1, bytes(record[-size:]))
        spans = Spans()
        spans.py_push(bytes(entries.records(index, index)))
        number = wal.segment
        start = time.perf_counter()
        queue.py_put_write(spans, index, 1, 2, index)
        while gauges.done < index:
            done.py_wait(2_000_000)
        took = time.perf_counter() - start
        began = wal.segment != number
        times.append((took * 1e6, began, before))
        before = began
        if began and index > 1:
            storage.compact(index - 1, 1, conf)
    queue.py_end()
    for thread in threads:
        thread.join()
    storage.close()
    every = [took for took, _, _ in times]
    begun = [took for took, began, _ in times if began]
    after = [took for took, _, after in times if after]
    figures = {"appends": len(every), "rotations": len(begun), "syncs": gauges.syncs}
    for name, values in (("all", every), ("rotating", begun), ("after", after)):
        figures |= {f"{name} p50": percentile(values, 0.5), f"{name} p99": percentile(values, 0.99)}
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--appends", type=int, default=3000)
    parser.add_argument("--bytes", type=int, default=30_000)
    parser.add_argument("--segment", type=int, default=1 << 20)
    parser.add_argument("--path", help="a directory on the disk that is to be measured (default: a temporary one)")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.path) as directory:
        figures = measure(Path(directory) / "log", given.appends, given.bytes, given.segment)
    if given.json:
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name:14} {value:>10,.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
