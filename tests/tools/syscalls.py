"""System calls that fail, or in which the process is killed: a real member under strace.

    python -m tests.tools.syscalls [--only errors,written,received,beside] [--calls pwrite64,fsync,...]

*errors*: a member alone writes, rotates, snapshots and compacts, while the n-th call of a kind fails in each of its
threads. It goes on or ends; started again without faults it has what it had acknowledged. *written*: it is killed in
the n-th call of a kind while a snapshot is written. *received*: one of three members, which is so far behind that it is
sent a snapshot, is killed in the n-th call of a kind while that is received and installed; then it comes back.
*beside*: likewise, and calls fail instead: the others go on. No file that was not finished is ever taken for a
snapshot. Prints a table; exits with 1 when something is lost, with 2 where
there is no strace.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter

import raftx
from tests.helpers.ports import ports
from tests.helpers.programs import WAIT, Program, look
from tests.helpers.writer import Judge, Kept, make_node

SEGMENT = 64 << 10
CALLS = ("pwrite64", "fdatasync", "fsync", "openat", "renameat", "linkat", "unlinkat", "fallocate")
ERRORS = ("EIO", "ENOSPC")
ALONE = json.dumps({"snapshot_entries": 20})
SECONDS = 1.0  # of writing under faults
PLACES = (*range(1, 9), 12, 20, 35, 60)  # of calls that fail: the first ones are of the opening


class CannotTrace(Exception):
    """There is no strace, or it may not trace."""


def check_strace() -> None:
    """Raises CannotTrace."""
    if shutil.which("strace") is None:
        raise CannotTrace("there is no strace")
    done = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotTrace(f"strace does not work here: {done.stderr.strip()}")


def traced(directory: str, call: str, what: str) -> tuple[str, ...]:
    """The command that lets a call of those in ``directory`` go wrong."""
    where = ("-P", directory) if call == "openat" else ()
    return (
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        *where,
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:{what}",
    )


def leftovers(directory: str) -> list[str]:
    """Files that were not finished."""
    return [each.name for each in pathlib.Path(directory).iterdir() if each.name.endswith(".new")]


# --- a member alone -----------------------------------------------------------------------------------


def one_error(directory: pathlib.Path, call: str, error: str, nth: int, seconds: float = SECONDS) -> str:
    """What the member did about it: "went on", or what it ended with. Raises AssertionError when something is lost."""
    path = str(directory / f"{call}-{error}-{nth}")
    raftx.FileStorage.create(path, id=1, members=[1], segment_bytes=SEGMENT)
    judge = Judge()
    # What it has from a life without faults must be there, too.
    program = Program(judge, path, "--go", "--settings", ALONE)
    while judge.counts["done"] < 30:
        program.hear("done")
    program.kill()
    program = Program(judge, path, "--go", "--settings", ALONE, before=traced(path, call, f"error={error}:when={nth}"))
    result = "went on"
    try:
        program.hear("begun")
        program.process.wait(seconds)
    except subprocess.TimeoutExpired:
        program.tell("stop")
    except EOFError:
        assert any(line.startswith("failed") for line in program.said), f"it did not begin: {program.errors[-3:]}"
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.end(20)
    if program.process.poll() is None:
        program.kill()
        raise AssertionError(f"{call} {error} {nth}: it neither goes on nor ends")
    for line in program.said:
        if line.startswith("failed"):
            result = line.split(" ")[1].rstrip(":")
            assert result in ("StorageFailed", "StorageError"), line
    finish(judge, path)
    return result


def finish(judge: Judge, path: str) -> None:
    """Start it without faults, and hold it against what was said."""
    state = look(raftx, path)
    assert not state["doubt"], state["doubt"]
    judge.judge([state])
    assert not leftovers(path), leftovers(path)


def errors(directory: pathlib.Path, calls: tuple[str, ...], nth: tuple[int, ...]) -> Counter[str]:
    """Each call, each error, each place."""
    counts: Counter[str] = Counter()
    for call in calls:
        for error in ERRORS:
            for each in nth:
                counts[one_error(directory, call, error, each)] += 1
                counts["runs"] += 1
    return counts


def killed_while_writing(directory: pathlib.Path, calls: tuple[str, ...], most: int) -> Counter[str]:
    """While one snapshot is written: in the first call of each kind, the second one, and so on."""
    counts: Counter[str] = Counter()
    path = str(directory / "written")
    raftx.FileStorage.create(path, id=1, members=[1], segment_bytes=SEGMENT)
    judge = Judge()
    for call in calls:
        for nth in range(1, most + 1):
            program = Program(judge, path, "--go", "--settings", json.dumps({"snapshot_entries": 0}))
            for _ in range(10):
                program.hear("done")
            program.ask("pause", "paused")
            time.sleep(0.1)  # the mark is synced
            where = ["-P", path] if call == "openat" else []
            strace = subprocess.Popen(
                ["strace", "-f", "-o", "/dev/null", *where, "-e", f"trace={call}"]
                + ["-e", f"inject={call}:signal=KILL:when={nth}", "-p", str(program.process.pid)],
                stderr=subprocess.PIPE,
                text=True,
            )
            assert strace.stderr is not None
            line = strace.stderr.readline()
            if "attached" not in line:
                program.kill()
                raise CannotTrace(f"strace cannot attach: {line.strip()}")
            time.sleep(0.05)
            end = time.monotonic() + WAIT
            killed = False
            try:
                # A member that is idle makes calls, too.
                before = program.state()["snapshot"]["made"]
                program.tell("snapshot")
                while program.state()["snapshot"]["made"] == before:
                    assert time.monotonic() < end
                    time.sleep(0.01)
            except EOFError:
                killed = True
                code = program.process.wait(WAIT)
                assert code == -signal.SIGKILL, f"it ended with {code}: {program.errors[-3:]}"
            program.kill()
            strace.wait(WAIT)
            strace.stderr.close()
            finish(judge, path)
            counts["runs"] += 1
            counts["killed"] += killed
            if not killed:
                break
    return counts


# --- one of three ---------------------------------------------------------------------------------------


class Two:
    """Two members in this process, and one that is started as a program now and then: it is always far behind."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.urls = {id: f"tcp://127.0.0.1:{port}" for id, port in enumerate(ports(3), 1)}
        self.path = str(directory / "1")
        self.settings = json.dumps({"snapshot_entries": 20, "keep_entries": 0, "max_log_bytes": 0})
        self.machines = {id: Kept() for id in (2, 3)}
        self.nodes = {}
        self.count = 0
        for id in self.urls:
            raftx.FileStorage.create(directory / str(id), id=id, members=self.urls, segment_bytes=SEGMENT)
        for id in (2, 3):
            self.nodes[id] = make_node(raftx, str(directory / str(id)), self.machines[id], id, self.urls, self.settings)
            self.nodes[id].start()

    def leader(self) -> raftx.Node:
        end = time.monotonic() + WAIT
        while True:
            for node in self.nodes.values():
                assert node.failure is None, node
                if node.is_leader:
                    return node
            assert time.monotonic() < end, "no leader"
            time.sleep(0.01)

    def write(self, judge: Judge, entries: int) -> None:
        """Until so many are done."""
        while entries:
            self.count += 1
            value = f"two/{self.count}"
            try:
                done = self.leader().propose(value.encode() + b" ").result(10)
            except raftx.NotDone:
                judge.heard(f"not {value}")
            except raftx.Unknown:
                pass
            else:
                judge.heard(f"done {value} {done.index}")
                entries -= 1

    def program(self, judge: Judge, before: tuple[str, ...] = ()) -> Program:
        urls = json.dumps(self.urls)
        return Program(judge, self.path, "--urls", urls, "--settings", self.settings, before=before)

    def agree(self, judge: Judge, program: Program) -> dict:
        """The third member comes to the same state."""
        end = time.monotonic() + WAIT
        while True:
            states = [program.state(), *[machine.state() for machine in self.machines.values()]]
            if len({state["chain"] for state in states}) == 1:
                judge.judge(states)
                return states[0]
            assert time.monotonic() < end, f"it has applied up to {states[0]['applied']}"
            time.sleep(0.02)

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()


def killed_while_receiving(directory: pathlib.Path, calls: tuple[str, ...], most: int) -> Counter[str]:
    """While a snapshot is fetched and the log begins anew behind it, likewise."""
    counts: Counter[str] = Counter()
    two, judge = Two(directory), Judge()
    program = None
    try:
        for call in calls:
            for nth in range(1, most + 1):
                two.write(judge, 45)
                program = two.program(judge, traced(two.path, call, f"signal=KILL:when={nth}"))
                killed = False
                try:
                    program.hear("begun")
                    two.agree(judge, program)
                except EOFError:
                    killed = True
                    code = program.end()
                    assert code == -signal.SIGKILL, f"it ended with {code}: {program.errors[-3:]}"
                    program = two.program(judge)
                    program.hear("begun")
                    two.agree(judge, program)
                counts["fetched afterwards" if killed else "fetched"] += 1
                program.kill()
                assert not leftovers(two.path) or not killed, leftovers(two.path)
                counts["runs"] += 1
                counts["killed"] += killed
                if not killed:
                    break
    finally:
        if program is not None:
            with contextlib.suppress(OSError, ValueError):
                program.kill()
        two.close()
    return counts


def failing_beside(directory: pathlib.Path, calls: tuple[str, ...], nth: tuple[int, ...]) -> Counter[str]:
    """Calls of one member fail; the others go on, and it comes back with all that was acknowledged."""
    counts: Counter[str] = Counter()
    two, judge = Two(directory), Judge()
    program = None
    try:
        for call in calls:
            for each in nth:
                two.write(judge, 45)
                error = ERRORS[counts["runs"] % len(ERRORS)]
                program = two.program(judge, traced(two.path, call, f"error={error}:when={each}"))
                try:
                    program.hear("begun")
                    two.write(judge, 60)
                    two.agree(judge, program)
                    counts["went on"] += 1
                except EOFError:
                    program.end()
                    failed = [line.split(" ")[1].rstrip(":") for line in program.said if line.startswith("failed")]
                    assert failed and failed[0] in ("StorageFailed", "StorageError"), program.errors[-3:]
                    counts[failed[0]] += 1
                    program = two.program(judge)
                    program.hear("begun")
                    two.write(judge, 5)
                    two.agree(judge, program)
                program.kill()
                counts["runs"] += 1
    finally:
        if program is not None:
            with contextlib.suppress(OSError, ValueError):
                program.kill()
        two.close()
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--most", type=int, default=60, help="places at which a member is killed, at most")
    parser.add_argument("--only", default="errors,written,received,beside")
    parser.add_argument("--calls", default=",".join(CALLS))
    options = parser.parse_args()
    calls = tuple(options.calls.split(","))
    logging.getLogger("raftx").setLevel(logging.ERROR)  # members that are not there are what this is about
    wrong = 0
    try:
        check_strace()
        for what in options.only.split(","):
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as name:
                directory = pathlib.Path(name)
                try:
                    if what == "errors":
                        counts = errors(directory, calls, PLACES)
                    elif what == "written":
                        counts = killed_while_writing(directory, calls, options.most)
                    elif what == "received":
                        counts = killed_while_receiving(directory, calls, options.most)
                    else:
                        counts = failing_beside(directory, calls, PLACES)
                except AssertionError as error:
                    print(f"{what:<10} {error}", flush=True)
                    wrong += 1
                    continue
            seconds = time.monotonic() - began
            told = ", ".join([f"{count:,} {name}" for name, count in sorted(counts.items())])
            print(f"{what:<10} {told}, {seconds:.0f} s", flush=True)
    except CannotTrace as error:
        print(f"system calls cannot be made to fail here: {error}", file=sys.stderr)
        return 2
    print("nothing acknowledged is missing" if not wrong else f"{wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
