"""A replicated text on three processes, two of which are killed on the way: what ``raftx demo`` runs.

The text is that of a file or of standard input; else source files of Python's standard library. Every line is one
command. This process is the client:
it sends the lines, kills the leader after a third of them, restarts it from its log after half, does
the same with a follower after two thirds, stops everything, starts everything again from disk, and
compares what each node holds with the input, line by line.

``demo`` returns what came out: whether anything that was acknowledged is lost, there twice or out of order, and whether
all digests agree. No process and no file stays behind, whatever happens.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from ..config import Config
from ..storage.paths import check_foreign
from .client import Sender, readable
from .display import Display, table
from .processes import Cluster, Life
from .store import OVERHEAD, Text, check, standard_library

NODES = 3
LINE_MAX = Config.max_entry_bytes - OVERHEAD
SILENCE_S = 5.0  # a pipe nobody asked for and nobody writes into is no input
CATCH_UP_S = 60.0  # without any progress


class Refused(Exception):
    """The demo cannot begin; the text says why."""


class Interrupted(Exception):
    """A signal asked us to end; the argument is its number."""


class Signals:
    """Notes signals instead of being interrupted just anywhere; ``check``, called often, raises Interrupted.

    So a process is either not yet started or known to the cluster, and cleaning up is not interrupted.
    """

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.received = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        self.before = {number: signal.signal(number, self._note) for number in self.NUMBERS}
        return self

    def _note(self, number: int, frame: object) -> None:
        self.received = self.received or number

    def check(self) -> None:
        if self.received:
            raise Interrupted(self.received)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)


# --- what is asked for -------------------------------------------------------------------------------


def read_input(name: str | None) -> Text:
    """The text to replicate. Raises Refused."""
    try:
        if name == "-" or (name is None and is_piped()):
            if sys.stdin is None:
                raise Refused("standard input is closed")
            return Text(sys.stdin.buffer.read())
        if name is not None:
            return Text(Path(name).read_bytes())
        return standard_library()
    except OSError as error:
        raise Refused(f"cannot read {name or 'the input'}: {error.strerror or error}") from error


def is_piped() -> bool:
    """Whether standard input was redirected to a file or a pipe; a pipe that stays silent does not count."""
    try:
        descriptor = sys.stdin.fileno()
        mode = os.fstat(descriptor).st_mode
    except (AttributeError, OSError, ValueError):  # closed
        return False
    if stat.S_ISREG(mode):
        return True
    if not stat.S_ISFIFO(mode):
        return False
    if readable(descriptor, SILENCE_S):
        return True
    sys.stderr.write("raftx: standard input is silent and not used (- would wait for it)\n")
    return False


def check_request(text: Text, name: str | None, save: str | None) -> None:
    """Raises Refused for what would fail only later."""
    number = text.longer_than(LINE_MAX)
    if number:
        size = len(text[number])
        raise Refused(f"line {number:,} has {size:,} bytes; the limit is {LINE_MAX:,} (Config.max_entry_bytes)")
    if save is not None:
        check_foreign(save, "the result", Refused)
        try:
            if name not in (None, "-") and os.path.exists(save) and os.path.samefile(name, save):
                raise Refused(f"cannot write {save}: it is the input")
            check_writable(Path(save))
        except OSError as error:
            raise Refused(f"cannot write {save}: {error.strerror or error}") from error


def check_writable(path: Path) -> None:
    """Raises OSError when the file could not be written; leaves no trace."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return  # a pipe or a device: opening it would do something
    existed = path.exists()
    with open(path, "ab"):
        pass
    if not existed:
        path.unlink()


# --- the run -----------------------------------------------------------------------------------------


@dataclass
class Result:
    """What came out, in the names and units of the JSON file.

    leader_changes: how often the acknowledgements went over to a later term. failover_ms: from killing
    the leader to the first acknowledgement of a later term. lines_per_s: from the first line sent to the
    last one acknowledged, with all failures in between. commit_*_us: from sending a line to its
    acknowledgement. wal_bytes, syncs: of all nodes together, over their lives; mean_batch: entries
    written in one sync. lost, duplicated, out_of_order: lines, added up over the nodes.
    """

    lines: int
    acknowledged: int = 0
    lost: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    leader_changes: int = 0
    failover_ms: float | None = None
    lines_per_s: float | None = None
    commit_p50_us: int | None = None
    commit_p99_us: int | None = None
    wal_bytes: int = 0
    syncs: int = 0
    mean_batch: float | None = None
    digests: dict[str, str] = field(default_factory=dict)
    input_digest: str = ""
    compiled: bool = False
    problem: str = field(default="", metadata={"json": False})

    def as_json(self) -> str:
        values = {name: value for name, value in vars(self).items() if name != "problem"}
        return json.dumps(values, indent=2) + "\n"

    def as_table(self) -> str:
        units = {"failover_ms": "ms", "commit_p50_us": "us", "commit_p99_us": "us"}
        rows = []
        for name, value in vars(self).items():
            if name in ("problem", "digests", "input_digest"):
                continue
            shown = "-" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
            if isinstance(value, bool):
                shown = "yes" if value else "no"
            rows.append((name.removesuffix(f"_{units.get(name)}").replace("_", " "), f"{shown} {units.get(name, '')}"))
        rows += [(f"digest of node {id}", digest) for id, digest in self.digests.items()]
        rows.append(("digest of the input", self.input_digest))
        return table(rows)


class Demo:
    """One run."""

    def __init__(self, text: Text, directory: Path, signals: Signals, stream: TextIO) -> None:
        self.text = text
        self.signals = signals
        self.display = Display(stream, len(text))
        self.cluster = Cluster(directory, NODES, self.tick)
        self.sender = Sender(text, self.cluster.nodes, self.cluster.leader, self.tick)
        self.killed: Life | None = None  # the leader

    def tick(self) -> None:
        """Called whenever something is waited for."""
        self.signals.check()
        self.cluster.check()
        self.display.update(self.sender.acknowledged, self.cluster.statuses())

    def say(self, text: str) -> None:
        self.display.event(text)

    def where(self) -> str:
        sender = self.sender
        return f"{sender.acknowledged:,} lines acknowledged and {sender.sent - sender.acknowledged:,} in flight"

    def run(self) -> Result:
        """Everything. Raises Failed, GaveUp, Interrupted."""
        cluster, sender, total = self.cluster, self.sender, len(self.text)
        # Each step at least a line behind the one before, if there are as many.
        third = total // 3
        half = min(total, max(total // 2, third + 1))
        two_thirds = min(total, max(total * 2 // 3, half + 1))

        cluster.found_all()
        cluster.start_all()
        result = Result(total, compiled=all(life.compiled for life in cluster.lives.values()))
        self.say(f"started {', '.join(map(str, cluster.lives.values()))}")
        sender.advance(third)
        leader = self.kill_leader()
        sender.advance(half)
        self.restart(leader)
        sender.advance(two_thirds)
        follower = self.kill_follower(leader)
        sender.advance(max(two_thirds, total * 3 // 4))
        self.restart(follower)
        sender.advance(total)
        sender.close()

        cluster.wait_until_ready()
        cluster.stop_all()
        self.say("stopped all nodes; starting them again from what is on disk")
        cluster.start_all()
        self.wait_until_applied()
        self.say("every node has applied its log; comparing line by line")
        self.compare(result)
        cluster.stop_all()
        self.measure(result)
        self.display.close()
        return result

    def kill_leader(self) -> int:
        """With lines in flight: what becomes of them is unknown, and the sender has to find out."""
        leader = self.cluster.wait_for_leader()
        self.sender.fill()
        self.killed = self.cluster.kill(leader)
        term = self.killed.status["term"]
        self.say(f"killed {self.killed}, the leader of term {term}, {self.where()}")
        return leader

    def kill_follower(self, before: int) -> int:
        # Two of three must run: lines go on until the node that was restarted is there, but not for ever.
        enough = len(self.text) * 3 // 4
        while not self.cluster.ready() and self.sender.acknowledged < enough:
            self.sender.advance(self.sender.acknowledged + 1)
        self.cluster.wait_until_ready()
        leader = self.cluster.wait_for_leader()
        # Rather not the one that was killed before: now what that one has in its log must do for a majority.
        follower = min(set(self.cluster.ids) - {leader}, key=lambda id: (id == before, id))
        self.sender.fill()
        self.say(f"killed {self.cluster.kill(follower)}, a follower, {self.where()}")
        return follower

    def restart(self, id: int) -> None:
        self.cluster.start(id)
        self.say(f"restarted {self.cluster.lives[id]} from its log, {self.where()}")

    def wait_until_applied(self) -> None:
        """Until every node has applied everything, its leader's newest entry included; or nothing moves any more."""
        moved, before = time.monotonic(), [0]
        while time.monotonic() < moved + CATCH_UP_S:
            self.cluster.wait_for_leader()
            statuses = list(self.cluster.statuses().values())
            applied = [status["applied"] for status in statuses]
            if len({status[key] for status in statuses for key in ("last", "commit", "applied")}) == 1:
                return
            if applied != before:
                moved, before = time.monotonic(), applied
            self.tick()
            time.sleep(0.02)

    def compare(self, result: Result) -> None:
        """What each node holds with what was sent. The first problem is kept in words."""
        result.input_digest = self.text.digest()
        result.acknowledged = self.sender.acknowledged
        problems = []
        for id in self.cluster.ids:
            findings = check(self.text, result.acknowledged, self.cluster.held(id))
            result.lost += findings.lost
            result.duplicated += findings.duplicated
            result.out_of_order += findings.out_of_order
            result.digests[str(id)] = digest = self.cluster.lives[id].ask()["digest"]
            misplaced = self.cluster.total("misplaced", [id])
            if misplaced:
                result.duplicated += misplaced
                findings.found(f"{misplaced:,} entries were applied twice or out of order")
            if not findings.problem and digest != result.input_digest:
                findings.found(f"the lines are right, but the digest is {digest}")
            if findings.problem:
                problems.append(f"node {id}: {findings.problem}")
        result.problem = "; ".join(problems)

    def measure(self, result: Result) -> None:
        """How long it took and what it wrote."""
        sender, total = self.sender, self.cluster.total
        result.leader_changes = max(0, len(sender.first_answer) - 1)
        if self.killed is not None:
            later = [at for term, at in sender.first_answer.items() if term > self.killed.status["term"]]
            if later:
                result.failover_ms = round((min(later) - self.killed.ended) * 1000, 1)
        seconds = sender.last_acknowledged_at - sender.first_sent_at
        if seconds > 0:
            result.lines_per_s = round(result.acknowledged / seconds, 1)
        result.commit_p50_us, result.commit_p99_us = sender.latency(0.5), sender.latency(0.99)
        result.wal_bytes, result.syncs = total("wal_bytes"), total("syncs")
        if result.syncs:
            result.mean_batch = round(total("wal_entries") / result.syncs, 1)


def demo(text: Text, stream: TextIO) -> Result:
    """Run it in a directory of its own, and leave nothing behind. stream: where it shows how it goes.

    Raises Failed, GaveUp, Interrupted.
    """
    with Signals() as signals, tempfile.TemporaryDirectory(prefix="raftx-demo-") as directory:
        run = Demo(text, Path(directory), signals, stream)
        try:
            return run.run()
        finally:
            run.sender.close()
            run.cluster.close()
