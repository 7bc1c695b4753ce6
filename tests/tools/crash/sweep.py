"""Runs scripts, builds what the power may leave after each of their steps, and counts what becomes of it."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from tests.tools.crash import judge, runs, states
from tests.tools.crash.judge import Wrong
from tests.tools.crash.runs import Promise
from tests.tools.crash.states import KINDS, Disk, State

FORMER = "former life"
REPAIRED = "repaired"
AGAIN = "again"
#: what must be reached, over all runs: every kind of loss, a file set aside that still has its old bytes, a repair, and
#: a power cut during an opening
WANTED = (*KINDS, FORMER, REPAIRED, AGAIN)
PASSES = 400  # over the steps of a run, at most, to find as many different states as are wanted
GO_ON_EVERY = 8  # states from which the log goes on
AGAIN_EVERY = 60  # states whose opening is traced, and cut as well
AGAIN_MOST = 40  # states of one such opening


@dataclass
class Result:
    """What a run came to."""

    name: str
    operations: int = 0
    states: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    #: a sector was half written, and that was noticed
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0


class _Sweep:
    """One run."""

    def __init__(self, impl: ModuleType, name: str, wanted: int, seed: int) -> None:
        self.impl = impl
        self.run = runs.traced(impl, name)
        self.wanted = wanted
        self.seed = seed
        self.seen: set[tuple[int, int]] = set()
        self.result = Result(name, len(self.run.journal) - self.run.first)

    def sweep(self) -> Result:
        begin = time.monotonic()
        before = -1
        for number in range(PASSES):
            if self.result.states >= self.wanted or self.result.states == before:
                break
            before = self.result.states
            self._pass(number)
        self.result.seconds = time.monotonic() - begin
        return self.result

    def _pass(self, number: int) -> None:
        """All steps once; what is drawn is another one in each pass."""
        disk, done = Disk(), 0
        found = list(runs.promises(self.run))
        # Few are wanted: from steps all over the run.
        least = len(found) * 4
        chance = min(1.0, self.wanted / least) if self.wanted < least else 1.0
        draw = random.Random(self._seed(number))
        for step, promise in found:
            for each in self.run.journal[done:step]:
                disk.follow(each)
            done = step
            for state in states.states(disk, draw, 2 if chance < 1 else 8):
                if draw.random() < chance and self._is_new(state, promise):
                    self._judge(state, promise, step)
                if self.result.states >= self.wanted:
                    return

    def _seed(self, number: int) -> str:
        return f"{self.seed} {self.result.name} {number}"

    def _is_new(self, state: State, promise: Promise) -> bool:
        key = (state.image.key(), promise.step)
        if key in self.seen:
            return False
        self.seen.add(key)
        return True

    def _judge(self, state: State, promise: Promise, step: int) -> None:
        result = self.result
        result.states += 1
        result.kinds.update(state.kinds)
        lenient = judge.is_lenient(state.image, state.within)
        disk = judge.disk_of(self.impl, state.image, result.states)
        if result.states % AGAIN_EVERY == 0:
            disk.platter.journal = []
        former = judge.spare_of(state.image)
        result.kinds[FORMER] += former is not None and any(former)
        try:
            storage, loaded, log = judge.opened(self.impl, disk, promise, lenient)
            result.kinds[REPAIRED] += storage.repaired is not None
            result.refused += lenient and (loaded is None or bool(storage.doubt))
            steps = disk.platter.journal
            if steps is not None:
                disk.platter.journal = None
                after = promise
                if log is not None:
                    base, incarnation = loaded.base_index, loaded.incarnation
                    after = promise._replace(logs=(log,), least=base, incarnation=incarnation)
                self._again(state, steps, promise, after, lenient, step)
            if log is not None and (result.states % GO_ON_EVERY == 0):
                judge.go_on(self.impl, disk, loaded, log, promise, doubtful=bool(storage.doubt))
            storage.close()
        except Wrong as error:
            self._wrong(state, step, error)

    def _again(self, state: State, steps: list[Any], before: Promise, after: Promise, lenient: bool, step: int) -> None:
        """The power goes once more while what it has left is opened."""
        draw = random.Random(f"{self._seed(step)} again")
        disk = Disk(state.image)
        places: list[tuple[State, Promise]] = []
        for number, each in enumerate(steps, 1):
            disk.follow(each)
            if each.kind == "rename" and each.child:
                continue
            promise = after if number == len(steps) else before
            places += [(found, promise) for found in states.states(disk, draw, 3)]
        for found, promise in draw.sample(places, min(AGAIN_MOST, len(places))):
            if not self._is_new(found, promise):
                continue
            self.result.states += 1
            self.result.kinds[AGAIN] += 1
            self.result.kinds.update(found.kinds)
            soft = lenient or judge.is_lenient(found.image, found.within)
            try:
                disk_now = judge.disk_of(self.impl, found.image, self.result.states)
                storage, loaded, _ = judge.opened(self.impl, disk_now, promise, soft)
                self.result.refused += soft and (loaded is None or bool(storage.doubt))
                storage.close()
            except Wrong as error:
                self._wrong(found, step, error, " and again")

    def _wrong(self, state: State, step: int, error: Wrong, more: str = "") -> None:
        kinds = ", ".join(sorted(state.kinds))
        self.result.wrong.append(f"{self.result.name}, cut after step {step}{more} ({kinds}): {error}")


def sweep(impl: ModuleType, name: str, wanted: int, seed: int) -> Result:
    """As many different states of a run, or all that there are."""
    return _Sweep(impl, name, wanted, seed).sweep()


def sweep_raftx(name: str, wanted: int, seed: int) -> Result:
    """The same of the package as it is installed, without its log lines. For a process of its own."""
    import raftx

    logging.getLogger("raftx").setLevel(logging.CRITICAL)
    return sweep(raftx, name, wanted, seed)


def shared_out(wanted: int, names: list[str]) -> dict[str, int]:
    """How many states of each run, by its steps. Some more than are wanted: the first boot does not have so many."""
    import raftx

    made = {name: runs.traced(raftx, name) for name in names}
    steps = {name: len(run.journal) - run.first for name, run in made.items()}
    return {name: -(-wanted * 11 * steps[name] // (10 * sum(steps.values()))) for name in names}


def missing(results: Iterator[Result] | list[Result]) -> list[str]:
    """The kinds that were not reached."""
    total = sum([each.kinds for each in results], Counter[str]())
    return [kind for kind in WANTED if not total[kind]]
