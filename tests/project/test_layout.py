"""Where tests are: folders like those of the package, helpers and tools apart, and no test imports another.

Reads the files; runs nothing.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import TESTS

pytestmark = pytest.mark.once

# What tests are about; those of conformance say against whom.
FOLDERS = {
    "native", "consensus", "storage", "transport", "node", "admin", "aio", "recipes", "kv", "simulation", "cli",
    "project",
    "conformance/counterparts", "conformance/etcd", "conformance/raft_rs", "conformance/history",
}  # fmt: skip
# Helpers are imported by tests. Tools are programs that make runs, and may have tests that import them.
APART = {"helpers", "tools", "tools/crash"}
LINES_MAX = 700


def files() -> list[Path]:
    return sorted(path.relative_to(TESTS) for path in TESTS.rglob("*.py") if "data" not in path.parts)


def imported(path: Path) -> Iterator[str]:
    """Every name that a file imports, in full: ``tests.helpers.wal.opened``."""
    for node in ast.walk(ast.parse((TESTS / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_each_test_is_in_a_folder_of_its_subject() -> None:
    assert {str(path.parent) for path in files() if path.name.startswith("test_")} == FOLDERS
    others = {path for path in files() if not path.name.startswith("test_") and path.name != "__init__.py"}
    assert {str(path.parent) for path in others - {Path("conftest.py")}} == APART


def test_names_of_files_are_unique() -> None:
    """So that a name says which file is meant, without its folder."""
    names = Counter(path.name for path in files() if path.name != "__init__.py")
    assert [name for name, times in names.items() if times > 1] == []


def test_every_folder_is_a_package() -> None:
    folders = {path.parent for path in files()} | {Path("conformance"), Path()}
    assert [str(folder) for folder in folders if not (TESTS / folder / "__init__.py").is_file()] == []


def test_no_test_imports_another() -> None:
    """What two of them need is a helper; so is what they would take from conftest."""
    wrong = []
    for path in files():
        for name in imported(path):
            parts = name.split(".")
            of_tests = any(part.startswith("test_") for part in parts) or "conftest" in parts
            elsewhere = parts[0] == "tests" and len(parts) > 1 and parts[1] not in APART
            if of_tests or elsewhere or parts[0] == "":
                wrong.append(f"{path}: {name}")
    assert wrong == []


def test_helpers_import_no_tools() -> None:
    wrong = [f"{path}: {name}" for path in files() if path.parts[0] == "helpers" for name in imported(path)]
    assert [text for text in wrong if "tests.tools" in text] == []


def test_helpers_and_tools_hold_no_tests() -> None:
    wrong = []
    for path in files():
        if path.name.startswith("test_"):
            continue
        for node in ast.parse((TESTS / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                wrong.append(f"{path}: {node.name}")
    assert wrong == []


def test_files_are_short_and_say_what_they_are_for() -> None:
    wrong = []
    for path in files():
        text = (TESTS / path).read_text(encoding="utf-8")
        if len(text.splitlines()) > LINES_MAX:
            wrong.append(f"{path}: more than {LINES_MAX} lines")
        if text.strip() and not text.startswith('"""'):
            wrong.append(f"{path}: opens without a docstring")
    assert wrong == []
