"""A durable cluster of real processes for the benchmarks, and the loads that are put on it.

Each member is a process of its own (spawned) with a FileStorage and an NngTransport over loopback.
The load runs inside the leader's process, as an application that embeds the node would have it.
"""

from __future__ import annotations

import collections
import contextlib
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

SPAWN = multiprocessing.get_context("spawn")
SIZE = 256
WAIT_S = 30.0
# A directory on a real disk: the point is what a sync costs.
ROOT = os.environ.get("RAFTX_BENCH_DIR") or str(Path(__file__).resolve().parent.parent / "build" / "bench")


class Counter:
    """The cheapest state machine there is."""

    def __init__(self):
        self.count = 0

    def apply(self, entry):
        self.count += 1
        return self.count


def free_ports(count):
    """Ports of loopback that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def percentile(values, share):
    """Of a list of numbers, sorted or not."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


# --- loads, in the leader's process -----------------------------------------------------------------


def closed_loop(node, outstanding, seconds, many=False, size=SIZE):
    """Keep ``outstanding`` proposals under way for a time; (entries, seconds, latencies in us)."""
    data = os.urandom(size)
    # With propose_many, four batches are under way, so that the pipeline never runs dry.
    parts = min(4, outstanding) if many else outstanding
    batch = [data] * (outstanding // parts) if many else None
    window = collections.deque()
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


def reads_at_once(node, count, seconds, level):
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


def paced(node, period_s, seconds):
    """One proposal every so often, made without the GIL; the engine's own stamps of every round.

    Whoever waits for the GIL to propose would measure that; this is what consensus takes.
    """
    from raftx.testing.pacer import Pacer

    pacer = Pacer(node._parts.proposer.proposals, SIZE, int(period_s * 1e9))
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


def burn_python(stop):
    """A Python thread that never waits: it holds the GIL for a switch interval at a time."""
    x = 0
    while not stop.is_set():
        for _ in range(1000):
            x = x * 31 % 1000003
    return x


def burn_c(stop):
    """As busy, but without the GIL."""
    import hashlib

    block = bytes(1 << 20)  # hashlib lets go of the GIL for blocks of this size
    while not stop.is_set():
        hashlib.sha256(block)


def member(pipe, id, ports, directory, options):
    """The body of one process: a node, and commands from the parent."""
    try:
        import raftx

        urls = {i + 1: f"tcp://127.0.0.1:{port}" for i, port in enumerate(ports)}
        transport = raftx.NngTransport(
            urls[id], {i: u for i, u in urls.items() if i != id}, use_gil=options.get("use_gil", False)
        )
        storage = raftx.FileStorage.create(Path(directory) / str(id), id=id, members=urls)
        config = raftx.Config(id=id, **options.get("config", {}))
        stop_burning = None
        with raftx.Node(config, storage, transport, Counter()) as node:
            pipe.send(("ready", raftx.COMPILED))
            while True:
                command, *arguments = pipe.recv()
                if command == "stop":
                    break
                if command == "status":
                    answer = node.status().to_dict()
                elif command == "load":
                    answer = closed_loop(node, *arguments)
                elif command == "reads":
                    answer = reads_at_once(node, *arguments)
                elif command == "paced":
                    answer = paced(node, *arguments)
                elif command == "burn":
                    stop_burning = threading.Event()
                    body = {"python": burn_python, "c": burn_c}[arguments[0]]
                    threading.Thread(target=body, args=(stop_burning,), daemon=True).start()
                    answer = None
                elif command == "cool":
                    stop_burning.set()
                    answer = None
                else:
                    raise ValueError(command)
                pipe.send(("ok", answer))
        pipe.send(("ok", None))
    except BaseException:
        with contextlib.suppress(OSError):
            pipe.send(("error", traceback.format_exc()))
    sys.stdout.flush()


class Cluster:
    """Three members and a pipe to each."""

    def __init__(self, n=3, **options):
        Path(ROOT).mkdir(parents=True, exist_ok=True)
        self.directory = tempfile.mkdtemp(prefix="cluster-", dir=ROOT)
        ports = free_ports(n)
        self.pipes, self.processes = {}, {}
        for id in range(1, n + 1):
            ours, theirs = SPAWN.Pipe()
            process = SPAWN.Process(target=member, args=(theirs, id, ports, self.directory, options), daemon=True)
            process.start()
            self.pipes[id], self.processes[id] = ours, process
        try:
            self.compiled = all([self._answer(id) for id in self.pipes])
        except BaseException:
            self.close()
            raise

    def _answer(self, id, timeout=300.0):
        if not self.pipes[id].poll(timeout):
            raise TimeoutError(f"member {id} does not answer")
        kind, value = self.pipes[id].recv()
        if kind == "error":
            raise RuntimeError(f"member {id}:\n{value}")
        return value

    def ask(self, id, *command):
        """Give a member a command and wait for its answer."""
        self.pipes[id].send(command)
        return self._answer(id)

    def everybody(self, *command):
        """The same command to all."""
        return {id: self.ask(id, *command) for id in self.pipes}

    def leader(self):
        """Id of the member that leads, when all agree."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            views = {status["leader"] for status in self.everybody("status").values()}
            if len(views) == 1 and 0 not in views:
                return views.pop()
            time.sleep(0.02)
        raise TimeoutError("no leader")

    def close(self):
        """Stop all members and remove their directories."""
        for pipe in self.pipes.values():
            with contextlib.suppress(OSError):
                pipe.send(("stop",))
        for process in self.processes.values():
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- what the machine can do alone --------------------------------------------------------------------


def _syncs(directory, name, seconds, size=4096):
    """Latencies in us of writes of one block with an fdatasync each, in a file that is written already."""
    path = os.path.join(directory, name)
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    length = 16 << 20
    os.posix_fallocate(fd, 0, length)
    for at in range(0, length, 1 << 20):
        os.pwrite(fd, bytes(1 << 20), at)
    os.fsync(fd)
    block = os.urandom(size)
    at, latencies = 0, []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        t = time.perf_counter()
        os.pwrite(fd, block, at)
        os.fdatasync(fd)
        latencies.append((time.perf_counter() - t) * 1e6)
        at = (at + size) % length
    os.close(fd)
    os.unlink(path)
    return latencies


def _sync_member(pipe, directory, name, seconds):
    pipe.send(_syncs(directory, name, seconds))


def syncs_alone(seconds=2.0, processes=1):
    """Latencies in us of one-block syncs, while ``processes - 1`` others do the same."""
    Path(ROOT).mkdir(parents=True, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="sync-", dir=ROOT)
    try:
        pipes, running = [], []
        for i in range(1, processes):
            ours, theirs = SPAWN.Pipe()
            process = SPAWN.Process(
                target=_sync_member, args=(theirs, directory, f"other{i}", seconds + 2), daemon=True
            )
            process.start()
            pipes.append(ours)
            running.append(process)
        if running:
            time.sleep(1.5)  # until the others have filled their files
        latencies = _syncs(directory, "own", seconds)
        for pipe, process in zip(pipes, running, strict=True):
            pipe.recv()
            process.join()
        return latencies
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _echo(pipe, ports, size, rounds):
    import raftx
    from raftx._native.threads import Event
    from raftx.testing.pingpong import PingPong

    event = Event()
    transport = raftx.NngTransport(f"tcp://127.0.0.1:{ports[1]}", {1: f"tcp://127.0.0.1:{ports[0]}"})
    link = transport.open_link(2, event)
    pipe.send("ready")
    PingPong(link, event, 1, size, rounds, False).run()
    pipe.recv()
    transport.close()


def round_trips(size=SIZE + 152, rounds=5000):
    """Latencies in us of one NNG round trip between two processes, without the GIL (a frame of one entry).

    None interpreted, where nothing goes without the GIL.
    """
    import raftx
    from raftx._native.threads import Event
    from raftx.testing.pingpong import PingPong

    if not raftx.COMPILED:
        return []
    ports = free_ports(2)
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_echo, args=(theirs, ports, size, rounds), daemon=True)
    process.start()
    event = Event()
    transport = raftx.NngTransport(f"tcp://127.0.0.1:{ports[0]}", {2: f"tcp://127.0.0.1:{ports[1]}"})
    link = transport.open_link(1, event)
    try:
        ours.recv()
        ping = PingPong(link, event, 2, size, rounds, True)
        ping.run()
        ours.send("enough")
        process.join(10)
        return [ns / 1000 for ns in ping.latencies][rounds // 10 :]
    finally:
        transport.close()
        if process.is_alive():
            process.kill()
