"""Runs scenario files (scenarios.md) on raftx: ``python -m interop.scenarios FILE...`` prints the trace of each.

    python -m interop.scenarios tests/data/scenarios/*.json
    python -m interop.scenarios --compare tests/data/scenarios/*.json

With ``--compare`` the program around the raft crate runs the same files, and both traces are shown where they differ
(exit status 1). It is interop/raft-rs/src/bin/scenarios.rs, and prints the same bytes as this one: of a trace as of a
mistake in a file. A mistake ends either with status 2, and nothing is run.

No randomness and no clock. Messages go from member to member as frames; nothing is ever restarted, so nobody has a
disk.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import raftx

from .implementation import CLUSTER, Implementation, implementation
from .toolchains import BuildFailed, build_rust

ID_MAX = 2**63 - 1
NODES_MAX = 64
ELECTION_MAX = 100_000
HEARTBEAT_MAX = 10_000
COUNT_MAX = 2**31 - 1
ROUNDS = 1_000_000  # of one delivery, after which it counts as endless

FILES_AT_ONCE = 500  # on one command line
_LEADER = 2

#: The fields of each step besides ``op``
STEPS: dict[str, tuple[str, ...]] = {
    "campaign": ("node",),
    "tick": ("node", "count"),
    "tick_all": ("count",),
    "propose": ("node", "command"),
    "deliver": (),
    "isolate": ("nodes",),
    "heal": (),
}
NEEDS = ("name", "nodes", "election_ticks", "heartbeat_ticks", "steps")

Scenario = dict[str, Any]


class Mistake(Exception):
    """A file that is no scenario; the text says where and why."""


# --- files ---------------------------------------------------------------------------------------


def read(file: str | Path) -> Scenario:
    """The scenario in a file. Raises Mistake."""
    try:
        text = Path(file).read_bytes().decode()
        value = json.loads(text, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except OSError as error:
        raise Mistake(f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Mistake(f"not UTF-8: {error}") from error
    except (ValueError, RecursionError) as error:
        raise Mistake(f"not JSON: {error}") from error
    check(value)
    scenario: Scenario = value
    return scenario


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is no number")


def check(value: Any) -> None:
    """Raise Mistake unless this is a scenario."""
    if not isinstance(value, dict):
        raise Mistake("must be an object")
    _fields(value, NEEDS, ("check_quorum",))
    name = value["name"]
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise Mistake("name: must be of letters, digits, - and _, the first one a letter or a digit")
    nodes = _ids(value, "nodes")
    if len(nodes) > NODES_MAX:
        raise Mistake(f"nodes: must be at most {NODES_MAX}")
    heartbeat = _integer(value, "heartbeat_ticks", 1, HEARTBEAT_MAX)
    timeouts = value["election_ticks"]
    if not isinstance(timeouts, dict):
        raise Mistake("election_ticks: must be an object")
    for key in sorted(timeouts):
        if not re.fullmatch("[1-9][0-9]*", key):
            raise Mistake(f"election_ticks: {_quoted(key)} is not an id")
        _integer(timeouts, key, 1, ELECTION_MAX, "election_ticks.")
    for id in nodes:
        if str(id) not in timeouts:
            raise Mistake(f"election_ticks.{id}: missing")
        if timeouts[str(id)] <= heartbeat:
            raise Mistake(f"election_ticks.{id}: must be above heartbeat_ticks, which is {heartbeat}")
    if not isinstance(value.get("check_quorum", False), bool):
        raise Mistake("check_quorum: must be true or false")
    if not isinstance(value["steps"], list):
        raise Mistake("steps: must be a list")
    for number, step in enumerate(value["steps"], 1):
        _check_step(step, nodes, f"step {number}")


def _check_step(step: Any, nodes: list[int], at: str) -> None:
    if not isinstance(step, dict):
        raise Mistake(f"{at}: must be an object")
    if "op" not in step:
        raise Mistake(f"{at}: op: missing")
    op = step["op"]
    if not isinstance(op, str):
        raise Mistake(f"{at}: op: must be a string")
    if op not in STEPS:
        raise Mistake(f"{at}: op: {_quoted(op)} is not a step")
    at = f"{at} ({op}): "
    _fields(step, ("op", *STEPS[op]), (), at)
    for field in STEPS[op]:
        if field == "node":
            named = [_integer(step, field, 1, ID_MAX, at)]
        elif field == "nodes":
            named = _ids(step, field, at)
        elif field == "count":
            _integer(step, field, 0, COUNT_MAX, at)
            continue
        else:
            if not isinstance(step[field], str):
                raise Mistake(f"{at}{field}: must be a string")
            continue
        for id in named:
            if id not in nodes:
                raise Mistake(f"{at}{field}: {id} is not one of the nodes")


def _fields(value: dict[str, Any], needs: Sequence[str], takes: Sequence[str], at: str = "") -> None:
    for name in needs:
        if name not in value:
            raise Mistake(f"{at}{name}: missing")
    for name in sorted(value):
        if name not in needs and name not in takes:
            raise Mistake(f"{at}{name}: unknown field")


def _integer(value: dict[str, Any], field: str, low: int, high: int, at: str = "") -> int:
    number = value[field]
    if type(number) is not int or not low <= number <= high:
        raise Mistake(f"{at}{field}: must be an integer from {low} to {high}")
    return number


def _ids(value: dict[str, Any], field: str, at: str = "") -> list[int]:
    wrong = f"{at}{field}: must be a list of integers from 1 to {ID_MAX}"
    ids = value[field]
    if not isinstance(ids, list):
        raise Mistake(wrong)
    if not ids:
        raise Mistake(f"{at}{field}: must not be empty")
    if not all([type(id) is int and 1 <= id <= ID_MAX for id in ids]):
        raise Mistake(wrong)
    for place, id in enumerate(ids):
        if id in ids[:place]:
            raise Mistake(f"{at}{field}: {id} is there twice")
    return ids


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# --- running -------------------------------------------------------------------------------------


class Member:
    """One member: its library, what is on its way to it and what it has committed."""

    def __init__(self, impl: Implementation, id: int, scenario: Scenario) -> None:
        voters = tuple(sorted(scenario["nodes"]))
        self.id = id
        self.election: int = scenario["election_ticks"][str(id)]
        config = impl.Config(
            id=id,
            cluster=CLUSTER,
            election_ticks=self.election,
            heartbeat_ticks=scenario["heartbeat_ticks"],
            pre_vote=False,
            check_quorum=scenario.get("check_quorum", False),
            commit_by_vote=True,  # the raft crate always does
            max_inflight_bytes=impl.NO_LIMIT,
            max_uncommitted_bytes=impl.NO_LIMIT,
            max_waiting_bytes=impl.NO_LIMIT,
            max_apply_bytes=impl.NO_LIMIT,
            max_entry_bytes=1 << 30,
            seed=0,
        )
        self.raw = impl.RawNode(config, conf_state=impl.ConfState(voters=voters))
        self.codec = impl.Codec(CLUSTER, id)
        self.inbox: deque[bytes] = deque()
        self.committed: list[str] = []

    def tick(self) -> None:
        """One tick, with the election timeout that the file says and not a random one."""
        self.raw.core.randomized_timeout = self.election
        self.raw.tick()


class Cluster:
    """The members of a scenario, the network between them, and the steps."""

    def __init__(self, scenario: Scenario, package: ModuleType = raftx) -> None:
        self.impl = implementation(package)
        self.members = {id: Member(self.impl, id, scenario) for id in sorted(scenario["nodes"])}
        self.isolated: set[int] = set()

    def step(self, step: dict[str, Any]) -> None:
        """Do one step."""
        op = step["op"]
        if op == "deliver":
            self.deliver()
        elif op == "isolate":
            self.isolated = set(step["nodes"])
        elif op == "heal":
            self.isolated.clear()
        elif op == "tick_all":
            for _ in range(step["count"]):
                for member in self.members.values():
                    member.tick()
                    self._work_off(member)
        else:
            member = self.members[step["node"]]
            if op == "tick":
                for _ in range(step["count"]):
                    member.tick()
                    self._work_off(member)
                return
            if op == "campaign":
                member.raw.campaign()
            else:
                # Where nobody leads it is lost.
                with contextlib.suppress(self.impl.ProposalDropped):
                    member.raw.propose(step["command"].encode())
            self._work_off(member)

    def deliver(self) -> None:
        """Rounds until nothing is on its way: everybody takes the oldest message, then everybody works it off."""
        for _ in range(ROUNDS):
            took = []
            for member in self.members.values():
                if member.inbox:
                    # So is one that was passed on and arrives where nobody knows a leader.
                    with contextlib.suppress(self.impl.ProposalDropped):
                        member.raw.step(member.codec.decode(member.inbox.popleft())[0])
                    took.append(member)
            if not took:
                return
            for member in took:
                self._work_off(member)
        raise RuntimeError("it does not come to rest")

    def _work_off(self, member: Member) -> None:
        """Ready after Ready until there is none."""
        raw = member.raw
        isolated = self.isolated
        while raw.has_ready():
            ready = raw.ready()
            for m in ready.messages:
                # What crosses the border of the isolated is lost when it is sent, not when it would arrive.
                if (member.id in isolated) == (m.to in isolated):
                    self.members[m.to].inbox.append(member.codec.encode(m.to, [m]))
            # Without the first entry of each leader, which is empty.
            member.committed += [entry.data.decode() for entry in ready.committed_entries if entry.data]
            raw.advance()

    def leader(self) -> tuple[int, int]:
        """Who leads and the term, as traces tell it."""
        leader = term = 0
        for member in self.members.values():
            core = member.raw.core
            term = max(term, core.term)
            # The first leader counts with the term it has, a later one if nobody before it is ahead of it.
            if core.role == _LEADER and (leader == 0 or core.term == term):
                leader, term = member.id, core.term
        return leader, term


def run(scenario: Scenario, package: ModuleType = raftx) -> str:
    """The trace of a scenario that was checked."""
    cluster = Cluster(scenario, package)
    for step in scenario["steps"]:
        cluster.step(step)
    cluster.deliver()
    leader, term = cluster.leader()
    nodes = [{"id": member.id, "committed": member.committed} for member in cluster.members.values()]
    trace = {"name": scenario["name"], "leader": leader, "term": term, "nodes": nodes}
    return json.dumps(trace, indent=2, ensure_ascii=False) + "\n"


# --- the other side ------------------------------------------------------------------------------


def split(text: str) -> list[str]:
    """The traces in what a program printed."""
    return [f"{trace}\n}}\n" for trace in text.split("\n}\n")[:-1]]


def ask(program: Path, files: Sequence[str | Path]) -> list[str]:
    """The traces of the program around the raft crate."""
    traces = []
    for start in range(0, len(files), FILES_AT_ONCE):
        names = [str(file) for file in files[start : start + FILES_AT_ONCE]]
        done = subprocess.run([program, *names], capture_output=True, check=False)
        said = split(done.stdout.decode())
        if done.returncode or len(said) != len(names):
            raise RuntimeError(f"{program} ended with status {done.returncode}: {done.stderr.decode().strip()}")
        traces += said
    return traces


def compare(files: Sequence[str], ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Print how many agree, and both traces of those that do not. Returns the exit status."""
    different = 0
    for file, one, other in zip(files, ours, theirs):
        if one != other:
            different += 1
            print(f"{file}: they differ\nraftx:\n{one}the raft crate:\n{other}", end="")
    print(f"{len(files) - different} of {len(files)} scenarios agree")
    return 1 if different else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run scenario files on raftx.")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--compare", action="store_true", help="run them on the raft crate too (needs cargo)")
    options = parser.parse_args(arguments)
    scenarios = []
    for file in options.files:
        try:
            scenarios.append(read(file))
        except Mistake as mistake:
            print(f"{file}: {mistake}", file=sys.stderr)
    if len(scenarios) < len(options.files):
        return 2
    if not options.compare:
        for scenario in scenarios:
            sys.stdout.buffer.write(run(scenario).encode())
        return 0
    try:
        theirs = ask(build_rust("scenarios"), options.files)
    except BuildFailed as error:
        print(f"scenarios: {error}", file=sys.stderr)
        return 2
    return compare(options.files, [run(scenario) for scenario in scenarios], theirs)


if __name__ == "__main__":
    sys.exit(main())
