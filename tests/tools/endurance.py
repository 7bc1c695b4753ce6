"""Real members under load for long, with every fault there is: nothing acknowledged is lost, and what they use is flat.

    python -m tests.tools.endurance [--seconds 3600] [--seed 1]

Members of both transports, in network namespaces, on a file system of their own. One fault follows the other: members
are killed, stopped and cut off, one way too; they come and go; leadership moves; the disk stands still, or has no room.
After each few faults everybody comes to rest, and the states of all are held against what was acknowledged. One member
is never killed: its memory, descriptors and threads are sampled, and the slopes of lines through the samples behind the
first tenth are told; in a run that is long enough to tell, they must not grow. Needs root, ip, iptables, losetup,
mkfs.ext4 and fsfreeze. Exits with 1 when something was wrong or grew, with 2 where this cannot be done.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator

import raftx
from tests.helpers import networks
from tests.helpers.programs import WAIT, Program, settled
from tests.helpers.writer import Judge

SEGMENT = 256 << 10
IMAGE_BYTES = 512 << 20
HOSTS = 5
STAYS = 1  # the member that is never killed and never removed
AT_ONCE = 4  # faults between two looks at the states
TENTH = 10
SAMPLES = 100  # below that nothing is said of growth
GROWTH = {"resident": 1.15, "descriptors": 1.0, "threads": 1.0}  # of the last tenth to the second one, at most
MORE = {"resident": 2 << 20, "descriptors": 4, "threads": 2}  # and so much beyond


def mount(command: list[str]) -> None:
    """Raises CannotEndure."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotEndure(f"{' '.join(command)}: {getattr(error, 'stderr', '') or error}") from error


class CannotEndure(Exception):
    """Something that is needed is not to be had here."""


@contextlib.contextmanager
def file_system() -> Iterator[pathlib.Path]:
    """One of its own, that can stand still and be full. Raises CannotEndure."""
    with tempfile.TemporaryDirectory() as directory:
        image, at = pathlib.Path(directory, "image"), pathlib.Path(directory, "mounted")
        at.mkdir()
        with open(image, "wb") as file:
            file.truncate(IMAGE_BYTES)
        mount(["mkfs.ext4", "-q", "-m", "0", str(image)])
        mount(["mount", "-o", "loop", str(image), str(at)])
        try:
            yield at
        finally:
            subprocess.run(["umount", "--lazy", str(at)], check=False)


class Samples:
    """What a process uses, again and again."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, dict[str, int]]] = []

    def take(self, pid: int) -> None:
        lines = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        told = {
            line.split(":")[0]: line.split(":")[1].split()[0] for line in lines if line.startswith(("VmRSS", "Thr"))
        }
        used = {
            "resident": int(told["VmRSS"]) * 1024,
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": int(told["Threads"]),
        }
        self.rows.append((time.monotonic(), used))

    def slope(self, name: str) -> float:
        """Of a line through the samples behind the first tenth: an hour."""
        rows = self.rows[len(self.rows) // TENTH :]
        times, values = [at / 3600 for at, _ in rows], [used[name] for _, used in rows]
        middle, mean = sum(times) / len(times), sum(values) / len(values)
        spread = sum([(at - middle) ** 2 for at in times]) or 1.0
        return sum([(at - middle) * (value - mean) for at, value in zip(times, values, strict=True)]) / spread

    def ends(self, name: str) -> tuple[float, float]:
        """Means of the second and of the last tenth."""
        part = max(1, len(self.rows) // TENTH)
        early, late = self.rows[part : 2 * part] or self.rows, self.rows[-part:]
        means = [sum([used[name] for _, used in rows]) / len(rows) for rows in (early, late)]
        return means[0], means[1]

    def grown(self) -> list[str]:
        """What is not flat; nothing after a few samples: a process that has just begun grows."""
        found: list[str] = []
        if len(self.rows) < SAMPLES:
            return found
        for name, factor in GROWTH.items():
            early, late = self.ends(name)
            if late > early * factor + MORE[name]:
                found.append(f"{name} grew from {early:,.0f} to {late:,.0f}")
        return found


class Group:
    """Three members in hosts of a network; others come and go."""

    def __init__(self, directory: pathlib.Path, network: networks.Network, draw: random.Random) -> None:
        self.directory, self.network, self.draw = directory, network, draw
        self.judge, self.samples = Judge(), Samples()
        self.programs: dict[int, Program] = {}
        self.hosts = {1: 1, 2: 2, 3: 3}
        self.free = [4, 5]
        self.next = 4
        for id in self.hosts:
            raftx.FileStorage.create(self.path(id), id=id, members=self.urls(), segment_bytes=SEGMENT)
        for id in self.hosts:
            self.start(id)
        for id in self.hosts:
            self.programs[id].hear("begun")

    def path(self, id: int) -> pathlib.Path:
        return self.directory / str(id)

    def urls(self) -> dict[int, str]:
        return {id: f"tcp://10.99.0.{host}:{networks.PORT}" for id, host in self.hosts.items()}

    def start(self, id: int) -> None:
        """Begin a life."""
        urls = json.dumps({id: self.urls()[id]} if id > 3 else self.urls())
        settings = json.dumps({"election_ticks": 20, "proposal_timeout_ms": 5000})
        host = self.network.hosts[self.hosts[id]]
        self.programs[id] = Program(
            self.judge, str(self.path(id)), "--id", id, "--urls", urls, "--settings", settings, "--go", "--width", 4,
            "--rest", 4, "--transport", ("nng", "tcp")[id % 2], before=("ip", "netns", "exec", host),
        )  # fmt: skip

    def others(self) -> list[int]:
        return [id for id in self.programs if id != STAYS]

    # --- faults, each from its beginning to its end ------------------------------------------------------

    def kill(self) -> None:
        """One of them, or both, and another life a little later."""
        victims = self.draw.sample(self.others(), self.draw.choice((1, 1, 2)))
        for id in victims:
            self.programs.pop(id).kill()
        time.sleep(self.draw.random() * 0.5)
        for id in victims:
            self.start(id)
        for id in victims:
            self.programs[id].hear("begun")

    def pause(self) -> None:
        """Anybody stands still, for longer than an election at times."""
        program = self.programs[self.draw.choice(list(self.programs))]
        os.kill(program.process.pid, signal.SIGSTOP)
        try:
            time.sleep(self.draw.random() ** 2 * 2)
        finally:
            os.kill(program.process.pid, signal.SIGCONT)

    def cut(self) -> None:
        """Somebody is cut off, in one of all ways."""
        host = self.hosts[self.draw.choice(list(self.programs))]
        self.network.cut(host, self.draw.choice(networks.DIRECTIONS), self.draw.choice(networks.WAYS))
        try:
            time.sleep(self.draw.random() * 2)
        finally:
            self.network.heal()

    def stall(self) -> None:
        """The disk of all stands still."""
        subprocess.run(["fsfreeze", "--freeze", str(self.directory)], check=True)
        try:
            time.sleep(self.draw.random())
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", str(self.directory)], check=True)

    def full(self) -> None:
        """No room is left, for anybody; then there is again."""
        ballast = self.directory / "ballast"
        room = shutil.disk_usage(self.directory).free
        try:
            with contextlib.suppress(OSError), open(ballast, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, room)
            time.sleep(0.5 + self.draw.random() * 2)
        finally:
            ballast.unlink(missing_ok=True)

    def churn(self) -> None:
        """A new one comes, and one of the others goes."""
        id, host, self.next = self.next, self.free.pop(0), self.next + 1
        join = [self.urls()[STAYS]]
        self.hosts[id] = host
        raftx.FileStorage.create(self.path(id), id=id, join=join, segment_bytes=SEGMENT)
        gone = self.draw.choice(self.others())
        self.start(id)
        self.programs[id].hear("begun")
        self.change(f"add {id} {self.urls()[id]}")
        self.change(f"remove {gone}")
        program = self.programs.pop(gone)
        heard = program.hear("failed")
        assert heard.startswith("failed Removed"), heard
        program.end()
        self.free.append(self.hosts.pop(gone))
        shutil.rmtree(self.path(gone))

    def change(self, command: str) -> None:
        """Ask who stays, until it is done."""
        end = time.monotonic() + 3 * WAIT
        while True:
            answer = self.programs[STAYS].ask(command, "changed")
            if answer.startswith("changed done"):
                return
            assert time.monotonic() < end, f"{command}: {answer}"

    def look(self) -> None:
        """Everybody comes to rest, and has what was acknowledged; and who stays is measured."""
        self.judge.judge(settled(list(self.programs.values()), set(self.hosts)))
        self.samples.take(self.programs[STAYS].process.pid)
        for each in self.programs.values():
            each.tell("go")


FAULTS = ("kill", "pause", "cut", "stall", "full", "churn")


def run(seconds: float, seed: int) -> tuple[Group, Counter[str]]:
    """Raises AssertionError, CannotEndure."""
    if why := networks.missing():
        raise CannotEndure(why)
    for program in ("losetup", "mkfs.ext4", "fsfreeze"):
        if shutil.which(program) is None:
            raise CannotEndure(f"there is no {program}")
    draw, faults = random.Random(seed), Counter[str]()
    with file_system() as directory, networks.Network(HOSTS) as network:
        group = Group(directory, network, draw)
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for _ in range(AT_ONCE):
                    fault = draw.choice(FAULTS)
                    try:
                        getattr(group, fault)()
                    except Exception as error:
                        errors = {id: each.errors[-5:] for id, each in group.programs.items()}
                        raise AssertionError(f"{fault}: {type(error).__name__}: {error}; {errors}") from error
                    faults[fault] += 1
                    time.sleep(draw.random())
                group.look()
        finally:
            for program in group.programs.values():
                program.kill()
    return group, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        group, faults = run(options.seconds, options.seed)
    except CannotEndure as error:
        print(error, file=sys.stderr)
        return 2
    except AssertionError as error:
        print(error)
        return 1
    counts, samples = group.judge.counts, group.samples
    print(", ".join([f"{count} {fault}" for fault, count in sorted(faults.items())]))
    print(", ".join([f"{counts[name]:,} {name}" for name in ("done", "checked", "not", "unknown")]))
    for name in GROWTH:
        early, late = samples.ends(name)
        print(f"{name}: {early:,.0f} early, {late:,.0f} at the end, {samples.slope(name):+,.0f} an hour")
    grown = samples.grown()
    fine = f"nothing acknowledged is missing, nothing was done twice; {len(samples.rows)} samples"
    print("; ".join(grown) if grown else fine + (", and nothing grew" if len(samples.rows) >= SAMPLES else ""))
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
