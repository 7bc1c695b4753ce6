"""The numbers that compiled code has of its own are those of the interpreted twins.

They are C constants, which Python cannot see, so they are read from the sources. Nothing is compiled or run here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from raftx import types
from raftx._native import layout
from tests.helpers.paths import ROOT
from tests.helpers.sources import setup_file

pytestmark = pytest.mark.once

TWINS = [name for name, path in setup_file().COMPILED.items() if path.endswith(".pyx")]

# What a constant is called on the other side: a name of the twin, or of raftx.types, or an expression of these.
CALLED = {
    "raftx._native.files.PARTS": "PARTS_MAX",
    "raftx._core.KIND_PROP": "MSG_PROP",
    "raftx._core.KIND_APP": "MSG_APP",
    "raftx._core.KIND_SNAP": "MSG_SNAP",
    "raftx._core.KIND_CHUNK": "MSG_CHUNK",
    "raftx._core.KIND_MEET": "MSG_MEET",
    "raftx._core.KIND_CHANGE": "MSG_CHANGE",
    "raftx._core.KIND_SEEN": "MSG_SEEN",
    "raftx._core.KIND_READ": "MSG_READ_INDEX",
    "raftx._core.KIND_READ_RESP": "MSG_READ_INDEX_RESP",
    "raftx._core.ENTRY_KINDS": "ENTRY_SNAPSHOT",
    "raftx._core.SESSION_ENTRY": "ENTRY_SESSION",
    "raftx._core.NUMBER_LIMIT": "NUMBER_MAX + 1",
    "raftx._core.MAX_DATA": "ENTRY_MAX",
    "raftx._core.COLUMNS": "len(COLUMN_NAMES)",
    "raftx._core.FLAG_TOO_LARGE": "_TOO_LARGE",
    "raftx._core.FLAG_NO_ROOM": "_NO_ROOM",
    "raftx._core.FLAG_DOUBT": "_DOUBT",
    "raftx._core.FLAG_BEHIND": "_BEHIND",
    "raftx._core.MAGIC": "_BAD_MAGIC",
    "raftx._core.VERSION": "_BAD_VERSION",
    **{f"raftx._core.{name}": f"_{name}" for name in ("SHORT", "CLUSTER", "GROUP", "RECIPIENT", "LENGTH", "CHECKSUM")},
    **{f"raftx._core.{name}": f"_{name}" for name in ("KIND", "RANGE", "RECORDS", "SENDER", "IDENTITY")},
    "raftx._core.OK": "REASONS.index('ok')",
    "raftx._native.files.ZEROS": "len(ZEROS)",
    "raftx._native.outbox.KIND_PROP": "MSG_PROP",
    "raftx._native.seal.MAC_BYTES": "_MAC_BYTES",
    "raftx._native.seal.WINDOW": "_WINDOW",
    "raftx._native.seal.REFUSED_SEAL": "_REFUSED_SEAL",
    "raftx._native.seal.REFUSED_REPLAY": "_REFUSED_REPLAY",
    "raftx._native.seal.SEAL_KEYS": "_KEYS",
    "raftx._native.identity.NUMBER_END": "_NUMBER_END",
    "raftx._native.outbox.KIND_SNAP": "MSG_SNAP",
    "raftx._native.outbox.ENTRY_KINDS": "ENTRY_SNAPSHOT",
    "raftx._native.outbox.SESSION_ENTRY": "ENTRY_SESSION",
    **{
        f"raftx._native.limits.{name}": f"NOTE_{name}"
        for name in ("UNREACHABLE", "REACHED", "SHORTAGE", "CROWD", "LIMIT", "TOO_LARGE")
    },
}

# Of compiled code alone, each with why no twin could differ from it.
ALONE = {
    "raftx._core.WINDOW_START": "room that is allocated at first; lists grow by themselves",
    "raftx._native.files.NAME_MAX": "size of a C array; the twin has the number in its check of the length",
    "raftx._native.memory.BLOCK_HEAD": "the place of data in a block of C memory",
    "raftx._native.threads.NO_MEMORY": "a result of C functions; the twin raises",
    "raftx._native.nng.*": "NNG cannot be called from Python at all",
    "raftx._native.wire.IDLE": "a step of a dialler, which no one else sees",
    "raftx._native.wire.PAUSE": "the same",
    "raftx._native.wire.LOOKUP": "the same",
    "raftx._native.wire.CONNECTING": "the same",
    **{
        f"raftx._native.wire.{name}": "which descriptor an event is of; the twin has the descriptors themselves"
        for name in ("OF_EVENT", "OF_LISTENER", "OF_GUEST", "OF_TARGET")
    },
    **{
        f"raftx._native.seal.{name}": "a place in a seal; the twin has a struct of it"
        for name in ("NUMBER", "NAME", "MAC")
    },
    "raftx._native.sp.SP_NO_MEMORY": "a result of C functions; the twin raises",
    "raftx._native.sp.SPARE": "bytes of C memory that stay; the twin's buffers are Python's",
    **{
        f"raftx._native.tcp.{name}": "which epoll has something; the twin looks at each"
        for name in ("WIRE", "PEERS", "COMERS", "EVENT")
    },
}


def number(text: str, known: dict[str, object]) -> object:
    """The value of an expression of constants. Raises NameError and TypeError for what is none."""
    text = re.sub(r"<\s*\w+\s*>", "", text).strip()
    builtins = {"bytes": bytes, "frozenset": frozenset, "len": len, "range": range}
    return eval(compile(text, "constant", "eval"), {"__builtins__": builtins}, known)


def compiled(name: str) -> dict[str, object]:
    """The numbers that the compiled side of a module defines: members of enums, and C variables in capitals."""
    root = ROOT.joinpath(*name.split("."))
    found: dict[str, object] = {}
    for path in (root.with_suffix(".pxd"), root.with_suffix(".pyx"), *sorted(root.glob("*.pxi"))):
        if not path.exists():
            continue
        text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        enums = re.findall(r"^.*\benum\b.*$", text, re.MULTILINE)
        assert set(enums) <= {"cdef enum:"}, f"{path}: an enum that is not read"
        for body in re.findall(r"^cdef enum:\n((?:[ \t]+.*\n|[ \t]*\n)+)", text, re.MULTILINE):
            for line in filter(None, map(str.strip, body.splitlines())):
                member, equals, value = line.partition("=")
                assert equals, f"{path}: {line} has no number"
                found[member.strip()] = number(value, found)
        for variable, value in re.findall(r"^cdef \w+ ([A-Z][A-Z0-9_]*) = (.*)$", text, re.MULTILINE):
            found[variable] = number(value, found)
    return found


def interpreted(paths: list[Path]) -> dict[str, object]:
    """The constants of the twin: what it defines, in this order, from what raftx.types has."""
    known: dict[str, object] = {
        key: value for each in (types, layout) for key, value in vars(each).items() if key.isupper()
    }
    for path in paths:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.Assign):
                continue
            try:
                value = number(f"({ast.unparse(node.value)})", known)
            except (NameError, TypeError):
                continue
            for target in node.targets:
                if isinstance(target, ast.Name):
                    known[target.id] = value
                elif isinstance(target, ast.Tuple):
                    known.update(zip([ast.unparse(each) for each in target.elts], value, strict=True))  # type: ignore[call-overload]
    return known


def twin(name: str) -> dict[str, object]:
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    parts = sorted((ROOT / "raftx" / "_twins").glob("*.py")) if name == "raftx._core" else []
    return interpreted([ROOT / "raftx" / "_native" / "memory.py", path, *parts])


@pytest.mark.parametrize("name", TWINS)
def test_constants_are_those_of_the_twin(name: str) -> None:
    ours, theirs = compiled(name), twin(name)
    wrong = []
    for constant, value in ours.items():
        full = f"{name}.{constant}"
        if full in ALONE or f"{name}.*" in ALONE:
            continue
        try:
            other = number(CALLED.get(full, constant), theirs)
        except NameError:
            wrong.append(f"{full} is {value}, and the twin has no such number")
            continue
        if value != other:
            wrong.append(f"{full} is {value}, and {other!r} in the twin")
    assert not wrong, "\n".join(wrong)


def test_what_is_excepted_exists() -> None:
    named = {f"{name}.{constant}" for name in TWINS for constant in compiled(name)}
    every = {f"{name}.*" for name in TWINS}
    assert sorted({*CALLED, *ALONE} - named - every) == []
    assert len(named) > 40


def test_another_number_is_found(tmp_path: Path) -> None:
    """Also one that is given as an expression, and one that follows from others."""
    twin = tmp_path / "twin.py"
    twin.write_text("A = 2**31\nB, _C = range(2)\nD = A - 1\nE = unknown()\n", encoding="utf-8")
    found = interpreted([twin])
    assert (found["A"], found["B"], found["_C"], found["D"]) == (1 << 31, 0, 1, (1 << 31) - 1)
    assert "E" not in found
    assert number("<uint64_t>1 << 63", {}) == 1 << 63
