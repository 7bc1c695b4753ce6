"""An index out of range, or a broken invariant, where compiled code does not look: what becomes of it in each build.

A debug build (``make test-debug``) ends the process and says where; that takes a process each. Interpreted code raises.
Any other compiled build must look where a caller's number arrives, in the methods for Python, and nowhere else.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module, on
from tests.helpers.paths import ROOT

# What each mistake is made with. ``raftx`` is the implementation under test.
SETUP = """
import importlib
def mod(name):
    return importlib.import_module(f"{raftx.__name__}.{name}")
core, memory, outbox, threads = mod("_core"), mod("_native.memory"), mod("_native.outbox"), mod("_native.threads")
misuse = mod("testing.misuse")
def buffer(size):
    made = memory.Buffer()
    made.py_put(bytes(size))
    return made
def spans(*pieces):
    made = memory.Spans()
    for piece in pieces:
        made.py_push(piece)
    return made
def box(rows):
    made = outbox.Outbox()
    for _ in range(rows):
        made.py_push(outbox.Message(3, to=2))
    return made
def handoff(rows):
    made = threads.Handoff(threads.Event())
    for _ in range(rows):
        made.py_put(None, 1)
    made.py_take()
    return made
def queue(size):
    made = threads.ProposalQueue(threads.Event(), 1, 1, 1 << 20)
    made.propose(bytes(size))
    made.py_take()
    return made
def log(entries):
    made = core.EntryLog()
    for _ in range(entries):
        made.py_append(1, b"x")
    return made
def raft():
    types = mod("types")
    config = mod("config").Config(id=1, seed=1)
    return mod("consensus.raft").Raft(config, log(3), types.HardState(1, 0, 2), types.ConfState(voters=(1, 2, 3)))
"""

# Each with what it does, and what a debug build says of it: where, and what.
MISTAKES = {
    "a word behind the end of a buffer": ("misuse.word(buffer(16), 9)", "memory.pyx", "out of range"),
    "a word far away": ("misuse.word(buffer(16), 2**64 - 8)", "memory.pyx", "out of range"),
    "a checksum of more than there is": ("misuse.checksum(buffer(16), 8, 9)", "memory.pyx", "out of range"),
    "a span too many": ("misuse.span_size(spans(b'a', b'b'), 2)", "memory.pyx", "out of range"),
    "a row too many": ("misuse.row_kind(box(2), 2)", "outbox.pxd", "out of range"),
    "a cell too many": ("misuse.cell(threads.Cells(3), 3)", "threads.pyx", "out of range"),
    "a cell before the first": ("misuse.cell(threads.Cells(3), -1)", "threads.pyx", "out of range"),
    "a row that was not taken": ("misuse.handed_over(handoff(2), 2, 0)", "threads.pyx", "out of range"),
    "a column too many": ("misuse.handed_over(handoff(2), 1, 8)", "threads.pyx", "out of range"),
    "more bytes than were taken": ("misuse.consume(queue(10), 67)", "threads.pyx", "broken"),
    "an entry behind the log": ("misuse.limit(log(3), 4, 4)", "log.pxi", "out of range"),
    "a slot that no window has": ("misuse.window(core.Inflights(4), 64)", "_core.pxd", "out of range"),
    "a slot that no mask has": ("misuse.mask(64)", "_core.pxd", "out of range"),
    "a slot before the first": ("misuse.mask(-1)", "_core.pxd", "out of range"),
    "a slot without a member": ("misuse.progress(raft().tracker, 3)", "tracker.py", "out of range"),
    "a member that has what it was not sent": ("misuse.match_beyond_next(raft().tracker, 1)", "tracker.py", "broken"),
    "an entry applied before it is committed": ("misuse.applied_beyond_committed(raft())", "state.py", "broken"),
}
# Modules that look at something.
COMPILED = ["_core", "_native.memory", "_native.outbox", "_native.threads", "_native.limits", "_native.wire"]
# What can raise does, in a debug build as well.
RAISING = {
    "a row to share that is not there": "misuse.share_row(box(1), box(2), 2)",
    "an append to a slot that no window has": "misuse.add_to_window(core.Inflights(4), 64)",
}
# Where numbers come from a caller in Python, every build looks.
LOOKED_AT = (
    "threads.Cells(3)[3]",
    "threads.Cells(3)[-1]",
    "handoff(2).py_at(2, 0)",
    "handoff(2).py_at(1, 8)",
    "queue(10).py_consume(67, 1)",
    "box(2).message(2)",
    "box(1).py_take(box(2), 2)",
    "log(3).py_limit(4, 4, 1)",
    "core.Inflights(4).py_full(64)",
    "core.Inflights(4).py_full(-1)",
    "core.Inflights(4).py_add(64, 1, 1)",
)


def names(impl: ModuleType) -> dict[str, object]:
    made: dict[str, object] = {"raftx": impl}
    exec(compile(SETUP, "setup", "exec"), made)
    return made


def debug(impl: ModuleType) -> bool:
    return bool(module(impl, "_native.memory").is_debug())


def ended(code: str) -> subprocess.CompletedProcess[str]:
    """The end of a process that makes a mistake."""
    program = f"import raftx\n{SETUP}\n{code}\nprint('went on')\n"
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_build_is_the_one_that_was_asked_for(impl: ModuleType) -> None:
    """``make test-debug`` asks for a debug build; the interpreted copy is none in any run."""
    if debug(impl):
        assert impl is IMPLEMENTATIONS["compiled"]
    elif impl is IMPLEMENTATIONS.get("compiled"):
        assert not on("RAFTX_REQUIRE_DEBUG")


def test_what_a_caller_says_is_looked_at_in_every_build(impl: ModuleType) -> None:
    given = names(impl)
    for code in LOOKED_AT:
        with pytest.raises(IndexError):
            eval(code, dict(given))


def test_mistakes_end_a_debug_build_and_raise_where_it_is_interpreted(impl: ModuleType) -> None:
    """In others nothing is left of the checks, and such a mistake is undefined: there it is only seen that it is so."""
    if impl is IMPLEMENTATIONS["pure"]:
        given = names(impl)
        for name, (code, _, _) in MISTAKES.items():
            with pytest.raises((IndexError, AssertionError)):
                eval(code, dict(given))
                raise SystemError(f"nothing was said of {name}")
        return
    looking = [name for name in COMPILED if b": out of range: " in Path(module(impl, name).__file__ or "").read_bytes()]
    assert looking == (COMPILED if debug(impl) else [])
    if not debug(impl):
        return
    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(ended, [code for code, _, _ in MISTAKES.values()]))
    wrong = []
    for (name, (_, file, what)), done in zip(MISTAKES.items(), ends, strict=True):
        said = re.search(r"^raftx: (\S+):(\d+): (.*)$", done.stderr, re.MULTILINE)
        if done.returncode != -signal.SIGABRT or said is None:
            wrong.append(f"{name}: status {done.returncode}\n{textwrap.indent(done.stderr[-800:], '    ')}")
        elif not said[1].endswith(file) or not said[3].startswith(what):
            wrong.append(f"{name}: {said[0]}")
    assert not wrong, "\n".join(wrong)


def test_what_can_raise_does(impl: ModuleType) -> None:
    """In a debug build instead of ending the process."""
    if impl is not IMPLEMENTATIONS["pure"] and not debug(impl):
        return
    given = names(impl)
    for code in RAISING.values():
        with pytest.raises(IndexError):
            eval(code, dict(given))


@pytest.mark.parametrize(
    ("index", "count", "fits"), [(0, 1, True), (0, 0, False), (1, 1, False), (-1, 1, False), (2, 3, True)]
)
def test_an_index_is_below_its_count(mod: Callable[[str], ModuleType], index: int, count: int, fits: bool) -> None:
    checks = mod("_native.checks")
    if fits:
        checks.check_index(index, count)
    else:
        with pytest.raises(IndexError):
            checks.check_index(index, count)


@pytest.mark.parametrize(
    ("offset", "size", "fits"),
    [(0, 0, True), (0, 8, True), (8, 0, True), (9, 0, False), (1, 8, False), (-1, 1, False), (8, -1, False)],
)
def test_a_part_lies_within_the_whole(mod: Callable[[str], ModuleType], offset: int, size: int, fits: bool) -> None:
    checks = mod("_native.checks")
    if fits:
        checks.check_part(offset, size, 8)
    else:
        with pytest.raises(IndexError):
            checks.check_part(offset, size, 8)
