"""The core's speed beside raft-rs and etcd/raft, measured in one run.

    python bench/core_compare.py [--rounds N] [--quick] [--json FILE]

Every round asks every side for every case, one after the other and in an order that rotates: what disturbs the
machine for a while disturbs all sides. Times are medians over the rounds; a ratio is formed within each round. A side
whose compiler is missing is left out, and told. What the cases are stands in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from interop import toolchains

RUST, GO, LOOP, PYTHON, PURE = "raft-rs", "etcd/raft", "raftx", "RawNode", "interpreted"
#: What the first answer of a program may take, and every other one beyond what it measures, in seconds.
PATIENCE = 120.0

SIZES = (0, 16, 256, 4096, 65536)
MEMBERS = (3, 5, 7)


@dataclass(frozen=True)
class Case:
    """One thing to measure. ``asked`` is what the programs are given."""

    name: str
    title: str
    asked: Mapping[str, Any]
    #: the most nanoseconds that the loop shall take; 0: no such goal
    most: int = 0


def log(size: int, batch: int = 1, entries: int = 1) -> dict[str, int]:
    """How long the logs become: 1,024 entries, or 16 MiB, stay behind the applied index when it is twice as far.

    Nothing is measured before that has happened, operations being of so many ``entries``.
    """
    keep = min(1024, (16 << 20) // max(size, 1))
    return {"size": size, "batch": batch, "keep": keep, "warm": 3 * keep // entries}


def text(size: int) -> str:
    """A payload's size for people."""
    return f"{size} B" if size < 1024 else f"{size >> 10} KiB"


def cases() -> list[Case]:
    """Everything that is measured, in the order of the table."""
    out = []
    for kind, what, sizes in (("one", "one voter", SIZES), ("three", "three voters", (16, 256))):
        for size in sizes:
            for batch in (1, 64):
                out.append(
                    Case(
                        f"{kind}-{size}-{batch}",
                        f"{what}, {text(size)}, {batch} a Ready",
                        {"case": kind, **log(size, batch)},
                        300 if kind == "one" and size <= 256 else 0,
                    )
                )
    for size in (16, 256):
        for batch, count in ((1, "1 entry"), (64, "64 entries")):
            asked = {"case": "append", **log(size, batch, batch)}
            out.append(Case(f"append-{size}-{batch}", f"step, an append of {count}, {text(size)}", asked))
    asked = {"case": "ack", "voters": 3, **log(256)}
    out.append(Case("ack-3", "step, an acknowledgement that commits, 3 voters", asked))
    out.append(Case("heartbeat", "step, a heartbeat", {"case": "heartbeat", **log(0)}))
    out.append(Case("ready", "a heartbeat, its Ready, advance", {"case": "ready", **log(0)}))
    for kind, what in (("campaign", "campaign"), ("commit", "commit index"), ("vote", "vote result")):
        for voters in MEMBERS:
            asked = {"case": kind, "voters": voters, **log(0)}
            out.append(Case(f"{kind}-{voters}", f"{what} of {voters}", asked))
    return out


# --- sides -------------------------------------------------------------------------------------------


class SideFailed(Exception):
    """A side gave no answer, or its results were wrong; the text says what it said."""


class Side:
    """A program that answers cases, for one round."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.process = subprocess.Popen(
            command,
            cwd=toolchains.ROOT, env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, case: Case, seconds: float, patience: float = PATIENCE) -> dict[str, Any]:
        """Measure one case. Raises SideFailed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        line = b""
        try:
            self.process.stdin.write(json.dumps({**case.asked, "seconds": seconds}).encode() + b"\n")
            self.process.stdin.flush()
            # An answer is one short line, so nothing of it stays behind in the stream's buffer.
            answers = select.poll()
            answers.register(self.process.stdout, select.POLLIN)
            if answers.poll(patience * 1000):
                line = self.process.stdout.readline()
        except BrokenPipeError:
            pass
        if not line:
            self.process.kill()
            _, errors = self.process.communicate()
            raise SideFailed(f"{self.name}, {case.name}: no answer\n{errors.decode(errors='replace')[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the program."""
        self.process.kill()
        self.process.communicate()


#: How a side is started: its command, and what it has in its environment.
Start = tuple[list[str], dict[str, str]]


def commands(rust: Path | None, go: Path | None) -> tuple[dict[str, Start], list[str]]:
    """How each side is started, and what is to be said of those that are missing."""
    out: dict[str, Start] = {}
    missing = []
    for name, given in ((RUST, rust), (GO, go)):
        try:
            if given is None and name == RUST:
                given = toolchains.build_rust("bench")
            elif given is None:
                program = toolchains.GO_HARNESS.with_name("etcd-raft-bench")
                given = toolchains.build_go(package="./bench", program=program)
            out[name] = ([str(given)], {})
        except toolchains.BuildFailed as error:
            missing.append(f"{name} is left out: {error}")
    own = [sys.executable, str(Path(__file__).resolve()), "--serve"]
    import raftx

    if raftx.COMPILED:
        out[LOOP] = ([*own, LOOP], {"RAFTX_PURE": ""})
        out[PYTHON] = ([*own, PYTHON], {"RAFTX_PURE": ""})
    else:
        missing.append("raftx is not compiled here: only its interpreted form is measured")
    out[PURE] = ([*own, PURE], {"RAFTX_PURE": "1"})
    return out, missing


def serve(side: str) -> None:
    """Be one of raftx's sides."""
    from bench import core_sides

    core_sides.serve("python" if side == PYTHON else "loop", side != PURE)


#: Cases that a side does not have: RawNode does not count votes but by way of everything else.
WITHOUT = {PYTHON: ("commit", "vote")}


def has(side: str, case: Case) -> bool:
    """Whether a side takes part in a case."""
    return case.asked["case"] not in WITHOUT.get(side, ())


def rotated(names: Sequence[str], by: int) -> list[str]:
    """The same names, beginning with another one."""
    at = by % len(names) if names else 0
    return [*names[at:], *names[:at]]


def run(
    sides: Mapping[str, Start],
    chosen: Sequence[Case],
    rounds: int,
    seconds: float,
) -> list[dict[str, dict[str, dict[str, Any]]]]:
    """All rounds: for each of them the answers by case and side. Raises SideFailed."""
    out = []
    for number in range(rounds):
        answers: dict[str, dict[str, dict[str, Any]]] = {}
        started: list[Side] = []
        try:
            for name, (command, env) in sides.items():
                started.append(Side(name, command, env))
            by_name = {side.name: side for side in started}
            for at, case in enumerate(chosen):
                order = [name for name in rotated(list(sides), number + at) if has(name, case)]
                answers[case.name] = {name: by_name[name].ask(case, seconds) for name in order}
                same_work(case, answers[case.name])
        finally:
            for side in started:
                side.close()
        out.append(answers)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return out


def same_work(case: Case, answers: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise SideFailed unless every side has sent as many messages for an operation, or come to the same result."""
    for key in {key for answer in answers.values() for key in answer["work"]}:
        values = {name: float(answer["work"].get(key, 0)) for name, answer in answers.items()}
        if max(values.values()) > 1.01 * min(values.values()):
            raise SideFailed(f"{case.name}: not the same {key} an operation: {values}")


# --- statistics --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """Median and spread of a ratio that was formed in each round."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{number(self.middle)}x ({number(self.low)}-{number(self.high)})"


def number(value: float) -> str:
    """Two digits at least, and no more than anybody believes."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def ratio(over: Iterable[float], under: Iterable[float]) -> Ratio:
    """How often ``under`` goes into ``over``, round by round."""
    each = [a / b for a, b in zip(over, under, strict=True)]
    return Ratio(median(each), min(each), max(each))


@dataclass(frozen=True)
class Goal:
    """A ratio that is reported, and what it shall be at least."""

    title: str
    over: str
    under: str
    least: float


GOALS = (
    Goal("raft-rs/raftx", RUST, LOOP, 1.0),
    Goal("etcd/raftx", GO, LOOP, 2.0),
    Goal("interpreted/compiled", PURE, LOOP, 30.0),
)


@dataclass(frozen=True)
class Line:
    """One case: the median of each side in nanoseconds, the ratios, and which goals it misses."""

    case: Case
    medians: Mapping[str, float]
    ratios: Mapping[str, Ratio]
    missed: Sequence[str]


def summarize(chosen: Sequence[Case], rounds: Sequence[Mapping[str, Any]]) -> list[Line]:
    """The table's lines."""
    out = []
    for case in chosen:
        times: dict[str, list[float]] = {}
        for answers in rounds:
            for name, answer in answers[case.name].items():
                times.setdefault(name, []).append(answer["ns"])
        medians = {name: median(values) for name, values in times.items()}
        ratios, missed = {}, []
        for goal in GOALS:
            if goal.over in times and goal.under in times:
                found = ratios[goal.title] = ratio(times[goal.over], times[goal.under])
                if found.middle < goal.least:
                    missed.append(f"{goal.title} is {number(found.middle)}, not {goal.least:g}")
        if case.most and LOOP in medians and medians[LOOP] > case.most:
            missed.append(f"{medians[LOOP]:,.0f} ns, not {case.most}")
        out.append(Line(case, medians, ratios, missed))
    return out


def table(lines: Sequence[Line], markdown: bool) -> str:
    """The lines as text, or as Markdown; sides that no line has are left out."""
    sides = [name for name in (RUST, GO, LOOP, PYTHON, PURE) if any([name in line.medians for line in lines])]
    goals = [goal.title for goal in GOALS if any([goal.title in line.ratios for line in lines])]
    rows = [["ns", *sides, *goals]]
    for line in lines:
        times = [f"{line.medians[name]:,.0f}" if name in line.medians else "-" for name in sides]
        rows.append([line.case.title, *times, *[str(line.ratios.get(goal, "-")) for goal in goals]])
    if markdown:
        out = [f"| {' | '.join(row)} |" for row in rows]
        return "\n".join([out[0], "|---" * len(rows[0]) + "|", *out[1:]])
    wide = [max([len(row[column]) for row in rows]) for column in range(len(rows[0]))]
    out = []
    for title, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, wide[1:], strict=True)]
        out.append("  ".join([title.ljust(wide[0]), *cells]))
    return "\n".join(out)


def load() -> str:
    """What else the machine does."""
    one, five, fifteen = os.getloadavg()
    return f"load {one:.2f} {five:.2f} {fifteen:.2f}, {os.cpu_count()} cores"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=0.1, help="measured for each case, default: 0.1")
    parser.add_argument("--quick", action="store_true", help="two short rounds: whether it works, not how fast")
    parser.add_argument("--cases", metavar="TEXT", default="", help="only cases whose name begins with this")
    parser.add_argument("--json", metavar="FILE", help="write all answers of all rounds")
    parser.add_argument("--rust", metavar="PROGRAM", type=Path, help="built elsewhere from interop/raft-rs")
    parser.add_argument("--go", metavar="PROGRAM", type=Path, help="built elsewhere from interop/etcd-raft/bench")
    parser.add_argument("--serve", choices=(LOOP, PYTHON, PURE), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    rounds, seconds = (2, 0.02) if options.quick else (options.rounds, options.seconds)
    chosen = [case for case in cases() if case.name.startswith(options.cases)]
    if rounds < 1 or not chosen:
        parser.error("nothing to measure")
    sides, missing = commands(options.rust, options.go)
    for each in missing:
        print(each, file=sys.stderr, flush=True)
    before = load()
    try:
        answers = run(sides, chosen, rounds, seconds)
    except SideFailed as error:
        raise SystemExit(str(error)) from None
    lines = summarize(chosen, answers)
    head = f"{rounds} rounds of {seconds:g} s a case; {before} before, {load()} after"
    print(f"{head}\n\n{table(lines, False)}\n")
    for line in lines:
        for reason in line.missed:
            print(f"missed: {line.case.title}: {reason}")
    print(f"\n{table(lines, True)}")
    if options.json:
        report = {"rounds": answers, "seconds": seconds, "load": [before, load()]}
        Path(options.json).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
