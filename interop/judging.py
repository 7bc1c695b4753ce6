"""Differences between raftx and an oracle: finding them, shrinking what leads to them, and showing them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import raftx

from .allowed import Difference, Rule, allowed
from .cluster import Cluster, run
from .cluster_member import Packet
from .oracle import Head, OracleDied, Steps
from .quiet import run_quiet

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
QUIET_STATE = ("id", "term", "vote", "lead", "role", "commit", "applied", "sum", "conf")


def first_difference(ours: Sequence[str], theirs: Sequence[str]) -> int | None:
    """The first step whose answers differ; a step that only one side answered does."""
    for number, (one, other) in enumerate(zip(ours, theirs)):
        if one != other:
            return number
    return None if len(ours) == len(theirs) else min(len(ours), len(theirs))


class Judge:
    """Both sides of a comparison, in full: for differences, once one is known to exist."""

    #: what runs a schedule on raftx
    run: Callable[..., list[str]] = staticmethod(run)
    #: settings of members that a schedule is not shrunk by
    kept = frozenset(("id", "voters", "start", "election"))

    def __init__(self, ask: Callable[[Head, Steps], list[str]], package: ModuleType = raftx) -> None:
        self.ask = ask
        self.package = package
        self.asked = 0

    def both(self, head: Head, steps: Steps) -> tuple[list[str], list[str]]:
        """The answers of raftx, and the other side's."""
        self.asked += 1
        return self.run(head, steps, self.package), self.ask(head, steps)

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

    def _elections_at_once(self, head: Head, symbols: list[Symbol]) -> list[Symbol]:
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
        return symbols

    def _fewer_steps(self, head: Head, symbols: list[Symbol]) -> list[Symbol]:
        symbols = self._elections_at_once(head, symbols)
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
        names = sorted({name for node in head["nodes"] for name in node} - self.kept)
        for name in names:
            nodes = [{key: value for key, value in node.items() if key != name} for node in head["nodes"]]
            candidate = {**head, "nodes": nodes}
            fewer = self._try(candidate, symbols)
            if fewer is not None:
                head, symbols = candidate, fewer
        return head, symbols


class QuietJudge(Judge):
    """The same for quiet schedules, whose differences may be chosen ones."""

    run = staticmethod(run_quiet)
    kept = Judge.kept | {"commit_by_vote"}  # raft-rs does it always

    def rule(self, head: Head, steps: Steps, ours: Sequence[str], theirs: Sequence[str]) -> Rule | None:
        """What allows the first difference of two lists of answers that differ."""
        at = first_difference(ours, theirs)
        assert at is not None
        if at >= min(len(ours), len(theirs)):
            return None
        return allowed(Difference(head, steps, at, ours, theirs, self.both))

    def difference(self, head: Head, steps: Steps) -> int | None:
        """The first step that differs and may not."""
        try:
            ours, theirs = self.both(head, steps)
            at = first_difference(ours, theirs)
            return None if at is None or self.rule(head, steps, ours, theirs) is not None else at
        except (OracleDied, self.package.RaftError):
            return None  # members that nobody could start with

    def _symbols(self, head: Head, steps: Steps) -> list[Symbol]:
        return [(step, None) for step in steps]

    def _places(self, head: Head, symbols: list[Symbol]) -> tuple[Steps, list[int]]:
        return [step for step, _ in symbols], list(range(len(symbols)))

    def _elections_at_once(self, head: Head, symbols: list[Symbol]) -> list[Symbol]:
        return symbols


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
    if len(ours.split("|")) == 3:
        return _explain_quiet(ours, theirs)
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


def _explain_quiet(ours: str, theirs: str) -> list[str]:
    lines = []
    result, reads, states = ours.split("|")
    its_result, its_reads, its_states = theirs.split("|")
    for name, one, other in (("result", result, its_result), ("reads", reads, its_reads)):
        if one != other:
            lines.append(f"    {name}: raftx {one or '-'}   oracle {other or '-'}")
    for one, other in zip(states.split(";"), its_states.split(";")):
        if one == other:
            continue
        words, others = one.split(" "), other.split(" ")
        if len(words) == len(others) == len(QUIET_STATE):
            for name, word, its in zip(QUIET_STATE, words, others):
                if word != its:
                    lines.append(f"    {words[0]} {name}: raftx {word}   oracle {its}")
        else:
            lines.append(f"    raftx  {one}")
            lines.append(f"    oracle {other}")
    return lines
