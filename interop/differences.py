"""For each chosen difference from raft-rs the shortest schedule that was found to show it, with both answers.

    python -m interop.differences --seeds 1..60000

writes them to tests/data/golden/differences.json, where the tests find them; run by hand when the rules or the
generator change. A rule that no schedule shows has no place in the list.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import raftx

from .allowed import RULES, Rule
from .comparisons import COMPARISONS, GOLDEN
from .judging import QuietJudge, first_difference
from .oracle import Head, Oracle, OracleDied, Steps
from .parity import seeds_of

PATH = GOLDEN / "differences.json"
TRIES = 3  # schedules that are shrunk for each rule


class RuleJudge(QuietJudge):
    """Looks for what one rule allows."""

    def __init__(self, wanted: Rule, oracle: Oracle) -> None:
        super().__init__(oracle.ask, raftx)
        self.wanted = wanted

    def difference(self, head: Head, steps: Steps) -> int | None:
        """The first step that differs, if it is this rule that allows it."""
        try:
            ours, theirs = self.both(head, steps)
        except (OracleDied, raftx.RaftError):
            return None
        at = first_difference(ours, theirs)
        if at is None or at >= min(len(ours), len(theirs)):
            return None
        return at if self.rule(head, steps, ours, theirs) is self.wanted else None


def record(rule: Rule, head: Head, steps: Steps, oracle: Oracle) -> dict[str, Any]:
    """A schedule, what both sides answer at its end, and whatever else the rule asks the oracle."""
    asked: list[tuple[Steps, list[str]]] = []

    def ask(head: Head, steps: Steps) -> list[str]:
        answers = oracle.ask(head, steps)
        asked.append((list(steps), answers))
        return answers

    judge = QuietJudge(ask, raftx)
    ours, theirs = judge.both(head, steps)
    assert judge.rule(head, steps, ours, theirs) is rule
    return {"rule": rule.name, "head": head, "steps": steps, "ours": ours, "asked": asked}


def collect(seeds: Iterable[int], oracle: Oracle) -> dict[str, dict[str, Any]]:
    """The shortest schedule for each rule."""
    comparison = COMPARISONS["rust"]
    judge = QuietJudge(oracle.ask, raftx)
    found: dict[str, dict[str, Any]] = {}
    tries: dict[str, int] = {}
    for seed in seeds:
        head, steps, ours = comparison.schedule(seed, comparison.steps, raftx)
        theirs = oracle.ask(head, steps)
        at = first_difference(ours, theirs)
        if at is None:
            continue
        rule = judge.rule(head, steps, ours, theirs)
        if rule is None or tries.get(rule.name, 0) >= TRIES:
            continue
        tries[rule.name] = tries.get(rule.name, 0) + 1
        head, steps = RuleJudge(rule, oracle).shrink(head, steps[: at + 1])
        known = found.get(rule.name)
        if known is None or len(steps) < len(known["steps"]):
            found[rule.name] = record(rule, {**head, "name": rule.name}, steps, oracle)
        if all([tries.get(each.name, 0) >= TRIES for each in RULES]):
            break
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 1: there are rules that no schedule shows."""
    parser = argparse.ArgumentParser(prog="python -m interop.differences", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=seeds_of, default=range(1, 60001), metavar="A..B")
    options = parser.parse_args(arguments)
    oracle = Oracle([str(COMPARISONS["rust"].build())])
    try:
        found = collect(options.seeds, oracle)
    finally:
        oracle.close()
    lines = [json.dumps(found[rule.name], separators=(",", ":")) for rule in RULES if rule.name in found]
    PATH.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    missing = [rule.name for rule in RULES if rule.name not in found]
    for name in missing:
        print(f"no schedule shows: {name}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
