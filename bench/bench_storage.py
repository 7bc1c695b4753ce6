"""The log and its snapshots beside what the bare disk and a bare socket do in the same moments.

    python bench/bench_storage.py [--only append,open,beside,transfer] [--runs 3] [--directory DIR]

append: groups of 4, 64 and 512 KiB, written and synced by the log's own threads, rotation and recycling included,
against pwrite and fdatasync of as many bytes in a file of zeros; the two take turns. open: a log of many entries is
opened and loaded. beside: the latency of proposals to a node of one while it writes a large snapshot, and while it does
not. transfer: a member that is far behind fetches a large snapshot from another process, against a socket, a file and
syncs. Ratios above 1 are better than bare for throughputs; each line has the range over the runs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from raftx.measure.figures import percentile
from raftx.measure.network import TRANSPORTS

KIB, MIB = 1 << 10, 1 << 20
SEGMENT = 64 * MIB
GROUPS = {4 * KIB: 400, 64 * KIB: 250, 512 * KIB: 160}  # of each size, as many as one turn takes
TURNS = 3
QUEUED = 4  # groups of a turn in which the log always has a next one
OPENED = 256 * MIB
STATE = 128 * MIB  # that is fetched
WRITTEN = 512 * MIB  # state that is written beside load
PIECE = 128 * KIB
SYNC_STEP = 4 * MIB  # as a receiver does
CLUSTER = b"benchmark       "


# --- append -------------------------------------------------------------------------------------------


class Served:
    """A log as a node has it: with its threads, and a queue in front of it."""

    def __init__(self, directory: Path) -> None:
        import raftx
        from raftx._native.threads import Clock, Event
        from raftx.storage.writes import DiskGauges, WriteQueue

        self.storage = raftx.FileStorage.create(directory, id=1, members=[1], cluster=CLUSTER, segment_bytes=SEGMENT)
        self.storage.open(1, CLUSTER)
        self.wal = self.storage.wal
        self.queue, self.gauges, self.event = WriteQueue(Event()), DiskGauges(), Event()
        self.wal.begin_serving(self.queue, self.gauges, self.event, Clock())
        self.threads = [threading.Thread(target=each) for each in (self.wal.reserve.run, self.wal.run)]
        for thread in self.threads:
            thread.start()
        self.index = self.number = 0
        self.data = os.urandom(512 * KIB)

    def group(self, size: int):
        """Entries that make up a batch of ``size`` bytes."""
        import raftx
        from raftx._native.memory import Spans

        entries, left = [], size - 4 * KIB if size > 4 * KIB else 2 * KIB
        while left > 0:
            self.index += 1
            data = min(left, 4 * KIB) - 32
            entries.append(raftx.Entry(self.index, 1, self.data[left - data : left]).encode())
            left -= data + 32
        spans = Spans()
        spans.py_push(b"".join(entries), self.index - len(entries) + 1, len(entries))
        return spans

    def write(self, size: int, count: int = 1) -> float:
        """Seconds for so many groups, the next of which waits in the queue while one is written."""
        import raftx

        groups = [self.group(size) for _ in range(count)]
        began = time.perf_counter()
        for spans in groups:
            self.number += 1
            self.queue.py_put_write(spans, self.number, 1, 0, 0)
        while self.gauges.done < self.number:
            self.event.py_prepare()
            if self.gauges.done < self.number:
                self.event.py_wait(1_000_000_000)
            else:
                self.event.py_cancel()
        took = time.perf_counter() - began
        if self.number % 200 < count:
            # What is not needed is used again, as in a node with snapshots.
            self.storage.compact(self.wal.last_index, 1, raftx.ConfState(voters=(1,)))
        return took

    def close(self) -> None:
        self.queue.py_end()
        self.threads[1].join()
        self.wal.end_serving()
        self.threads[0].join()
        self.storage.close()


class Bare:
    """A file of zeros that is written from its beginning to its end, again and again."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        for at in range(0, SEGMENT, 4 * MIB):
            os.pwrite(self.fd, bytes(4 * MIB), at)
        os.fsync(self.fd)
        self.at = 0
        self.data = os.urandom(512 * KIB)

    def write(self, size: int, count: int = 1) -> float:
        """Seconds for so many groups, each with a sync of its own."""
        began = time.perf_counter()
        for _ in range(count):
            if self.at + size > SEGMENT:
                self.at = 0
            os.pwrite(self.fd, self.data[:size], self.at)
            os.fdatasync(self.fd)
            self.at += size
        return time.perf_counter() - began

    def close(self) -> None:
        os.close(self.fd)


def append(directory: Path) -> dict[str, float]:
    """For each size: bytes a second of the log over those of the bare file, by the medians and by the sums."""
    log, bare = Served(directory / "log"), Bare(directory / "bare")
    found = {}
    try:
        # The first segment is only reserved; those after it are filled with zeros, or used again.
        while log.wal.segment < 3:
            log.write(512 * KIB)
        for size, count in GROUPS.items():
            times: dict[str, list[float]] = {"log": [], "bare": []}
            for _ in range(TURNS):
                for name, each in (("log", log), ("bare", bare)):
                    times[name] += [each.write(size) for _ in range(count)]
            queued: dict[str, list[float]] = {"log": [], "bare": []}
            for _ in range(count // QUEUED):
                for name, each in (("log", log), ("bare", bare)):
                    queued[name].append(each.write(size, QUEUED))
            name = f"append {size // KIB} KiB"
            median = {what: statistics.median(values) for what, values in times.items()}
            found[f"{name}, log / bare by medians"] = median["bare"] / median["log"]
            found[f"{name}, log / bare in all"] = sum(times["bare"]) / sum(times["log"])
            ratio = statistics.median(queued["bare"]) / statistics.median(queued["log"])
            found[f"{name}, log / bare, {QUEUED} in the queue"] = ratio
            found[f"{name}, log, us"] = median["log"] * 1e6
            found[f"{name}, bare, us"] = median["bare"] * 1e6
    finally:
        log.close()
        bare.close()
    return found


# --- open ---------------------------------------------------------------------------------------------


def opening(directory: Path) -> dict[str, float]:
    """MB/s of the log that is read, checked and loaded, from the cache."""
    import raftx
    from raftx.node.opening import load_log

    log = Served(directory / "log")
    log.compacts = False
    while log.wal.bytes_written < OPENED:
        log.write(512 * KIB)
    log.close()
    size = sum(each.stat().st_size for each in (directory / "log").glob("wal-*.log"))
    storage = raftx.FileStorage(directory / "log")
    began = time.perf_counter()
    loaded = storage.open(1, CLUSTER)
    checked = time.perf_counter()
    entries = load_log(1, loaded)
    ended = time.perf_counter()
    written = log.wal.bytes_written
    assert entries.last == log.index
    storage.close()
    return {
        "open, read and checked, MB/s": written / (checked - began) / 1e6,
        "open and load, MB/s": written / (ended - began) / 1e6,
        "open, MB of log": size / 1e6,
    }


# --- a snapshot beside load -----------------------------------------------------------------------------


class Large:
    """A state machine with a large state, given away in pieces."""

    def __init__(self, size: int = STATE) -> None:
        self.piece = os.urandom(MIB)
        self.size = size
        self.read = 0
        self.restored_at = 0.0

    def apply(self, entry) -> None:
        pass

    def snapshot(self):
        return (self.piece for _ in range(self.size // MIB))

    def restore(self, reader) -> None:
        self.restored_at = time.perf_counter()
        self.read = sum(len(piece) for piece in reader)


def beside(directory: Path) -> dict[str, float]:
    """p99 of proposals beside a snapshot over that without one, in turns."""
    import raftx

    storage = raftx.FileStorage.create(directory / "node", id=1, members=[1])
    config = raftx.Config(id=1, tick_ms=20, snapshot_entries=0, snapshot_bytes=0)
    times: dict[str, list[float]] = {"alone": [], "beside": []}
    wrote = 0.0
    with raftx.Node(config, storage, raftx.MemoryNetwork().transport(), Large(WRITTEN)) as node:
        next(change for change in node.state_changes if change.leader)

        def one(into: list[float]) -> None:
            began = time.perf_counter()
            node.propose(bytes(200)).result(30)
            into.append(time.perf_counter() - began)
            time.sleep(0.001)

        for _ in range(TURNS):
            until = time.perf_counter() + 1.5
            while time.perf_counter() < until:
                one(times["alone"])
            began = time.perf_counter()
            future = node.snapshot()
            while not future.done():
                one(times["beside"])
            future.result(0)
            wrote += time.perf_counter() - began
    found = {}
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        alone, with_it = (percentile([t * 1e6 for t in times[each]], share) for each in ("alone", "beside"))
        found[f"beside a snapshot, {name} / alone"] = with_it / alone
        found[f"beside a snapshot, {name}, us"] = with_it
        found[f"without one, {name}, us"] = alone
    found["a snapshot beside load, MB/s"] = TURNS * WRITTEN / wrote / 1e6
    return found


# --- transfer -------------------------------------------------------------------------------------------


def leaders(directory: str, urls: dict[int, str], pipe, kind: str) -> None:
    """Members 1 and 2, in a process of their own: they have a snapshot, and no log before it."""
    import raftx

    nodes = []
    for id in (1, 2):
        config = raftx.Config(id=id, tick_ms=20, snapshot_entries=0, keep_entries=0, max_log_bytes=0)
        storage = raftx.FileStorage(f"{directory}/{id}")
        nodes.append(raftx.Node(config, storage, TRANSPORTS[kind](urls[id], peers=urls), Large()).start())
    next(change for change in nodes[0].state_changes if change.leader)
    leader = next(node for node in nodes if node.id == nodes[0].leader_id)
    for _ in range(20):
        leader.propose(b"an entry").result(30)
    for node in nodes:
        while node.applied_index < leader.applied_index:
            time.sleep(0.01)
        node.snapshot().result(60)
    while leader.status().first <= leader.status().snapshot.index:
        time.sleep(0.01)
    pipe.send("ready")
    pipe.recv()
    for node in nodes:
        node.close()


def sender(port: int) -> None:
    """As many bytes over a socket."""
    piece = os.urandom(PIECE)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(STATE // PIECE):
            connection.sendall(piece)


def bare_transfer(path: Path, context) -> float:
    """Seconds of a socket, a file, and syncs as often as a receiver makes them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = context.Process(target=sender, args=(server.getsockname()[1],))
        process.start()
        connection, _ = server.accept()
        with connection, open(path, "wb", buffering=0) as file:
            began = time.perf_counter()
            view, unsynced = memoryview(bytearray(PIECE)), 0
            for _ in range(STATE // PIECE):
                got = 0
                while got < PIECE:
                    got += connection.recv_into(view[got:])
                file.write(view)
                unsynced += PIECE
                if unsynced >= SYNC_STEP:
                    os.fdatasync(file.fileno())
                    unsynced = 0
            os.fsync(file.fileno())
            took = time.perf_counter() - began
        process.join()
    return took


def transfer(directory: Path, kind: str = "nng") -> dict[str, float]:
    """Bytes a second of a snapshot that is fetched over those of the bare way, before and after it."""
    import raftx

    context = multiprocessing.get_context("spawn")
    with Ports(3) as held:
        urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(held, 1)}
    for id in urls:
        raftx.FileStorage.create(directory / str(id), id=id, members=urls)
    mine, theirs = context.Pipe()
    process = context.Process(target=leaders, args=(str(directory), urls, theirs, kind))
    process.start()
    mine.recv()
    before = bare_transfer(directory / "bare", context)
    machine = Large()
    config = raftx.Config(id=3, tick_ms=20, snapshot_entries=0)
    node = raftx.Node(config, raftx.FileStorage(directory / "3"), TRANSPORTS[kind](urls[3], peers=urls), machine)
    began = 0.0
    with node:
        while not began:
            # Not while it is fetched: to make a status takes the courier's time.
            if node.status().transfers.fetching:
                began = time.perf_counter()
            time.sleep(0.002)
        while machine.read < STATE:
            time.sleep(0.01)
    mine.send("end")
    process.join()
    after = bare_transfer(directory / "bare", context)
    fetched = machine.restored_at - began
    return {
        "transfer / bare": (before + after) / 2 / fetched,
        "transfer, MB/s": STATE / fetched / 1e6,
        "bare transfer, MB/s": 2 * STATE / (before + after) / 1e6,
    }


class Ports:
    """Free ports of the loopback interface, held until they are to be used."""

    def __init__(self, count: int) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]

    def __enter__(self) -> list[int]:
        return [each.getsockname()[1] for each in self.sockets]

    def __exit__(self, *_: object) -> None:
        for each in self.sockets:
            each.close()


BENCHMARKS = {"append": append, "open": opening, "beside": beside, "transfer": transfer}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default=",".join(BENCHMARKS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--directory", default=None, help="on which file system; default: that of temporary files")
    parser.add_argument("--json", default=None)
    parser.add_argument("--transport", choices=TRANSPORTS, default="nng", help="of the members, for transfer")
    options = parser.parse_args()
    every: dict[str, list[float]] = {}
    told = {"transfer": {"kind": options.transport}}
    for what in options.only.split(","):
        for _ in range(options.runs):
            with tempfile.TemporaryDirectory(dir=options.directory) as name:
                for figure, value in BENCHMARKS[what](Path(name), **told.get(what, {})).items():
                    every.setdefault(figure, []).append(value)
    for figure, values in every.items():
        low, high = min(values), max(values)
        middle = statistics.median(values)
        print(f"{figure:<44} {middle:>10,.2f}   ({low:,.2f} to {high:,.2f} in {len(values)} runs)")
    if options.json:
        Path(options.json).write_text(json.dumps(every, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
