"""HISTORY.md, the list of what went wrong in other Raft implementations: complete, and every test it names is there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.helpers.paths import TESTS

pytestmark = pytest.mark.once

NUMBERS = 64
WITHOUT_MOST = 12
ROW = re.compile(r"\| *(\d+) *\|(.+)\|(.+)\|")
NAME = re.compile(r"`([\w/]+/test_\w+\.py)::(test_\w+)`")
CANNOT = "cannot occur:"


def rows() -> list[tuple[int, str, str]]:
    """(number, what went wrong, what guards against it) of the table."""
    found = []
    for line in (TESTS / "HISTORY.md").read_text().splitlines():
        match = ROW.fullmatch(line)
        if match:
            found.append((int(match[1]), match[2].strip(), match[3].strip()))
    return found


def listed_in(file: str) -> dict[str, str]:
    """The tests in a file, with their docstrings."""
    tree = ast.parse((TESTS / file).read_text())
    return {
        node.name: ast.get_docstring(node) or ""
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def numbers_in(docstring: str) -> set[int]:
    """The numbers that a docstring names: "History 4: ..." or "History 43 to 49: ..."."""
    found: set[int] = set()
    for low, high in re.findall(r"History (\d+)(?: to (\d+))?:", docstring):
        found |= set(range(int(low), int(high or low) + 1))
    return found


def test_every_number_stands_there_once() -> None:
    assert [number for number, _, _ in rows()] == list(range(1, NUMBERS + 1))
    assert all(len(text) > 20 for _, text, _ in rows())


def test_every_number_has_a_test_or_a_reason() -> None:
    without = [number for number, _, guard in rows() if not NAME.search(guard)]
    assert len(without) <= WITHOUT_MOST
    for number, _, guard in rows():
        if number in without:
            assert guard.startswith(CANNOT) and len(guard) > 60, f"{number}: {guard}"
        else:
            # Nothing but names, so that none is missed because it is written in another way.
            assert re.sub(r"[\s,]", "", NAME.sub("", guard)) == "", f"{number}: {guard}"


def test_every_test_that_is_named_exists() -> None:
    named = {name for _, _, guard in rows() for name in NAME.findall(guard)}
    assert named
    for file in {file for file, _ in named}:
        missing = {test for other, test in named if other == file} - listed_in(file).keys()
        assert not missing, f"{file}: {missing}"


def test_every_test_that_names_a_number_is_in_its_row() -> None:
    guards = {number: set(NAME.findall(guard)) for number, _, guard in rows()}
    told = 0
    for file in sorted(str(path.relative_to(TESTS)) for path in TESTS.rglob("test_history_*.py")):
        for test, docstring in listed_in(file).items():
            numbers = numbers_in(docstring)
            assert numbers, f"{file}::{test} names no number"
            for number in numbers:
                told += 1
                assert (file, test) in guards[number], f"{file}::{test} is not in row {number}"
    assert told > NUMBERS
