"""Which test of raftx stands for which test of etcd/raft and raft-rs.

    python -m tests.tools.counterparts    writes tests/COUNTERPARTS.md

The lists under tests/data/counterpart_lists are written by hand; ``raft-rs.names`` and ``etcd.names`` there hold all
names that must occur in them. A line of a list:

    raft-rs FILE::name, etcd FILE::Name -> tests/a/test_x.py::test_a, tests/b/test_y.py::test_b
    etcd FILE::Name -> none: why there is no such test

``==`` starts a section, ``#`` a comment. Names of raft-rs stand without ``test_``, those of etcd without ``Test``; FILE
is the file's name without its suffix (``mod`` is that of raft-rs's fail-points). This module reads and prints; what
must hold is checked by test_counterparts.py.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.paths import DATA, ROOT, TESTS

LISTS = DATA / "counterpart_lists"
PAGE = TESTS / "COUNTERPARTS.md"
PROJECTS = ("raft-rs", "etcd")
#: Words that say the same. Every word of a name is looked up here before two names are compared.
SAME = {
    "app": "append",
    "bcast": "broadcast",
    "cc": "confchange",
    "conf": "config",
    "configuration": "config",
    "ent": "entry",
    "ents": "entry",
    "entries": "entry",
    "logs": "log",
    "learners": "learner",
    "leaders": "leader",
    "members": "node",
    "member": "node",
    "msg": "message",
    "msgs": "message",
    "messages": "message",
    "nodes": "node",
    "peer": "node",
    "prevote": "pre_vote",
    "recv": "receive",
    "resp": "response",
    "snap": "snapshot",
    "snapshots": "snapshot",
    "voters": "voter",
    "votes": "vote",
}
#: Words that say nothing: what is tested is Raft, and it is a test.
IGNORED = frozenset({"raft", "test", "a", "the", "and", "of", "to", "is", "in", "on", "by", "with", "from", "for"})


class ListError(Exception):
    """A line of a list that is not of the form above."""


@dataclass(frozen=True)
class Ancestor:
    """A test of etcd/raft or raft-rs: ``etcd``, ``raft_test::LeaderElection``."""

    project: str
    name: str

    def __str__(self) -> str:
        return f"{self.project} {self.name}"

    @property
    def function(self) -> str:
        return self.name.partition("::")[2]


@dataclass(frozen=True)
class Line:
    """One line of a list: either ``targets`` or ``why`` there are none."""

    where: str
    section: str
    ancestors: tuple[Ancestor, ...]
    targets: tuple[str, ...]
    why: str


def read(path: Path) -> Iterator[Line]:
    """The lines of one list. Raises ListError."""
    section = ""
    for number, text in enumerate(path.read_text(encoding="ascii").splitlines(), 1):
        where = f"{path.name}:{number}"
        if not text.strip() or text.startswith("#"):
            continue
        if text.startswith("=="):
            section = text[2:].strip()
            continue
        left, arrow, right = text.partition(" -> ")
        if not arrow or not section:
            raise ListError(f"{where}: {text}")
        ancestors = []
        for word in left.split(","):
            match = re.fullmatch(r"(raft-rs|etcd) (\w+::\w+)", word.strip())
            if match is None:
                raise ListError(f"{where}: {word.strip()}")
            ancestors.append(Ancestor(match[1], match[2]))
        if right.startswith("none:"):
            yield Line(where, section, tuple(ancestors), (), right.removeprefix("none:").strip())
            continue
        targets = [target.strip() for target in right.split(",")]
        if not all([re.fullmatch(r"tests/(\w+/)*test_\w+\.py(::\w+)+", target) for target in targets]):
            raise ListError(f"{where}: {right}")
        yield Line(where, section, tuple(ancestors), tuple(targets), "")


def read_all() -> list[Line]:
    """The lines of all lists, in the order of the page."""
    return [line for path in sorted(LISTS.glob("*.txt")) for line in read(path)]


def names(project: str) -> list[str]:
    """Every test that the project has, by the committed list."""
    return (LISTS / f"{project}.names").read_text(encoding="ascii").split()


@functools.cache
def functions(path: str) -> dict[str, str]:
    """The tests of a file and their docstrings; a method's name is ``Class::test``."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    found[f"{node.name}::{inner.name}"] = ast.get_docstring(inner) or ""
    return {name: text for name, text in found.items() if name.rpartition("::")[2].startswith("test")}


def docstring(target: str) -> str | None:
    """That of the target, None when there is no such test."""
    path, _, name = target.partition("::")
    return functions(path).get(name) if (ROOT / path).is_file() else None


def words(name: str) -> set[str]:
    """The words of a name in snake or camel case, in one spelling each."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    found = set()
    for part in [part.lower() for part in parts]:
        found.update(SAME.get(part, part).split("_"))
    return found - IGNORED


def findable(line: Line) -> bool:
    """One of the tests has all words of an ancestor in its name, or an ancestor's name in its docstring.

    A name of one word ("restore") is an ordinary word in a docstring, so there it needs its prefix.
    """
    for target in line.targets:
        own = words(target.rpartition("::")[2])
        text = docstring(target) or ""
        for ancestor in line.ancestors:
            wanted = words(ancestor.function)
            prefix = "(test_|Test)" + ("?" if len(wanted) > 1 else "")
            if wanted <= own or re.search(rf"\b{prefix}{ancestor.function}\b", text):
                return True
    return False


def page(lines: list[Line]) -> str:
    """The text of COUNTERPARTS.md."""
    total = {project: sum([a.project == project for line in lines for a in line.ancestors]) for project in PROJECTS}
    targets = {target for line in lines for target in line.targets}
    without = [line for line in lines if not line.targets]
    intro = (
        "What etcd/raft and raft-rs test, raftx tests too: each of their tests stands here with those of raftx that"
        " assert the same behaviour. Made by `python -m tests.tools.counterparts` from `tests/data/counterpart_lists`,"
        " checked by `tests/conformance/counterparts/test_counterparts.py`."
    )
    totals = (
        f"raft-rs: {total['raft-rs']} tests. etcd/raft: {total['etcd']} tests. Lines: {len(lines)}."
        f" Tests of raftx named here: {len(targets)}. Lines without a counterpart: {len(without)}."
    )
    text = ["# Counterparts", "", intro, "", totals]
    section = ""
    for line in lines:
        if line.section != section:
            section = line.section
            text += ["", f"## {section}", "", "| raft-rs | etcd/raft | raftx |", "| --- | --- | --- |"]
        cells = [", ".join([f"`{a.name}`" for a in line.ancestors if a.project == project]) for project in PROJECTS]
        cells.append(", ".join([f"`{t.removeprefix('tests/')}`" for t in line.targets]) or f"none: {line.why}")
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(read_all()), encoding="ascii")
