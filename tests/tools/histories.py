"""Histories of clusters as programs, under faults, judged for linearizability.

    python -m tests.tools.histories [--histories 100] [--pauses 200] [--seed 1]

Clients write, compare and set, and read on random members, while members are killed, stopped and cut off, come and go.
What they saw is judged by raftx.testing.linearizable and, where Go is there, by porcupine; both must agree. Stale reads
may be old by what they allow: they are judged in a second run, as reads that began so much earlier. Then leaders are
stopped for longer than an election while clients read from them by lease. A history that is wrong is kept as a file in
build/histories, and can be judged again: ``--judge FILE``.

With --careless the members answer reads without asking anybody: that must be found.

Exits with 0 if all is well, 1 if something was wrong, not decided, or judged in two ways, 3 if all is well as far as
the own checker says, because porcupine could not be built.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interop.toolchains import PORCUPINE, PORCUPINE_SOURCES, BuildFailed, build_go
from raftx.testing.linearizable import CAS, READ, WRITE, Operation, Verdict, check
from tests.helpers.kv_cluster import Asked, Broken, KvCluster
from tests.helpers.kv_faults import FAULTS, inflict
from tests.helpers.paths import ROOT

KEPT = ROOT / "build" / "histories"
OPERATIONS = 1000
KEYS = 20
SECONDS = 6.0  # of one history, if members answer
PATIENCE = 0.25  # seconds; then a client goes on, and the operation stays open
SHUNNED = 0.5  # seconds for which it then prefers others
LAST = 1.5  # seconds for answers after the end
RATE_MIN = 100.0  # operations a second, for a history to count
STALENESS = (0.05, 0.3, 1.0)  # seconds
PORCUPINE_SECONDS = 60
SECOND = 1_000_000_000


class Clients:
    """Threads that ask members of a cluster, and all that they asked."""

    def __init__(self, cluster: KvCluster, clients: int, operations: int, seconds: float, seed: int) -> None:
        self.cluster, self.operations, self.seconds = cluster, operations, seconds
        self.asked: list[Asked] = []
        self.lock = threading.Lock()
        self.begun = time.monotonic()
        self.took = 0.0
        self.given = self.values = 0
        #: by key, what was seen or written last
        self.seen: dict[str, int] = {}
        self.threads = [
            threading.Thread(target=self._run, args=(client, random.Random(f"{seed}/{client}")))
            for client in range(1, clients + 1)
        ]

    def start(self) -> None:
        self.begun = time.monotonic()
        for thread in self.threads:
            thread.start()

    def are_busy(self) -> bool:
        return any([thread.is_alive() for thread in self.threads])

    def join(self) -> None:
        for thread in self.threads:
            thread.join()
        self.took = time.monotonic() - self.begun

    def _next(self) -> float | None:
        """When the next operation is due; None after the last one."""
        with self.lock:
            if self.given >= self.operations:
                return None
            self.given += 1
            return self.begun + self.given * self.seconds / self.operations

    def value(self) -> int:
        """One that nobody has written."""
        with self.lock:
            self.values += 1
            return self.values

    def ask(self, member: Any, request: dict[str, Any], client: int) -> Asked:
        asked = Asked(request, client)
        with self.lock:
            self.asked.append(asked)
        member.ask(asked)
        return asked

    def _run(self, client: int, draw: random.Random) -> None:
        shunned: dict[int, float] = {}
        # Some have a name that they keep, so that moving to another member fences the one before.
        by = f"client {client}" if client % 3 == 0 else ""
        while (due := self._next()) is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            members = list(self.cluster.members.items())
            now = time.monotonic()
            good = [each for each in members if shunned.get(each[0], 0.0) < now]
            if not members:
                time.sleep(0.01)
                continue
            id, member = draw.choice(good if good and draw.random() < 0.9 else members)
            request = self._request(draw, by)
            asked = self.ask(member, request, client)
            if not asked.ended.wait(PATIENCE):
                shunned[id] = time.monotonic() + SHUNNED
                continue
            if asked.outcome != "done":
                # Refused at once, or gone: others may do better.
                shunned[id] = time.monotonic() + SHUNNED
                time.sleep(0.005)
                continue
            self._learn(asked)

    def _learn(self, asked: Asked) -> None:
        request, result = asked.request, asked.answer["result"]
        if request["do"] == "read":
            if request["level"] != "stale":
                self.seen[request["key"]] = result
        elif request["do"] == "write" or result:
            self.seen[request["key"]] = request["new"] if request["do"] == "cas" else request["value"]

    def _request(self, draw: random.Random, by: str) -> dict[str, Any]:
        key, chance = f"k{draw.randrange(KEYS)}", draw.random()
        if chance < 0.5:
            level = draw.choice(("linearizable", "linearizable", "lease", "lease", "stale"))
            request: dict[str, Any] = {"do": "read", "key": key, "level": level}
            if level == "stale":
                request["staleness"] = draw.choice(STALENESS)
            return request
        how = draw.choice(("plain", by))
        if chance < 0.8:
            return {"do": "write", "key": key, "value": self.value(), "by": how}
        return {"do": "cas", "key": key, "value": self.seen.get(key, 0), "new": self.value(), "by": how}

    def read_all(self) -> None:
        """Each key once more, from random members, as everything has healed. Raises Broken."""
        end = time.monotonic() + 20
        draw = random.Random(self.values)
        for number in range(KEYS):
            request = {"do": "read", "key": f"k{number}", "level": "linearizable"}
            while True:
                asked = self.ask(draw.choice(list(self.cluster.members.values())), request, 0)
                if asked.ended.wait(2.0) and asked.outcome == "done":
                    break
                if time.monotonic() > end:
                    raise Broken(f"a read after all faults is not done: {asked.answer}")

    def wait_for_the_rest(self) -> None:
        end = time.monotonic() + LAST
        for asked in self.asked:
            asked.ended.wait(max(0.0, end - time.monotonic()))


def operations_of(asked: list[Asked], begun: int) -> tuple[list[Operation], list[Operation]]:
    """What clients saw, as operations; and stale reads, which begin earlier by what they allow. Times in ns."""
    exact, stale = [], []
    for each in list(asked):
        request, outcome = each.request, each.outcome
        invoked, returned = each.invoked - begun, None if each.returned is None else each.returned - begun
        name = f"client {each.client} on {each.member}"
        if outcome == "not":
            continue  # it has certainly not happened
        if request["do"] == "read":
            if outcome != "done":
                continue
            value, level = each.answer["result"], request["level"]
            earlier = int(request.get("staleness", 0) * SECOND)
            made = Operation(request["key"], READ, value, invoked - earlier, returned, name=f"{name} ({level})")
            (stale if level == "stale" else exact).append(made)
            continue
        name += f" ({'proposal' if request['by'] == 'plain' else 'session'})"
        if outcome != "done":
            returned = None
        if request["do"] == "write":
            exact.append(Operation(request["key"], WRITE, request["value"], invoked, returned, name=name))
        else:
            done = each.answer["result"] if outcome == "done" else None
            exact.append(
                Operation(request["key"], CAS, request["value"], invoked, returned, request["new"], done, name=name)
            )
    return exact, stale


def to_json(operation: Operation) -> dict[str, Any]:
    fields = {name: getattr(operation, name) for name in Operation.__dataclass_fields__}
    if operation.kind != CAS:
        del fields["new"], fields["succeeded"]
    return fields


class Porcupine:
    """The other judge, as a program."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lock = threading.Lock()

    def judge(self, operations: list[Operation]) -> bool | None:
        """Whether it is linearizable; None: not decided in time. Raises RuntimeError for what it cannot read."""
        assert self.process.stdin is not None and self.process.stdout is not None
        line = json.dumps({"seconds": PORCUPINE_SECONDS, "operations": [to_json(each) for each in operations]})
        with self.lock:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline().strip()
        if answer not in ("ok", "illegal", "unknown"):
            raise RuntimeError(f"porcupine: {answer or 'it has ended'}")
        return {"ok": True, "illegal": False, "unknown": None}[answer]

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@dataclass
class Judged:
    """What one history came to."""

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    rate: float = 0.0
    #: by "exact" and "stale", what the two judges say
    own: dict[str, Verdict] = field(default_factory=dict)
    other: dict[str, bool | None] = field(default_factory=dict)
    broken: str = ""
    histories: dict[str, list[Operation]] = field(default_factory=dict)

    @property
    def counted(self) -> bool:
        return self.rate >= RATE_MIN

    @property
    def good(self) -> bool:
        verdicts = [verdict.ok for verdict in self.own.values()] + list(self.other.values())
        return not self.broken and all([verdict is True for verdict in verdicts])

    def row(self) -> str:
        words = {True: "ok", False: "WRONG", None: "not decided"}
        verdicts = [words[self.own[name].ok] if name in self.own else "-" for name in ("exact", "stale")]
        verdicts += [words[self.other[name]] if name in self.other else "-" for name in ("exact", "stale")]
        counts = [f"{self.counts[name]:>8,}" for name in COUNTS]
        faults = ", ".join([f"{self.counts[name]} {name}" for name in FAULTS if self.counts[name]])
        end = "" if self.counted else "  too slow to count"
        return f"{self.seed:>6}{self.rate:>8.0f}" + "".join(counts) + "".join(
            [f"{each:>12}" for each in verdicts]
        ) + f"  {faults}{end}{'  ' + self.broken if self.broken else ''}"  # fmt: skip

    def keep(self) -> Path:
        KEPT.mkdir(parents=True, exist_ok=True)
        path = KEPT / f"history-{self.seed}.json"
        about = {
            "seed": self.seed,
            "counts": self.counts,
            "broken": self.broken,
            "own": {name: verdict.explanation for name, verdict in self.own.items()},
            "porcupine": self.other,
            "histories": {name: [to_json(each) for each in history] for name, history in self.histories.items()},
        }
        path.write_text(json.dumps(about, indent=1), encoding="utf-8")
        return path


COUNTS = ("members", "clients", "done", "unknown", "not done", "lease", "stale", "ms")
HEAD = f"{'seed':>6}{'ops/s':>8}" + "".join([f"{name:>8}" for name in COUNTS]) + "".join(
    [f"{name:>12}" for name in ("exact", "with stale", "porcupine", "with stale")]
) + "  faults"  # fmt: skip


def judge(judged: Judged, exact: list[Operation], stale: list[Operation], porcupine: Porcupine | None) -> None:
    """Ask both judges."""
    for name, history in (("exact", exact), ("stale", [*exact, *stale])):
        judged.histories[name] = history
        judged.own[name] = check(history, initial=0)
        if porcupine is not None:
            judged.other[name] = porcupine.judge(history)


def run_history(
    directory: Path,
    seed: int,
    porcupine: Porcupine | None,
    *,
    operations: int = OPERATIONS,
    seconds: float = SECONDS,
    careless: bool = False,
    faults: tuple[str, ...] = FAULTS,
) -> Judged:
    """One history. Nothing of it is left running."""
    draw, judged = random.Random(seed), Judged(seed)
    size, count = draw.choice((3, 3, 4, 5)), draw.randrange(4, 9)
    judged.counts.update(members=size, clients=count)
    # With a short one, what sessions propose is often unknown at first, and proposed again.
    cluster = KvCluster(directory, size, careless, proposal_timeout_ms=draw.choice((300, 3000)))
    clients = Clients(cluster, count, operations, seconds, seed)
    begun = time.monotonic_ns()
    try:
        cluster.leader()
        clients.start()
        try:
            try:
                order = draw.sample(faults, len(faults))
                while clients.are_busy() and order:
                    time.sleep(0.1 + draw.random() * 0.3)
                    for fault in order:
                        if not clients.are_busy():
                            break
                        inflict(fault, cluster, draw)
                        judged.counts[fault] += 1
                        time.sleep(0.1 + draw.random() * 0.4)
            finally:
                clients.join()
            clients.read_all()
        except Broken as error:
            judged.broken = str(error)
        clients.wait_for_the_rest()
    finally:
        cluster.close()
    exact, stale = operations_of(clients.asked, begun)
    outcomes = Counter([each.outcome for each in clients.asked])
    judged.rate = outcomes["done"] / clients.took
    judged.counts.update(
        {
            "done": outcomes["done"],
            "unknown": sum([each.returned is None for each in exact]),
            "not done": outcomes["not"],
            "lease": sum(["(lease)" in each.name for each in exact]),
            "stale": len(stale),
            "ms": round(clients.took * 1000),
        }
    )
    judge(judged, exact, stale, porcupine)
    return judged


def run_histories(count: int, seed: int, porcupine: Porcupine | None, until: float, careless: bool) -> list[Judged]:
    """Several, with a line for each."""
    print(HEAD, flush=True)
    done: list[Judged] = []
    for number in range(seed, seed + count):
        if time.time() >= until:
            break
        with tempfile.TemporaryDirectory() as directory:
            judged = run_history(Path(directory), number, porcupine, careless=careless)
        done.append(judged)
        print(judged.row(), flush=True)
        if not judged.good:
            print(f"kept as {judged.keep()}", flush=True)
            for verdict in judged.own.values():
                if verdict.explanation:
                    print(verdict.explanation, flush=True)
        judged.histories.clear()
    return done


def judge_again(path: Path, porcupine: Porcupine | None) -> bool:
    """A history that was kept."""
    good = True
    for name, rows in json.loads(path.read_text(encoding="utf-8"))["histories"].items():
        history = [Operation(**row) for row in rows]
        verdict = check(history, initial=0)
        other = porcupine.judge(history) if porcupine is not None else verdict.ok
        print(f"{name}: {len(history)} operations, {verdict.ok}, porcupine {other}\n{verdict.explanation}")
        good &= verdict.ok is True and other is True
    return good


def main() -> int:
    from tests.tools.lease_pauses import PAUSES_HEAD, run_pauses

    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--histories", type=int, default=100)
    parser.add_argument("--pauses", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the first history; the next has the next one")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no history, and no pause, after so long")
    parser.add_argument("--careless", action="store_true", help="members that answer reads without asking anybody")
    parser.add_argument("--judge", type=Path, help="judge a history that was kept, and run nothing")
    options = parser.parse_args()
    porcupine, wrong = None, False
    until = time.time() + options.seconds
    try:
        porcupine = Porcupine(build_go(package=".", program=PORCUPINE, sources=PORCUPINE_SOURCES))
    except BuildFailed as error:
        print(f"without porcupine: {error}", flush=True)
    try:
        if options.judge:
            wrong = not judge_again(options.judge, porcupine)
        else:
            done = run_histories(options.histories, options.seed, porcupine, until, options.careless)
            counted = [each for each in done if each.counted]
            bad = [each for each in done if not each.good]
            apart = [each.seed for each in done for name in each.other if each.own[name].ok is not each.other[name]]
            total = sum([each.counts["done"] for each in done])
            print(
                f"{len(done)} histories, {total:,} operations; {len(counted)} had {RATE_MIN:.0f} a second and count, "
                f"{len(bad)} are wrong ({[each.seed for each in bad]}), judged in two ways: {apart}", flush=True,
            )  # fmt: skip
            wrong = bool(bad or apart)
            if options.pauses:
                print(PAUSES_HEAD, flush=True)
                with tempfile.TemporaryDirectory() as directory:
                    pauses = run_pauses(Path(directory), options.pauses, options.seed, until, options.careless)
                print(pauses.row())
                wrong |= bool(pauses.stale or pauses.broken)
    finally:
        if porcupine is not None:
            porcupine.close()
    return 1 if wrong else 0 if porcupine is not None else 3


if __name__ == "__main__":
    sys.exit(main())
