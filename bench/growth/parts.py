"""What is measured: each part gives rows of a name, a value and its unit."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import raftx
from bench.growth.members import Members, usage
from raftx.measure.disk import SPAWN, scratch, start
from raftx.measure.figures import percentile
from raftx.measure.network import free_ports

Row = tuple[str, float, str]

SIZE = 256
LENGTHS = (10**5, 10**6, 10**7)
BEHIND = 10**6
TRIALS = 15
WARM_S = 0.5
SYNC_STEP = 4 << 20
NODES, GROUP = 20, 5  # of one process, and how many make a cluster
IDLE_S = 10.0


def election_s() -> float:
    """The shortest election timeout of the settings that nobody has changed."""
    config = raftx.Config(id=1)
    return config.election_ticks * config.tick_ms / 1000


def loads(
    members: Members, levels: tuple[int, ...], seconds: float, threads: int = 1
) -> Iterator[tuple[int, float, float]]:
    """(outstanding, entries a second, p50 in us) on the leader."""
    leader = members.leader()
    members.ask(leader, "load", threads, min(64, *levels) if len(levels) > 1 else levels[0], WARM_S, SIZE)
    for level in levels:
        got = members.ask(leader, "load", threads, level, seconds, SIZE)
        yield level, got["entries_per_s"], percentile(got["latencies"], 0.5)


def number_of_members(root: Path, transport: str, seconds: float) -> Iterator[Row]:
    """1, 3, 5, 7."""
    for count in (1, 3, 5, 7):
        with scratch(root, "growth-") as path, Members(path, count, transport=transport) as members:
            for level, rate, p50 in loads(members, (1, 256, 1024), seconds):
                yield f"{count} members, {level} outstanding", rate, "entries/s"
                if level == 1:
                    yield f"{count} members, {level} outstanding, p50", p50, "us"


def client_threads(root: Path, transport: str, seconds: float) -> Iterator[Row]:
    """1, 4, 16 with as many proposals under way in all."""
    with scratch(root, "growth-") as path, Members(path, 3, transport=transport) as members:
        for threads in (1, 4, 16):
            for level, rate, _ in loads(members, (64, 256, 1024), seconds, threads):
                yield f"{threads} client threads, {level} outstanding", rate, "entries/s"


def cost_of_apply(root: Path, transport: str, seconds: float) -> Iterator[Row]:
    """0, 1, 10 us of Python an entry, on each member."""
    for cost in (0, 1, 10):
        with scratch(root, "growth-") as path, Members(path, 3, transport=transport, apply_us=cost) as members:
            for level, rate, _ in loads(members, (256, 1024), seconds):
                yield f"apply of {cost} us, {level} outstanding", rate, "entries/s"


def length_of_log(root: Path, transport: str, seconds: float) -> Iterator[Row]:
    """A member alone without snapshots, with ever more entries of 100 bytes: its memory, and its restart."""
    size, total = 100, 0
    with scratch(root, "growth-") as path, Members(path, 1, transport=transport) as members:
        members.leader()
        before = members.ask(1, "usage")["resident"]
        for count in LENGTHS:
            members.ask(1, "fill", count - total, size)
            total = count
            grown = members.ask(1, "usage")["resident"] - before
            yield f"log of {count:,} entries, resident", grown / count, "bytes an entry"
            members.kill(1)
            members.begin(1)
            yield f"log of {count:,} entries, opened", members.answer(1), "s"
            yield f"log of {count:,} entries, elected and applied", members.ask(1, "ready"), "s"


def failover(root: Path, transport: str, seconds: float) -> Iterator[Row]:
    """From SIGKILL of the leader to the next acknowledgement, 16 outstanding on each of the others."""
    took, timeout = [], election_s()
    with scratch(root, "growth-") as path, Members(path, 3, transport=transport) as members:
        for _ in range(TRIALS):
            leader = members.leader()
            others = [id for id in members.pipes if id != leader]
            for id in others:
                members.ask(id, "press", 16, SIZE)
            time.sleep(1.0)
            killed = members.kill(leader)
            time.sleep(4 * timeout)
            ends = [when for id in others for when, _ in members.ask(id, "relieve")["done"]]
            # What the old leader had committed is still told for a moment: the outage ends behind the longest gap.
            ends = [killed, *sorted([when for when in ends if when > killed])]
            took.append(max(itertools.pairwise(ends), key=lambda gap: gap[1] - gap[0])[1] - killed)
            members.begin(leader)
            members.answer(leader)
    for share, name in ((0.5, "p50"), (1.0, "longest")):
        yield f"failover, {name}", percentile(took, share), "s"
        yield f"failover, {name}", percentile(took, share) / timeout, "election timeouts"


def catching_up(root: Path, transport: str, seconds: float) -> Iterator[Row]:
    """A follower comes back far behind; the leader still has all of it in its log."""
    count, size = BEHIND, 128
    with scratch(root, "growth-") as path, Members(path, 3, transport=transport) as members:
        leader = members.leader()
        follower = next(id for id in members.pipes if id != leader)
        members.kill(follower)
        members.ask(leader, "fill", count, size)
        last = members.ask(leader, "status")["last"]
        members.begin(follower)
        members.answer(follower)
        began, first, shown = time.monotonic(), 0.0, -1
        while True:
            now = members.ask(follower, "status")["last"]
            if shown < 0:
                shown = now
            if now > shown and not first:
                first = time.monotonic()
            if now >= last:
                break
            time.sleep(0.005)
        took = time.monotonic() - began
        log = count * (size + 32)
        yield f"a follower {count:,} entries behind, first entry after its start", (first - began) * 1000, "ms"
        yield f"a follower {count:,} entries behind", log / took / 1e6, "MB/s"
        bare = log / moved(path, log) / 1e6
        yield "socket, file and a sync every 4 MiB", bare, "MB/s"
        yield f"a follower {count:,} entries behind / bare", log / took / 1e6 / bare, ""


def _pour(pipe: Connection, size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        connection, _ = server.accept()
        with connection:
            block = os.urandom(1 << 20)
            while size > 0:
                connection.sendall(block[:size])
                size -= len(block)


def moved(directory: Path, size: int) -> float:
    """Seconds for so many bytes from another process, over a socket, into a file that is synced now and then."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_pour, args=(theirs, size), daemon=True)
    start(process)
    buffer, got, unsynced = memoryview(bytearray(1 << 20)), 0, 0
    with socket.create_connection(("127.0.0.1", ours.recv())) as connection, open(directory / "bare", "wb") as file:
        began = time.monotonic()
        while got < size:
            more = connection.recv_into(buffer)
            file.write(buffer[:more])
            got += more
            unsynced += more
            if unsynced >= SYNC_STEP:
                file.flush()
                os.fdatasync(file.fileno())
                unsynced = 0
        file.flush()
        os.fdatasync(file.fileno())
        took = time.monotonic() - began
    process.join()
    (directory / "bare").unlink()
    return took


@contextlib.contextmanager
def frozen_for_a_while(root: Path) -> Iterator[tuple[Path, Callable[[float], None]]]:
    """A file system of its own, and what stops all writes to it for so many seconds. Raises Missing."""
    with scratch(root, "stall-") as path:
        image, mounted = path / "image", path / "mounted"
        mounted.mkdir()
        with open(image, "wb") as file:
            file.truncate(1 << 30)
        try:
            for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(mounted)]):
                subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Missing(f"it takes root, mkfs.ext4 and a loop device: {error}") from error

        def freeze(seconds: float) -> None:
            subprocess.run(["fsfreeze", "--freeze", str(mounted)], check=True)
            try:
                time.sleep(seconds)
            finally:
                subprocess.run(["fsfreeze", "--unfreeze", str(mounted)], check=True)

        try:
            if shutil.which("fsfreeze") is None:
                raise Missing("there is no fsfreeze")
            yield mounted, freeze
        finally:
            subprocess.run(["umount", str(mounted)], check=False)


class Missing(Exception):
    """This part cannot be measured here."""


def stalls(root: Path, transport: str, seconds: float) -> Iterator[Row]:
    """The disk of all members stands still: what the proposals notice, 16 at the leader and at a follower."""
    with frozen_for_a_while(root) as (path, freeze), Members(path, 3, transport=transport) as members:
        leader = members.leader()
        follower = next(id for id in members.pipes if id != leader)
        for stall in (0.3, 0.6):
            before = members.ask(leader, "status")["term"]
            for id in (leader, follower):
                members.ask(id, "press", 16, SIZE)
            time.sleep(1.0)
            freeze(stall)
            time.sleep(2.0)
            got = [members.ask(id, "relieve") for id in (leader, follower)]
            longest = max([lasted for each in got for _, lasted in each["done"]])
            name = f"all disks stand still for {stall * 1000:.0f} ms"
            yield f"{name}, longest proposal", longest * 1000, "ms"
            yield f"{name}, refused", float(sum([len(each["failed"]) for each in got])), "proposals"
            yield f"{name}, elections", float(members.ask(leader, "status")["term"] - before), ""


def idle(root: Path, transport: str, seconds: float) -> Iterator[Row]:
    """What members that do nothing cost: three processes, and twenty nodes in one; and what an import costs."""
    with scratch(root, "growth-") as path, Members(path, 3, transport=transport) as members:
        leader = members.leader()
        time.sleep(1.0)
        before = {id: members.ask(id, "usage") for id in members.pipes}
        time.sleep(IDLE_S)
        for id in members.pipes:
            now, name = members.ask(id, "usage"), "leader" if id == leader else "follower"
            if name == "follower" and id != max(each for each in members.pipes if each != leader):
                continue
            yield f"idle {name}", (now["cpu"] - before[id]["cpu"]) / IDLE_S * 100, "% of a core"
            yield f"idle {name}", (now["switches"] - before[id]["switches"]) / IDLE_S, "switches a second"
            yield f"idle {name}", now["threads"], "threads"
            yield f"idle {name}", now["resident"] / 1e6, "MB"
    yield from many_nodes(transport)
    plain, whole = [], []
    for _ in range(5):
        for into, code in ((plain, "pass"), (whole, "import raftx")):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            into.append(time.perf_counter() - began)
    yield "import raftx, beyond the interpreter", (percentile(whole, 0.5) - percentile(plain, 0.5)) * 1000, "ms"


def many_nodes(transport: str) -> Iterator[Row]:
    """Twenty nodes in one process, in clusters of five, idle: in a process of its own."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_many, args=(theirs, transport, NODES // GROUP, IDLE_S), daemon=True)
    start(process)
    try:
        threads, cpu, resident = ours.recv()
    finally:
        process.join()
    yield f"{NODES} idle nodes in a process", threads, "threads"
    yield f"{NODES} idle nodes in a process", cpu, "% of a core"
    yield f"{NODES} idle nodes in a process", resident / 1e6, "MB"


def _many(pipe: Connection, transport: str, clusters: int, seconds: float) -> None:
    from raftx.measure.network import TRANSPORTS

    class Nothing:
        def apply(self, entry: object) -> None:
            pass

    nodes = []
    for _ in range(clusters):
        urls = {at + 1: f"tcp://127.0.0.1:{port}" for at, port in enumerate(free_ports(GROUP))}
        for id, url in urls.items():
            link = TRANSPORTS[transport](url, {other: there for other, there in urls.items() if other != id})
            storage = raftx.MemoryStorage(voters=list(urls))
            nodes.append(raftx.Node(raftx.Config(id=id), storage, link, Nothing()).start())
    for node in nodes:
        node.wait_leader(30.0)
    time.sleep(min(2.0, seconds))
    before = usage()
    time.sleep(seconds)
    after = usage()
    for node in nodes:
        node.close()
    pipe.send((after["threads"], (after["cpu"] - before["cpu"]) / seconds * 100, after["resident"]))


PARTS: dict[str, Callable[[Path, str, float], Iterator[Row]]] = {
    "members": number_of_members,
    "threads": client_threads,
    "apply": cost_of_apply,
    "length": length_of_log,
    "failover": failover,
    "catch-up": catching_up,
    "stalls": stalls,
    "idle": idle,
}
