"""Members as processes that can be killed and started again, with loads in them. Measures nothing by itself."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import raftx
from raftx.measure.cluster import START_S, Group, obey, on_behalf
from raftx.measure.loads import WAIT_S, closed_loop
from raftx.measure.network import TRANSPORTS, free_ports

FILL_BATCH = 500  # proposals behind one future
FILL_BATCHES = 8  # of them under way


class Machine:
    """Counts; each entry costs it so many microseconds of Python. ``since``: when the first one of this life came."""

    def __init__(self, cost_us: float) -> None:
        self.cost = cost_us / 1e6
        self.count = 0
        self.since = 0.0

    def apply(self, entry: Any) -> int:
        if not self.count:
            self.since = time.monotonic()
        if self.cost:
            end = time.perf_counter() + self.cost
            while time.perf_counter() < end:
                pass
        self.count += 1
        return self.count


def resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def fill(node: Any, count: int, size: int) -> float:
    """Propose so many entries, as fast as they are taken; seconds."""
    data, window, began = os.urandom(size), [], time.monotonic()
    while count > 0 or window:
        while count > 0 and len(window) < FILL_BATCHES:
            number = min(count, FILL_BATCH)
            window.append(node.propose_many([data] * number, timeout=WAIT_S))
            count -= number
        window.pop(0).result(2 * WAIT_S)
    return time.monotonic() - began


def several(node: Any, threads: int, outstanding: int, seconds: float, size: int) -> dict[str, Any]:
    """A closed loop of ``outstanding`` proposals, shared by threads."""
    found: list[tuple[int, float, list[float]]] = []

    def one() -> None:
        found.append(closed_loop(node, max(1, outstanding // threads), seconds, False, size))

    running = [threading.Thread(target=one) for _ in range(threads)]
    for each in running:
        each.start()
    for each in running:
        each.join()
    return {
        "entries_per_s": sum([done / elapsed for done, elapsed, _ in found]),
        "latencies": [each for _, _, latencies in found for each in latencies],
    }


class Pressed:
    """A load that goes on whatever happens: when each proposal was done, and what became of the others."""

    def __init__(self, node: Any, outstanding: int, size: int) -> None:
        self.node = node
        self.data = os.urandom(size)
        self.stop = threading.Event()
        self.done: list[tuple[float, float]] = []  # when, and seconds that it took
        self.failed: list[str] = []
        self.threads = [threading.Thread(target=self.one) for _ in range(outstanding)]
        for each in self.threads:
            each.start()

    def one(self) -> None:
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                self.node.propose(self.data).result(WAIT_S)
            except raftx.Stopped:
                return
            except Exception as error:
                self.failed.append(f"{type(error).__name__}: {error}")
                time.sleep(0.001)
            else:
                now = time.monotonic()
                self.done.append((now, now - began))

    def end(self) -> dict[str, Any]:
        self.stop.set()
        for each in self.threads:
            each.join()
        return {"done": self.done, "failed": self.failed}


def usage() -> dict[str, float]:
    """What this process has used and has: seconds of a core, switches of threads, threads, bytes."""
    switches = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            lines = (task / "status").read_text(encoding="ascii").splitlines()
            switches += sum([int(line.split()[1]) for line in lines if "ctxt_switches" in line])
    times = os.times()
    return {
        "cpu": times.user + times.system,
        "switches": switches,
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "resident": resident(),
    }


def body(pipe: Connection, id: int, urls: dict[int, str], directory: str, options: dict[str, Any]) -> None:
    """One process: opens or founds its member, then does what the parent says."""
    with on_behalf(pipe):
        path, began = Path(directory) / str(id), time.monotonic()
        old = path.exists()
        storage = raftx.FileStorage(path) if old else raftx.FileStorage.create(path, id=id, members=urls)
        transport = TRANSPORTS[options["transport"]](urls[id], {i: url for i, url in urls.items() if i != id})
        machine, pressed = Machine(options.get("apply_us", 0)), list[Pressed]()
        with raftx.Node(raftx.Config(id=id, **options.get("config", {})), storage, transport, machine) as node:
            pipe.send(("ok", time.monotonic() - began))

            def ready() -> float:
                node.wait_ready(START_S)
                return time.monotonic() - began

            commands: dict[str, Callable[..., Any]] = {
                "status": lambda: node.status().to_dict(),
                "ready": ready,
                "load": functools.partial(several, node),
                "fill": functools.partial(fill, node),
                "press": lambda *arguments: pressed.append(Pressed(node, *arguments)),
                "relieve": lambda: pressed.pop().end(),
                "first": lambda: (machine.since, machine.count),
                "usage": usage,
            }
            obey(pipe, commands)


class Members(Group):
    """Members that can be killed and started again. options: transport, apply_us, config."""

    def __init__(self, directory: Path, count: int, **options: Any) -> None:
        super().__init__()
        self.directory = directory
        self.options = options
        self.urls = {at + 1: f"tcp://127.0.0.1:{port}" for at, port in enumerate(free_ports(count))}
        try:
            for id in self.urls:
                self.begin(id)
            for id in self.urls:
                self.answer(id)
        except BaseException:
            self.close()
            raise

    def begin(self, id: int) -> None:
        """Start a member; ``answer`` waits until its node has been started, and gives the seconds that took."""
        self.launch(id, body, self.urls, str(self.directory), self.options)

    def kill(self, id: int) -> float:
        """SIGKILL; when that was."""
        process = self.processes.pop(id)
        process.kill()
        now = time.monotonic()
        process.join()
        self.pipes.pop(id).close()
        return now
