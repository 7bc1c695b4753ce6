"""What the schedules of the parity judge reach in raftx, measured interpreted.

    python -m interop.reach [--seeds 1..300] [--steps 200] [--least 0.9]

Prints which kinds of messages were sent and stepped, roles, states of progress and results there were, and which
lines and branches of raftx/consensus no schedule came to; without the functions named in ELSEWHERE and the lines that
raise Corruption or UsageError. Exits 1 when the share is below ``--least``. Needs the package coverage.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONSENSUS = ROOT / "raftx" / "consensus"

# What no scenario can come to: raft-rs's options, and what only the engine or the tests call.
ELSEWHERE = (
    "applied_to", "ask_snapshot", "assign_commit_groups", "batched", "begin_group", "bootstrap", "change_refusal",
    "check", "check_conf_state", "clear_commit_groups", "collect", "enable_group_commit", "encode",
    "group_commit_consistent", "group_committed", "group_committed_index", "hold_storage_response",
    "joint_group_committed_index", "load", "_member", "ping", "_progress", "py_committed_index", "py_install",
    "py_is_change", "py_load", "py_places", "py_read", "py_vote_result", "recount_commit", "release", "__repr__",
    "request_snapshot", "send_snapshot_request", "set_batch_append", "set_check_quorum", "set_max_apply_bytes",
    "set_max_inflight", "set_priority", "set_randomized_timeout", "set_skip_bcast_commit", "snapshot_wanted", "split",
    "status", "step_down", "waits_for_disk",
)  # fmt: skip

ROLES = ("follower", "candidate", "leader", "pre-candidate")
PROGRESS = ("probe", "replicate", "snapshot")


class Reach:
    """Counts of what there was in some schedules."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.stepped: Counter[str] = Counter()
        self.roles: Counter[str] = Counter()
        self.progress: Counter[str] = Counter()
        self.results: Counter[str] = Counter()
        self.steps: Counter[str] = Counter()
        #: in how many schedules something happened
        self.happened: Counter[str] = Counter()
        self.schedules = 0

    def run(self, seed: int, steps: int, package: ModuleType) -> None:
        """Generate one schedule and count."""
        from .generate import Generator

        names: dict[int, str] = sys.modules[package.__name__ + ".types"].MESSAGE_NAMES
        generator = Generator(seed, steps, package)
        taken = generator.do

        def do(*step: Any) -> str:
            # Counted before the step: it takes the message out of the network.
            if step[0] == "deliver" and step[1] < len(generator.network):
                self.stepped[names[generator.network[step[1]].kind]] += 1
            return taken(*step)

        generator.do = do  # type: ignore[method-assign]
        generator.run()
        self.schedules += 1
        happened = set()
        leaders = set()
        starts = {member.id: member.spec["start"] for member in generator.members}
        for step, answer in zip(generator.steps, generator.answers):
            result, ready, sent, state = answer.split("|")
            self.steps[step[0]] += 1
            self.results[result] += 1
            for kind in sent.replace("{", " ").replace("}", " ").split():
                number = kind.split(",", 1)[0]
                if number.isdecimal() and kind.count(",") > 9:
                    self.sent[names[int(number)]] += 1
            if "reads=" in ready:
                happened.add("a read is answered")
            if "snap=" in ready:
                happened.add("a snapshot is installed")
            if step[0] in ("restart", "crash", "compact", "snapshot") and result == "ok":
                happened.add(step[0])
            if result == "panic":
                happened.add("a panic")
            if not state:
                continue
            words = state.split(" ")
            self.roles[ROLES[int(words[4])]] += 1
            if words[4] == "2":
                happened.add("a leader is elected")
                leaders.add((words[0], words[1]))
                if words[8] != "0":
                    happened.add("a transfer is under way")
                for peer in words[25].split(";") if words[25] != "-" else ():
                    self.progress[PROGRESS[int(peer.split(",")[4])]] += 1
            if words[23].split("/")[1]:
                happened.add("a joint configuration")
            if int(words[11]) > max(starts.values()) + 5:
                happened.add("more than 5 entries are committed")
        if any([len(member.confs) > 1 for member in generator.members]):
            happened.add("a membership change is applied")
        if len(leaders) > 1:
            happened.add("several leaders are elected")
        self.happened.update(happened)

    def lines(self) -> list[str]:
        """What there was, and what there was not."""
        from raftx.types import LOCAL_KINDS, MESSAGE_NAMES, MSG_REFUSED

        wire = [name for kind, name in MESSAGE_NAMES.items() if kind not in LOCAL_KINDS and kind != MSG_REFUSED]
        lines = [f"{self.schedules} schedules, {sum(self.steps.values()):,} steps"]
        lines += [f"  {name}: {count / self.schedules:.0%}" for name, count in self.happened.most_common()]
        for title, counter, expected in (
            ("messages sent", self.sent, wire),
            ("messages stepped", self.stepped, wire),
            ("roles", self.roles, ROLES),
            ("progress of a leader's peers", self.progress, PROGRESS),
            ("results", self.results, ("ok", "dropped", "unknown", "lost", "nothing")),
            ("steps", self.steps, ()),
        ):
            lines.append(f"{title}: " + ", ".join([f"{name} {count:,}" for name, count in counter.most_common()]))
            missing = [name for name in expected if not counter[name]]
            if missing:
                lines.append(f"  never: {', '.join(missing)}")
        return lines


def spans(numbers: Sequence[int]) -> str:
    """``[1, 2, 3, 7]`` as ``1-3, 7``."""
    out: list[list[int]] = []
    for number in numbers:
        if out and out[-1][1] == number - 1:
            out[-1][1] = number
        else:
            out.append([number, number])
    return ", ".join([f"{first}-{last}" if last > first else str(first) for first, last in out])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. 1: too little was reached."""
    parser = argparse.ArgumentParser(prog="python -m interop.reach", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", default="1..300", metavar="A..B", help="default: 1..300")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--least", type=float, default=0.9, help="share of lines and branches (default: 0.9)")
    options = parser.parse_args(arguments)
    try:
        from coverage import Coverage
    except ImportError:
        print("reach: the package coverage is missing: pip install coverage", file=sys.stderr)
        return 2
    # The copy that is measured is loaded while coverage looks: its definitions count too.
    coverage = Coverage(branch=True, include=[str(CONSENSUS / "*.py")], data_file=None, config_file=False)
    coverage.exclude(rf"^\s*def ({'|'.join(ELSEWHERE)})\(")
    coverage.exclude(r"raise (Corruption|UsageError)\(")
    coverage.start()
    from raftx import _pure

    package = _pure.load()
    first, _, last = options.seeds.partition("..")
    reach = Reach()
    begin = time.perf_counter()
    for seed in range(int(first), int(last or first) + 1):
        reach.run(seed, options.steps, package)
    coverage.stop()
    print("\n".join(reach.lines()))
    print(f"{time.perf_counter() - begin:.0f} s")
    reached = total = 0
    for path in sorted(CONSENSUS.glob("*.py")):
        analysis = coverage._analyze(str(path))
        numbers = analysis.numbers
        if not numbers.n_statements:
            continue
        there = numbers.n_executed + numbers.n_executed_branches
        of = numbers.n_statements + numbers.n_branches
        reached += there
        total += of
        print(f"{path.name:16} {there / of:7.1%}  lines never reached: {spans(sorted(analysis.missing)) or 'none'}")
        branches = [
            f"{line}->{'exit' if to < 0 else to}"
            for line, targets in sorted(analysis.missing_branch_arcs().items())
            for to in targets
            if line not in analysis.missing
        ]
        if branches:
            print(f"{'':24}  branches never taken: {', '.join(branches)}")
    print(f"left out, since no scenario can come to them: {', '.join(sorted(ELSEWHERE))}")
    share = reached / total
    print(f"{share:.1%} of the lines and branches that a scenario can reach are (at least {options.least:.0%})")
    return 0 if share >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
