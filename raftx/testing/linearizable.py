"""Judges histories of a key-value store: is there an order in which its operations could have happened one by one?

Pure Python, for tests: it may take a history of thousands of operations, not of millions. It reads values and makes no
threads, files or network; any thread may call it.

A history is linearizable if each operation can be given one moment between its invocation and its return, so that the
operations in the order of these moments do what a single store would have done (Herlihy and Wing, 1990). Keys have
nothing to do with each other, so each is judged by itself. The search is Wing and Gong's with Lowe's memory of what
was tried: a set of operations that are placed, as a bitmask, and the state after them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

from ..errors import UsageError

READ, WRITE, CAS = "read", "write", "cas"
KINDS = (READ, WRITE, CAS)
#: placements that are tried for one key before it counts as not decided
STEPS_MAX = 2_000_000
# Likewise, of an attempt to say with less why a history is wrong.
SMALL_STEPS = 20_000


@dataclass(frozen=True)
class Operation:
    """One operation on one key, as its client saw it.

    key, value, new: anything hashable. kind "read": ``value`` is what was read. "write": ``value`` was written. "cas"
    (compare-and-set): ``new`` was written if the key had ``value``, and ``succeeded`` says whether; None: not known.
    invoked, returned: when it began and ended, in any unit, by one clock. returned None: its outcome is not known. It
    may take effect at any time after its invocation, or never. A read without an outcome says nothing and is left out.
    name: of whoever asked, for explanations.

    Raises UsageError, which names the field.
    """

    key: Hashable
    kind: str
    value: Hashable
    invoked: float
    returned: float | None = None
    new: Hashable = None
    succeeded: bool | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.returned is not None and self.returned < self.invoked:
            raise UsageError(f"returned must be at or after invoked ({self.invoked}), or None, not {self.returned}")
        if self.kind == CAS and self.returned is None and self.succeeded is not None:
            raise UsageError(f"succeeded must be None where returned is None, not {self.succeeded!r}")
        if self.kind != CAS and (self.succeeded is not None or self.new is not None):
            raise UsageError("new and succeeded are of a cas only")

    def describe(self) -> str:
        """It in words: ``a: cas('x', 1 -> 2) succeeded [0.5, 0.7]``."""
        what = {
            READ: f"read({self.key!r}) -> {self.value!r}",
            WRITE: f"write({self.key!r}, {self.value!r})",
            CAS: f"cas({self.key!r}, {self.value!r} -> {self.new!r})",
        }[self.kind]
        if self.kind == CAS and self.succeeded is not None:
            what += " succeeded" if self.succeeded else " did not succeed"
        end = "outcome unknown" if self.returned is None else f"{self.returned:.6g}"
        return f"{self.name + ': ' if self.name else ''}{what} [{self.invoked:.6g}, {end}]"


@dataclass(frozen=True)
class Verdict:
    """What became of a history.

    ok: True: linearizable. False: not; ``key`` is the first key that is not, ``operation`` the first to return that can
    not be placed, ``beside`` what is enough to see it, by invocation, and ``explanation`` says it in words. None: not
    decided; ``key`` took more steps than allowed, and every key that was decided is linearizable.
    steps: placements that were tried.
    """

    ok: bool | None
    steps: int
    key: Hashable = None
    operation: Operation | None = None
    beside: tuple[Operation, ...] = ()
    explanation: str = ""


class _TooManySteps(Exception):
    """The bound was reached."""


class _Steps:
    """Counts placements, up to a bound."""

    def __init__(self, most: int) -> None:
        self.count, self.most = 0, most

    def take(self) -> None:
        self.count += 1
        if self.count > self.most:
            raise _TooManySteps


class _Event:
    """An invocation or a return, in a list of all of them by time that can be taken apart and put together again."""

    __slots__ = ("after", "before", "bit", "match", "operation")

    def __init__(self, operation: Operation | None, bit: int) -> None:
        self.operation, self.bit = operation, bit
        #: of an invocation, its return: None where there is none
        self.match: _Event | None = None
        self.before: _Event | None = None
        self.after: _Event | None = None

    def lift(self) -> None:
        if self.before is not None:
            self.before.after = self.after
        if self.after is not None:
            self.after.before = self.before

    def put_back(self) -> None:
        if self.before is not None:
            self.before.after = self
        if self.after is not None:
            self.after.before = self


def check(operations: Iterable[Operation], *, initial: Hashable = None, max_steps: int = STEPS_MAX) -> Verdict:
    """Judge a history, in any order. initial: what each key has at first.

    max_steps: how many placements may be tried for one key, above 0, and as many again to make the explanation small.
    Times that are equal count as concurrent. The time it takes grows with the number of operations that overlap, at
    worst as a power of it; operations without an outcome overlap all that come after them.

    Raises UsageError for a bound below 1, TypeError for what cannot be hashed.
    """
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise UsageError(f"max_steps must be an integer above 0, not {max_steps!r}")
    keys: dict[Hashable, list[Operation]] = {}
    for each in operations:
        if each.kind != READ or each.returned is not None:
            keys.setdefault(each.key, []).append(each)
    total = 0
    open_key: list[Hashable] = []
    for key, history in keys.items():
        history.sort(key=lambda each: each.invoked)
        steps = _Steps(max_steps)
        try:
            good = _is_linearizable(history, initial, steps)
        except _TooManySteps:
            open_key.append(key)
            good = True
        total += steps.count
        if not good:
            operation, beside = _smallest(history, initial, max_steps)
            return Verdict(False, total, key, operation, beside, _in_words(operation, beside, initial))
    if open_key:
        return Verdict(
            None, total, open_key[0], explanation=f"not decided: {open_key[0]!r} takes over {max_steps} steps"
        )
    return Verdict(True, total)


def _after(operation: Operation, state: Hashable) -> tuple[bool, Hashable]:
    """Whether it can happen in that state, and the state after it."""
    if operation.kind == READ:
        return state == operation.value, state
    if operation.kind == WRITE:
        return True, operation.value
    equal = state == operation.value
    if operation.succeeded is not None and operation.succeeded != equal:
        return False, state
    return True, operation.new if equal else state


def _events(history: list[Operation]) -> _Event:
    """The head of the list of events."""
    rows: list[tuple[float, int, _Event]] = []
    for number, operation in enumerate(history):
        begin = _Event(operation, 1 << number)
        rows.append((operation.invoked, 0, begin))
        if operation.returned is not None:
            begin.match = _Event(None, 0)
            rows.append((operation.returned, 1, begin.match))
    # At one moment invocations come first: what touches is concurrent.
    rows.sort(key=lambda row: row[:2])
    head = last = _Event(None, 0)
    for _, _, event in rows:
        event.before, last.after = last, event
        last = event
    return head


def _is_linearizable(history: list[Operation], initial: Hashable, steps: _Steps) -> bool:
    """Whether one key's operations have an order. Raises _TooManySteps."""
    head = _events(history)
    missing = sum([each.returned is not None for each in history])
    placed, state = 0, initial
    tried: set[tuple[int, Hashable]] = set()
    stack: list[tuple[_Event, int, Hashable]] = []
    event = head.after
    while missing:
        if event is not None and event.operation is not None:
            steps.take()
            fits, following = _after(event.operation, state)
            mark = (placed | event.bit, following)
            if fits and mark not in tried:
                tried.add(mark)
                stack.append((event, placed, state))
                placed, state = mark
                event.lift()
                if event.match is not None:
                    event.match.lift()
                    missing -= 1
                event = head.after
            else:
                event = event.after
            continue
        # Somebody's return: nothing else can come before it, so one placed before was wrong.
        if not stack:
            return False
        event, placed, state = stack.pop()
        if event.match is not None:
            event.match.put_back()
            missing += 1
        event.put_back()
        event = event.after
    return True


def _until(history: list[Operation], end: float) -> list[Operation]:
    """What was known at a moment: later invocations are left out, later outcomes not known."""
    known = []
    for each in history:
        if each.invoked > end:
            continue
        if each.returned is not None and each.returned > end:
            if each.kind == READ:
                continue
            each = replace(each, returned=None, succeeded=None)
        known.append(each)
    return known


def _smallest(history: list[Operation], initial: Hashable, max_steps: int) -> tuple[Operation, tuple[Operation, ...]]:
    """Of a key that is not linearizable: the first return that is wrong, and what is enough to see it."""
    steps = _Steps(max_steps)
    ends = sorted({each.returned for each in history if each.returned is not None})
    low, high = 0, len(ends) - 1  # what is not linearizable stays so, whatever follows
    try:
        while low < high:
            middle = (low + high) // 2
            if _is_linearizable(_until(history, ends[middle]), initial, steps):
                low = middle + 1
            else:
                high = middle
    except _TooManySteps:
        low = high
    last = next(each for each in history if each.returned == ends[low])
    kept = _until(history, ends[low])
    kept = _few(last, kept, initial)
    # Leave out what can be; then make outcomes unknown, which may allow more to be left out.
    for weaken in (_without, _unknown, _without):
        for each in [each for each in reversed(kept) if each is not last]:
            less = weaken(each, kept)
            # With less the search may take longer; then it stays.
            with contextlib.suppress(_TooManySteps):
                if less is not None and not _is_linearizable(less, initial, _Steps(SMALL_STEPS)):
                    kept = less
    return last, tuple([each for each in kept if each is not last])


def _few(last: Operation, history: list[Operation], initial: Hashable) -> list[Operation]:
    """Few operations that are enough: one beside ``last``, and all whose writes these may have seen. Else all."""
    best = history
    for other in reversed(history):
        kept = [last] if other is last else [last, other]
        for each in kept:  # it grows meanwhile
            kept += [writer for writer in history if not any([writer is one for one in kept])
                     and not _changes_nothing(writer) and _could_see(each, writer)]  # fmt: skip
            if len(kept) >= len(best):
                break
        else:
            kept.sort(key=lambda each: each.invoked)
            with contextlib.suppress(_TooManySteps):
                if not _is_linearizable(kept, initial, _Steps(SMALL_STEPS)):
                    best = kept
    return best


def _changes_nothing(operation: Operation) -> bool:
    """Whether it has certainly changed nothing."""
    return operation.kind == READ or (operation.kind == CAS and operation.succeeded is False)


def _without(operation: Operation, history: list[Operation]) -> list[Operation] | None:
    """The history without it, where that is linearizable if the history is; else None."""
    rest = [each for each in history if each is not operation]
    if _changes_nothing(operation):
        return rest
    # A write can be left out if no order of the rest needs it, and none is spoiled by its absence.
    return rest if not any([_could_see(each, operation) for each in rest]) else None


def _unknown(operation: Operation, history: list[Operation]) -> list[Operation] | None:
    """The history with that write's outcome unknown, which says less. None where it is no write, or unknown already."""
    if operation.kind == READ or operation.returned is None:
        return None
    less = replace(operation, returned=None, succeeded=None)
    return [less if each is operation else each for each in history]


def _could_see(other: Operation, operation: Operation) -> bool:
    """Whether ``other`` could owe what it saw to a write that may never have happened."""
    written = operation.new if operation.kind == CAS else operation.value
    if other.kind == WRITE:
        return False
    if other.kind == CAS and other.succeeded is not True and (other.succeeded is False or other.returned is not None):
        return other.succeeded is None or written != other.value
    return bool(written == other.value)


def _in_words(operation: Operation, beside: tuple[Operation, ...], initial: Hashable) -> str:
    lines = [f"{operation.describe()} cannot be placed"]
    if beside:
        lines[0] += ", given:"
        lines += [f"  {each.describe()}" for each in beside]
    else:
        lines[0] += f": the key has {initial!r} at first, and nothing else could have changed it"
    return "\n".join(lines)
