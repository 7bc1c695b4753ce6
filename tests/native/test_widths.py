"""Integers of compiled code are as wide as what they count: the sources read, and the edges tried in both modes.

In C ``1 << slot`` has 32 bits, whatever it is assigned to, and the interpreted twin does not show it. So in what is
compiled every shift to the left is looked at: of a cast, by a constant where the result fits, or named below.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.paths import ROOT

# Shifts of something that has 64 bits by its declaration, and the one place that makes a slot's bit.
WIDE = {
    "raftx/_twins/flow.py": {"1 << slot"},  # the twin of the cast in _core.pxd
    "raftx/consensus/state.py": {"x << 13", "x << 17"},  # uint64_t, by its first value
    "raftx/_native/limits.py": {"state << 13", "state << 17"},  # the twin masks them
    "raftx/_native/limits.pyx": {"] << 13", "] << 17"},  # uint64_t, by its pointer
    "raftx/_native/seal.pyx": {"seen << behind"},  # uint64_t, by its declaration
    "raftx/_native/seal.py": {"seen << ahead", "1 << behind"},  # the twin masks them
    "raftx/storage/wal_writer.py": {
        "OPERATION_WRITE << 32", "OPERATION_SYNC << 32", "OPERATION_ZERO << 32", "OPERATION_SEGMENT << 32",
        "OPERATION_MARK << 32", "OPERATION_PLACE << 32",
    },
}  # fmt: skip
# What those names are declared as.
DECLARED = {
    "raftx/consensus/state.pxd": "cdef uint64_t random",
    "raftx/_native/limits.pyx": "cdef uint64_t _drawn(uint64_t* state)",
    "raftx/_native/seal.pxd": "uint64_t seen ",
    "raftx/storage/wal_writer.pxd": "cdef int64_t OPERATION_WRITE, OPERATION_SYNC, OPERATION_ZERO, OPERATION_SEGMENT, "
    "OPERATION_MARK, OPERATION_PLACE",
}
CAST = re.compile(r"<\s*(u?int64_t|size_t|Py_ssize_t)\s*>\s*$")


def shifts(text: str) -> Iterator[tuple[int, str, str, str]]:
    """(line, what stands before the left operand, left operand, right operand) of each shift to the left.

    Of an operand in brackets only the bracket is told.
    """
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in (tokenize.NL, tokenize.COMMENT)
    ]
    for at, token in enumerate(tokens):
        if token.string in ("<<", "<<="):
            before = "".join([each.string for each in tokens[max(at - 6, 0) : at - 1]])
            yield token.start[0], before, tokens[at - 1].string, tokens[at + 1].string


def narrow(text: str, wide: set[str]) -> list[str]:
    """The shifts of some source that C may cut to 32 bits."""
    found = []
    for line, before, left, right in shifts(text):
        if CAST.search(before) or f"{left} << {right}" in wide:
            continue
        if left.isdecimal() and right.isdecimal():
            # Computed when it is compiled. 2**31 itself is too much for an int, but C's rules make it a long.
            if int(left) << int(right) < 2**31 or int(right) >= 32:
                continue
        found.append(f"{line}: {left} << {right}")
    return found


def compiled_sources() -> list[Path]:
    from tests.helpers.sources import setup_file

    compiled: dict[str, str] = setup_file().COMPILED
    paths = {ROOT / path for path in compiled.values()}
    paths |= {path.with_suffix(".pxd") for path in paths} | {path.with_suffix(".py") for path in paths}
    paths |= {*(ROOT / "raftx" / "_core").glob("*.pxi"), *(ROOT / "raftx" / "_twins").glob("*.py")}
    return sorted(path for path in paths if path.exists())


@pytest.mark.once
@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("mask |= 1 << slot", 1),
        ("mask &= ~(1 << other)", 1),
        ("x = [1 << slots[id] for id in ids]", 1),
        ("mask <<= slot", 1),
        ("x = 3 << 30", 1),
        ("x = (a & 1) << i", 1),
        ("x = <uint32_t>1 << slot", 1),
        ("x = <int>1 << slot", 1),
        ("x = <uint64_t>1 << slot", 0),
        ("x = <Py_ssize_t>1 << 31", 0),
        ("x = 1 << 20", 0),
        ("x = 1 << 48", 0),
        ("x = bit(slot)  # 1 << slot", 0),
        ('"""1 << slot"""', 0),
    ],
)
def test_shifts_are_read(source: str, refused: int) -> None:
    assert len(narrow(source + "\n", set())) == refused


@pytest.mark.once
def test_nothing_compiled_shifts_a_narrow_integer() -> None:
    wrong = []
    for path in compiled_sources():
        name = str(path.relative_to(ROOT))
        text = path.read_text(encoding="utf-8")
        wrong += [f"{name}:{each}" for each in narrow(text, WIDE.get(name, set()))]
    assert not wrong, "C may cut these to 32 bits (for a slot's bit there is _core.bit):\n" + "\n".join(wrong)
    for name, declaration in DECLARED.items():
        assert declaration in (ROOT / name).read_text(encoding="utf-8")
    for name, expressions in WIDE.items():
        found = {f"{left} << {right}" for _, _, left, right in shifts((ROOT / name).read_text(encoding="utf-8"))}
        assert expressions <= found, f"{name}: not there any more"


@pytest.mark.once
def test_ticks_are_counted_for_as_long_as_a_member_lives() -> None:
    """A member that may not campaign ticks on: of 10 ms, 31 bits end after 248 days, and a lease would hold anew."""
    for name, declaration in (
        ("raftx/consensus/state.pxd", "int64_t election_elapsed, heartbeat_elapsed"),
        ("raftx/node/stall.pxd", "int64_t ticks"),
    ):
        assert declaration in (ROOT / name).read_text(encoding="utf-8")


# --- edges, in both modes ------------------------------------------------------------------------------


def test_time_does_not_wrap(impl: ModuleType, mod: Callable[[str], ModuleType]) -> None:
    clock = mod("_native.threads").Clock()
    assert clock.py_until(-(2**63)) == clock.py_until(0) == 0
    assert 0 < clock.py_until(2**63 - 1) < 2**63
    manual = mod("_native.threads").ManualClock()
    assert (manual.py_until(2**63 - 1), manual.py_until(-(2**63))) == (-1, 0)


def test_a_log_that_loses_all_its_blocks_goes_on(impl: ModuleType) -> None:
    log = impl._core.EntryLog()
    for _ in range(3):
        log.py_restore(7, 2)  # there is no block to drop the first time
        log.py_append(2, b"x" * 5000)
        log.py_compact(8)
        log.py_compact(8)
        assert (log.first, log.last) == (9, 8)
        log.py_append(2, b"y")
        assert [entry.data for entry in log.entries(9, 9)] == [b"y"]


@pytest.mark.once
@pytest.mark.skipif("compiled" not in IMPLEMENTATIONS, reason="Python's integers do not wrap")
def test_memory_that_no_machine_has_is_refused() -> None:
    """Sizes that wrap when they are added to what is there already, or doubled."""
    memory, disk = (module(IMPLEMENTATIONS["compiled"], name) for name in ("_native.memory", "_native.files"))
    for size in (2**62, 2**63 - 1, 2**63, 2**64 - 4096, 2**64 - 1):
        buffer = memory.Buffer()
        buffer.py_put(b"x" * 4096)
        file = disk.File("/dev/null", readonly=True)
        with pytest.raises(MemoryError):
            file.py_read_at(buffer, size, 0)
        file.close()
