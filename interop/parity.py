"""The parity judge: random schedules on raftx and on another Raft, compared after every step.

    python -m interop.parity --seeds 1..1000 [--steps 200] [--jobs 2] [--interpreted]
    python -m interop.parity --replay build/parity/seed-17.jsonl

The other side is an oracle: a command that speaks the session of protocol.md. Without ``--oracle`` it is the harness
around etcd's Raft, built when its sources are newer. The first difference stops the run: the schedule is shrunk to
the fewest steps that still differ, shown, and written to a file that ``--replay`` runs again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from queue import Empty
from types import ModuleType
from typing import Any

import raftx
from raftx import _pure

from .cluster import Cluster, Packet, run, scenarios
from .generate import schedule

ROOT = Path(__file__).resolve().parent.parent
GO_SOURCES = ROOT / "interop" / "etcd-raft"
GO_HARNESS = ROOT / "build" / "etcd-raft"
FOUND = ROOT / "build" / "parity"

REPORT_EVERY = 10  # schedules between two words of a worker to its parent
PROGRESS_S = 5.0
# The sums of a scenario must fit in a pipe while the next scenario is written.
PIPELINED_STEPS = 4000

Head = dict[str, Any]
Steps = list[list[Any]]
# A step, and the message that it is about
Symbol = tuple[list[Any], "Packet | None"]
OF_MESSAGES = ("deliver", "drop", "duplicate", "move")

# What the words of a state are, in the order of protocol.md.
STATE = (
    "id", "term", "vote", "lead", "role", "election_elapsed", "heartbeat_elapsed", "timeout", "transferee",
    "pending_conf_index", "uncommitted_bytes", "committed", "applying", "applied", "first", "last", "last_term",
    "stable", "writing", "snapshot_index", "snapshot_writing", "apply_paused", "has_ready", "conf", "votes",
    "progress", "reads", "storage",
)  # fmt: skip


class OracleDied(Exception):
    """The oracle ended instead of answering; the text is what it said last."""


class BuildFailed(Exception):
    """The oracle could not be built."""


# --- the other side ------------------------------------------------------------------------------


def build_go(go: str | None = None) -> list[str]:
    """The command of the harness around etcd's Raft, compiled when its sources are newer. Raises BuildFailed."""
    sources = [*GO_SOURCES.glob("*.go"), GO_SOURCES / "go.mod"]
    if not GO_SOURCES.is_dir():
        raise BuildFailed(f"{GO_SOURCES} is missing")
    newest = max([path.stat().st_mtime for path in sources])
    if not GO_HARNESS.exists() or GO_HARNESS.stat().st_mtime < newest:
        tool = go or shutil.which("go") or "/usr/local/go/bin/go"
        if shutil.which(tool) is None:
            raise BuildFailed(f"the go command is missing ({tool}): install Go, or say where it is: --go PATH")
        GO_HARNESS.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [tool, "build", "-o", str(GO_HARNESS), "."], cwd=GO_SOURCES, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BuildFailed(f"go build failed:\n{done.stderr}")
    return [str(GO_HARNESS)]


class Oracle:
    """A harness in a process of its own. What it says on standard error is shown when it dies."""

    _encode = json.JSONEncoder(separators=(",", ":")).encode

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )

    def send(self, head: Head, steps: Steps, full: bool = False) -> None:
        """Give it a scenario."""
        encode = self._encode
        end = ["end", "full"] if full else ["end"]
        lines = "\n".join([encode(head), *[encode(step) for step in steps], encode(end), ""])
        stdin = self._process.stdin
        assert stdin is not None
        try:
            stdin.write(lines.encode())
            stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def receive(self) -> str:
        """Its line about the oldest scenario that has none yet."""
        stdout = self._process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line.endswith(b"\n"):
            raise self._died()
        return line[:-1].decode()

    def ask(self, head: Head, steps: Steps) -> list[str]:
        """The full answers of a scenario."""
        self.send(head, steps, full=True)
        answers: list[str] = json.loads(self.receive())
        return answers

    def _died(self) -> OracleDied:
        self._process.kill()
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read()[-2000:].decode(errors="replace").strip()
        return OracleDied(f"{shlex.join(self.command)} ended with status {self._process.returncode}: {said}")

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


# --- comparing -----------------------------------------------------------------------------------


def first_difference(ours: Sequence[str], theirs: Sequence[str]) -> int | None:
    """The first step whose answers differ; a step that only one side answered does."""
    for number, (one, other) in enumerate(zip(ours, theirs)):
        if one != other:
            return number
    return None if len(ours) == len(theirs) else min(len(ours), len(theirs))


def sums(answers: Iterable[str]) -> str:
    """The line that stands for answers: their checksums, back to back."""
    return "".join([f"{zlib.crc32(answer.encode()):08x}" for answer in answers])


class Judge:
    """Both sides of a comparison, in full: for differences, once one is known to exist."""

    def __init__(self, ask: Callable[[Head, Steps], list[str]], package: ModuleType = raftx) -> None:
        self.ask = ask
        self.package = package
        self.asked = 0

    def both(self, head: Head, steps: Steps) -> tuple[list[str], list[str]]:
        """The answers of raftx, and the other side's."""
        self.asked += 1
        return run(head, steps, self.package), self.ask(head, steps)

    def difference(self, head: Head, steps: Steps) -> int | None:
        """The first step that differs. A scenario that the oracle refuses to run is no difference."""
        try:
            return first_difference(*self.both(head, steps))
        except OracleDied:
            return None

    def shrink(self, head: Head, steps: Steps) -> tuple[Head, Steps]:
        """The fewest steps, members and settings found that still differ (delta debugging, greedy).

        A step about a message names it by what it is and not by its place: it means the same when others are gone.
        """
        if self.difference(head, steps) is None:
            raise ValueError("the schedule does not differ")
        symbols = self._symbols(head, steps)
        small = self._try(head, symbols)
        if small is None:
            return head, steps  # the order in the network matters, which names do not keep
        while True:
            before = (len(small), json.dumps(head))
            head, small = self._fewer_members(head, small)
            head, small = self._fewer_settings(head, small)
            small = self._fewer_steps(head, small)
            if (len(small), json.dumps(head)) == before:
                return head, self._places(head, small)[0]

    def _symbols(self, head: Head, steps: Steps) -> list[Symbol]:
        cluster = Cluster(head, self.package)
        symbols: list[Symbol] = []
        for step in steps:
            packet = None
            if step[0] in OF_MESSAGES and step[1] < len(cluster.network):
                packet = cluster.network[step[1]]
            # Who is delivered by name needs no move.
            if step[0] != "move":
                symbols.append((step, packet))
            cluster.step(step)
            if cluster.over:
                break
        return symbols

    def _places(self, head: Head, symbols: list[Symbol]) -> tuple[Steps, list[int]]:
        """The steps that the symbols mean now, and which symbol each of them came from."""
        cluster = Cluster(head, self.package)
        steps: Steps = []
        origins = []
        for number, (step, packet) in enumerate(symbols):
            if packet is not None:
                place = _find(cluster.network, packet)
                if place is None:
                    continue
                step = [step[0], place]
            elif step[0] in OF_MESSAGES or step[1] not in cluster.members:
                continue
            steps.append(step)
            origins.append(number)
            cluster.step(step)
            if cluster.over:
                break
        return steps, origins

    def _try(self, head: Head, symbols: list[Symbol]) -> list[Symbol] | None:
        """The symbols up to the first step that differs, without those that mean nothing; None when none differs."""
        if not symbols:
            return None
        try:
            steps, origins = self._places(head, symbols)
        except self.package.RaftError:
            return None  # members that nobody could start with
        last = self.difference(head, steps)
        return None if last is None else [symbols[number] for number in origins[: last + 1]]

    def _fewer_steps(self, head: Head, symbols: list[Symbol]) -> list[Symbol]:
        for number in range(len(symbols) - 1, -1, -1):
            # Time that only brings an election can be had in one step.
            step = symbols[number][0]
            if step[0] == "tick" and number < len(symbols):
                first = number
                while first and symbols[first - 1][0] == step:
                    first -= 1
                if first < number:
                    campaign: list[Symbol] = [(["campaign", step[1]], None)]
                    symbols = self._try(head, symbols[:first] + campaign + symbols[number + 1 :]) or symbols
        size = max(1, len(symbols) // 2)
        while True:
            at = len(symbols)
            while at > 0:
                # From the end: what comes late is needed least to get anywhere.
                fewer = self._try(head, symbols[: max(0, at - size)] + symbols[at:])
                if fewer is not None:
                    at = min(at, len(fewer) + size)
                    symbols = fewer
                at -= size
            if size == 1:
                return symbols
            size = (size + 1) // 2 if size > 2 else 1

    def _fewer_members(self, head: Head, symbols: list[Symbol]) -> tuple[Head, list[Symbol]]:
        sets = ("voters", "outgoing", "learners", "learners_next")
        ids = {node["id"] for node in head["nodes"]}
        named = {id for node in head["nodes"] for key in sets for id in node.get(key, ())}
        for id in sorted(ids | named, reverse=True):
            rest = [each for each in head["nodes"] if each["id"] != id]
            without = [
                {key: [x for x in value if x != id] if key in sets else value for key, value in each.items()}
                for each in rest
            ]
            # Gone from the configurations too, or only from the world.
            for nodes in (without, rest):
                candidate = {**head, "nodes": nodes}
                fewer = self._try(candidate, symbols) if nodes and candidate != head else None
                if fewer is not None:
                    head, symbols = candidate, fewer
                    break
        return head, symbols

    def _fewer_settings(self, head: Head, symbols: list[Symbol]) -> tuple[Head, list[Symbol]]:
        names = sorted({name for node in head["nodes"] for name in node} - {"id", "voters", "start", "election"})
        for name in names:
            nodes = [{key: value for key, value in node.items() if key != name} for node in head["nodes"]]
            candidate = {**head, "nodes": nodes}
            fewer = self._try(candidate, symbols)
            if fewer is not None:
                head, symbols = candidate, fewer
        return head, symbols


def _find(network: Sequence[Packet], packet: Packet) -> int | None:
    """Where a message is: the same one, or else one of its kind between the same two."""
    for place, other in enumerate(network):
        if other.frame == packet.frame:
            return place
    for place, other in enumerate(network):
        if (other.kind, other.sender, other.to) == (packet.kind, packet.sender, packet.to):
            return place
    return None


# --- showing -------------------------------------------------------------------------------------


def explain(ours: str, theirs: str) -> list[str]:
    """Where two answers differ: lines of a name and what either side says."""
    lines = []
    parts = ("result", "ready", "sent", "state")
    for part, one, other in zip(parts, ours.split("|"), theirs.split("|")):
        if one == other:
            continue
        words, others = one.split(" "), other.split(" ")
        if part == "state" and len(words) == len(others) == len(STATE):
            for name, word, its in zip(STATE, words, others):
                if word != its:
                    lines.append(f"    {name}: raftx {word}   oracle {its}")
        else:
            lines.append(f"    {part}: raftx  {one}")
            lines.append(f"    {' ' * len(part)}  oracle {other}")
    return lines


def show(steps: Steps, ours: Sequence[str], theirs: Sequence[str], *, all_steps: bool) -> str:
    """The steps of a scenario with a mark and both answers where they differ."""
    lines = []
    for number, step in enumerate(steps):
        one = ours[number] if number < len(ours) else "(none)"
        other = theirs[number] if number < len(theirs) else "(none)"
        same = one == other
        lines.append(f"{' ' if same else '*'} {number:4} {json.dumps(step)}")
        if same and all_steps:
            lines.append(f"         {one}")
        if not same:
            lines.append(f"  raftx  {one}")
            lines.append(f"  oracle {other}")
            lines += explain(one, other)
            if not all_steps:
                break
    return "\n".join(lines)


def write_scenario(path: Path, head: Head, steps: Steps) -> None:
    """A file that ``--replay`` runs, and any harness on its standard input."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join([json.dumps(line) + "\n" for line in (head, *steps, ["end", "full"])]))


def replay(path: Path, command: Sequence[str], package: ModuleType) -> int:
    """Run a file on both sides and print every step. 0: they agree."""
    oracle = Oracle(command)
    status = 0
    try:
        with path.open() as lines:
            for head, steps, _ in scenarios(lines):
                judge = Judge(oracle.ask, package)
                ours, theirs = judge.both(head, steps)
                print(f"{head.get('name', path.name)}: {json.dumps(head)}")
                print(show(steps[: max(len(ours), len(theirs))], ours, theirs, all_steps=True))
                if first_difference(ours, theirs) is not None:
                    status = 1
    finally:
        oracle.close()
    return status


def report(seed: int, steps: int, command: Sequence[str], package: ModuleType) -> None:
    """Shrink the schedule of a seed that differs, print it and write it to a file."""
    head, taken, _ = schedule(seed, steps, package)
    oracle = Oracle(command)

    def ask(head: Head, steps: Steps) -> list[str]:
        nonlocal oracle
        try:
            return oracle.ask(head, steps)
        except OracleDied:
            oracle.close()
            oracle = Oracle(command)
            raise

    judge = Judge(ask, package)
    try:
        if judge.difference(head, taken) is None:
            judge.both(head, taken)  # raises when the oracle dies of it
            print(f"seed {seed}: no difference when it is run alone")
            return
        small, fewer = judge.shrink(head, taken)
        ours, theirs = judge.both(small, fewer)
    except OracleDied as error:
        path = FOUND / f"seed-{seed}.jsonl"
        write_scenario(path, head, taken)
        print(f"seed {seed}: {error}\n{path} has the schedule")
        return
    finally:
        oracle.close()
    path = FOUND / f"seed-{seed}.jsonl"
    write_scenario(path, small, fewer)
    print(f"seed {seed}: shrunk from {len(taken)} to {len(fewer)} steps ({judge.asked} runs)")
    print(json.dumps(small))
    print(show(fewer, ours, theirs, all_steps=False))
    print(f"replay it: python -m interop.parity --replay {os.path.relpath(path)}")


# --- many ----------------------------------------------------------------------------------------


def compare(
    seeds: Iterable[int],
    steps: int,
    oracle: Oracle,
    package: ModuleType,
    tell: Callable[[str, Any], bool],
    keep_going: bool = False,
) -> None:
    """Compare the schedules of some seeds. ``tell`` hears of progress and differences, and says whether to go on."""
    waiting: tuple[int, int, str] | None = None
    count = total = 0

    def settle() -> bool:
        nonlocal waiting, count, total
        if waiting is None:
            return True
        (seed, taken, expected), waiting = waiting, None
        line = oracle.receive()
        count += 1
        total += taken
        if line == expected:
            if count == REPORT_EVERY:
                done, count, total = (count, total), 0, 0
                return tell("done", done)
            return True
        pairs = [[text[at : at + 8] for at in range(0, len(text), 8)] for text in (expected, line)]
        return tell("difference", (seed, first_difference(*pairs))) and keep_going

    try:
        for seed in seeds:
            head, taken, answers = schedule(seed, steps, package)
            if steps > PIPELINED_STEPS and not settle():
                return
            oracle.send(head, taken)
            if not settle():
                return
            waiting = (seed, len(taken), sums(answers))
        settle()
    except OracleDied as error:
        tell("died", (seed if waiting is None else waiting[0], str(error)))
    finally:
        tell("done", (count, total))


def _worker(
    seeds: range, steps: int, command: list[str], interpreted: bool, queue: Any, stop: Any, keep_going: bool
) -> None:
    package = _pure.load() if interpreted else raftx

    def tell(kind: str, value: Any) -> bool:
        queue.put((kind, value))
        return not stop.is_set()

    oracle = Oracle(command)
    try:
        compare(seeds, steps, oracle, package, tell, keep_going)
    except BaseException as error:
        queue.put(("failed", f"{type(error).__name__}: {error}"))
        raise
    finally:
        oracle.close()
        queue.put(("end", None))


def judge_many(
    seeds: range, steps: int, jobs: int, command: list[str], interpreted: bool, keep_going: bool
) -> tuple[int, int, list[tuple[int, int]], list[str]]:
    """(schedules, steps, differing seeds with their first differing step, failures) of many seeds on several cores."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    stop = context.Event()
    workers = [
        context.Process(
            target=_worker, args=(seeds[job::jobs], steps, command, interpreted, queue, stop, keep_going), daemon=True
        )
        for job in range(jobs)
    ]
    for worker in workers:
        worker.start()
    begin = shown = time.perf_counter()
    running = len(workers)
    schedules = total = 0
    differing: list[tuple[int, int]] = []
    failures: list[str] = []
    while running:
        try:
            kind, value = queue.get(timeout=1.0)
        except Empty:
            if not any([worker.is_alive() for worker in workers]) and queue.empty():
                failures.append("a worker ended without a word")
                break
            continue
        if kind == "done":
            schedules += value[0]
            total += value[1]
        elif kind == "difference":
            differing.append(value)
            if keep_going:
                print(f"seed {value[0]} differs at step {value[1]}", flush=True)
            else:
                stop.set()
        elif kind == "died":
            failures.append(f"seed {value[0]}: {value[1]}")
            stop.set()
        elif kind == "failed":
            failures.append(value)
            stop.set()
        else:
            running -= 1
        now = time.perf_counter()
        if now - shown > PROGRESS_S:
            shown = now
            print(f"{schedules:,} schedules, {total:,} steps, {schedules / (now - begin):.1f} schedules/s", flush=True)
    for worker in workers:
        worker.join(timeout=10)
    return schedules, total, sorted(differing), failures


def seeds_of(text: str) -> range:
    """``"3..9"``: 3 to 9, both included; ``"7"``: that one."""
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 0: all agree; 1: a difference; 2: it could not be run."""
    parser = argparse.ArgumentParser(prog="python -m interop.parity", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=seeds_of, default=range(1, 1001), metavar="A..B", help="default: 1..1000")
    parser.add_argument("--steps", type=int, default=200, help="steps of a schedule (default: 200)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--go", metavar="PATH", help="the go command that builds etcd's harness")
    parser.add_argument("--oracle", type=shlex.split, metavar="COMMAND", help="another harness to compare with")
    parser.add_argument("--interpreted", action="store_true", help="run raftx interpreted")
    parser.add_argument("--keep-going", action="store_true", help="name all seeds that differ, shrink the first one")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run a file instead, and show all of it")
    options = parser.parse_args(arguments)
    package = _pure.load() if options.interpreted else raftx
    try:
        command = options.oracle or build_go(options.go)
    except BuildFailed as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2
    if options.replay is not None:
        return replay(options.replay, command, package)
    jobs = max(1, min(options.jobs, len(options.seeds)))
    begin = time.perf_counter()
    schedules, steps, differing, failures = judge_many(
        options.seeds, options.steps, jobs, command, options.interpreted, options.keep_going
    )
    took = time.perf_counter() - begin
    mode = "compiled" if package.COMPILED else "interpreted"
    print(
        f"{schedules:,} schedules, {steps:,} steps, {len(differing)} different, "
        f"{schedules / took:.1f} schedules/s ({mode}, {jobs} jobs)"
    )
    for failure in failures:
        print(f"parity: {failure}", file=sys.stderr)
    if differing:
        report(differing[0][0], options.steps, command, package)
        return 1
    return 2 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
