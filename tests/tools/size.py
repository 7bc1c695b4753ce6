"""Memory and disk of nodes under load for long: they must not grow with the entries that went through.

    python -m tests.tools.size [--entries 10000000] [--bytes 100] [--members 1]

Members in this process, with snapshots and compaction as a node has them unless told otherwise, take entries as fast
as they can. Resident memory of the process and bytes on disk are sampled; a line through the samples behind the first
tenth says how many bytes stay for an entry. Prints samples and slopes; exits with 1 when a slope is above LIMIT.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import collections
import contextlib
import pathlib
import resource
import sys
import tempfile
import time

import raftx

BATCH = 500
OPEN = 8  # batches that are under way
SAMPLES = 100
LIMIT = 1.0  # bytes that may stay for an entry; one in memory has 177 to 237, one on disk 156 and more
PAGE = resource.getpagesize()


class Sum:
    """A state that does not grow."""

    def __init__(self) -> None:
        self.count = self.bytes = 0

    def apply(self, entry) -> None:
        self.count += 1
        self.bytes += len(entry.data)

    def snapshot(self) -> bytes:
        return b"%d %d" % (self.count, self.bytes)

    def restore(self, reader) -> None:
        self.count, self.bytes = map(int, reader.read().split())


def resident() -> int:
    """Bytes of this process in memory."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * PAGE


def on_disk(directory: pathlib.Path) -> int:
    """Bytes that all files take."""
    total = 0
    for each in directory.rglob("*"):
        with contextlib.suppress(OSError):  # removed meanwhile
            total += each.stat().st_blocks * 512
    return total


def slope(samples: list[tuple[int, int]]) -> float:
    """Of the line that fits (x, y) best."""
    count = len(samples)
    x0, y0 = sum(x for x, _ in samples) / count, sum(y for _, y in samples) / count
    below = sum((x - x0) ** 2 for x, _ in samples)
    return sum((x - x0) * (y - y0) for x, y in samples) / below if below else 0.0


def run(directory: pathlib.Path, entries: int, size: int, members: int, **settings) -> tuple[float, float, list]:
    """Slopes of memory and disk in bytes an entry, and the samples: (entries, memory, disk)."""
    network = raftx.MemoryNetwork()
    ids = range(1, members + 1)
    nodes, machines = [], [Sum() for _ in ids]
    for id in ids:
        storage = raftx.FileStorage.create(directory / str(id), id=id, members=ids)
        config = raftx.Config(id=id, **settings)
        nodes.append(raftx.Node(config, storage, network.transport(), machines[id - 1]).start())
    try:
        next(change for change in nodes[0].state_changes if change.leader)
        leader = next(node for node in nodes if node.id == nodes[0].leader_id)
        data = [bytes(size)] * BATCH
        samples = [(0, resident(), on_disk(directory))]
        open_batches: collections.deque = collections.deque()
        done = asked = 0
        while done < entries:
            while asked < entries and len(open_batches) < OPEN:
                open_batches.append(leader.propose_many(data))
                asked += BATCH
            open_batches.popleft().result(60)
            done += BATCH
            if done * SAMPLES // entries > samples[-1][0] * SAMPLES // entries:
                samples.append((done, resident(), on_disk(directory)))
        assert machines[leader.id - 1].count == done
        rest = samples[len(samples) // 10 :]
        return slope([(x, y) for x, y, _ in rest]), slope([(x, y) for x, _, y in rest]), samples
    finally:
        for node in nodes:
            node.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--bytes", type=int, default=100)
    parser.add_argument("--members", type=int, default=1)
    parser.add_argument("--directory", default=None, help="where the members' directories are made for a while")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        memory, disk, samples = run(pathlib.Path(name), options.entries, options.bytes, options.members)
    seconds = time.monotonic() - began
    for done, in_memory, in_files in samples[:: max(len(samples) // 10, 1)]:
        print(f"{done:>12,} entries {in_memory / 2**20:>8.1f} MiB of memory {in_files / 2**20:>8.1f} MiB on disk")
    print(f"{options.members} members, {options.entries:,} entries of {options.bytes} bytes, {seconds:.0f} s")
    print(f"memory: {memory:+.3f} bytes an entry, disk: {disk:+.3f} bytes an entry, behind the first tenth")
    flat = memory <= LIMIT and disk <= LIMIT
    print("flat" if flat else f"not flat: more than {LIMIT} bytes stay for an entry")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
