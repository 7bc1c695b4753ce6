"""Every test of etcd/raft and raft-rs has its counterpart, or a line that says why not.

Checks the lists under tests/data/counterpart_lists, not what the tests do.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.tools import counterparts
from tests.tools.counterparts import Ancestor, Line, ListError

pytestmark = pytest.mark.once

#: How many lines may say that there is no counterpart.
MOST_WITHOUT = 40


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return counterparts.read_all()


@pytest.mark.parametrize(("project", "count"), [("raft-rs", 256), ("etcd", 258)])
def test_the_lists_have_every_test_once(lines: list[Line], project: str, count: int) -> None:
    known = counterparts.names(project)
    assert len(known) == len(set(known)) == count
    listed = Counter([ancestor.name for line in lines for ancestor in line.ancestors if ancestor.project == project])
    assert sorted(set(listed) - set(known)) == [], "names that the project does not have"
    assert sorted(set(known) - set(listed)) == [], "tests without a line"
    assert [name for name, times in listed.items() if times > 1] == [], "on several lines"


def test_every_counterpart_exists(lines: list[Line]) -> None:
    targets = [(line.where, target) for line in lines for target in line.targets]
    assert [(where, target) for where, target in targets if counterparts.docstring(target) is None] == []


def test_a_counterpart_is_found_by_the_name(lines: list[Line]) -> None:
    hidden = [f"{line.where}: {', '.join(map(str, line.ancestors))}" for line in lines if line.targets]
    hidden = [text for text, line in zip(hidden, [x for x in lines if x.targets]) if not counterparts.findable(line)]
    assert hidden == []


def test_few_have_no_counterpart_and_each_says_why(lines: list[Line]) -> None:
    without = [line for line in lines if not line.targets]
    assert [line.where for line in without if len(line.why) < 10] == []
    assert len(without) <= MOST_WITHOUT


def test_the_page_is_what_the_lists_say(lines: list[Line]) -> None:
    """``python -m tests.tools.counterparts`` writes it."""
    assert counterparts.PAGE.read_text(encoding="ascii") == counterparts.page(lines)


# --- the checks notice what is wrong --------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "etcd a::B -> tests/test_a.py::test_b",
        "== S\netcd a::B, tests/test_a.py::test_b",
        "== S\ngo a::B -> tests/test_a.py::test_b",
        "== S\netcd B -> tests/test_a.py::test_b",
        "== S\netcd a::B -> test_a.py::test_b",
        "== S\netcd a::B -> tests/test_a.py",
    ],
)
def test_lines_of_another_form_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text, encoding="ascii")
    with pytest.raises(ListError):
        list(counterparts.read(path))


def test_a_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(
        "# of all\n== S\n"
        "raft-rs test_a::b_c, etcd a_test::BC -> tests/test_a.py::test_b_c, tests/test_a.py::T::test_d\n"
        "\netcd a_test::D -> none: no such thing\n",
        encoding="ascii",
    )
    first, second = counterparts.read(path)
    assert first.ancestors == (Ancestor("raft-rs", "test_a::b_c"), Ancestor("etcd", "a_test::BC"))
    assert (first.targets, first.why) == (("tests/test_a.py::test_b_c", "tests/test_a.py::T::test_d"), "")
    assert (second.section, second.targets, second.why) == ("S", (), "no such thing")
    assert counterparts.page([first, second]).count("\n| ") == 4


@pytest.mark.parametrize(
    ("ancestor", "name", "found"),
    [
        ("MsgAppFlowControlFull", "test_message_append_flow_control_full", True),
        ("msg_app_flow_control_full", "test_flow_control_when_full_of_append_messages", True),
        ("LeaderElectionPreVote", "test_leader_election_prevote", True),
        ("LeaderElectionInOneRoundRPC", "test_leader_election_in_one_round_rpc", True),
        ("SnapshotAbort", "test_a_snapshot_ends", False),
        ("conf_change", "test_config", False),
    ],
)
def test_names_are_compared_by_their_words(ancestor: str, name: str, found: bool) -> None:
    assert (counterparts.words(ancestor) <= counterparts.words(name)) is found


def test_a_name_in_the_docstring_is_enough() -> None:
    """Here are the names that it looks for: TwoWords, but not TwoWordsMore; one, and TestOther."""
    own = "tests/conformance/counterparts/test_counterparts.py::test_a_name_in_the_docstring_is_enough"
    found = [
        name
        for name in ("TwoWords", "TwoWord", "Words", "one", "Other", "NameInDocstring")
        if counterparts.findable(Line("x:1", "S", (Ancestor("etcd", f"a_test::{name}"),), (own,), ""))
    ]
    assert found == ["TwoWords", "Other", "NameInDocstring"]
    assert counterparts.docstring(f"{own}_or_not") is None
    assert counterparts.docstring("tests/test_no_such_file.py::test_x") is None
