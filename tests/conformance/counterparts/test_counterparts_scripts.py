"""Scripts and their format: counterparts of etcd's data-driven and interaction tests and of raft-rs's datadriven crate.

The scripts are raftx's own, under tests/data/scripts; what they expect is what etcd prints. Here is that they are run,
and that between them they have every command; test_scripts.py and test_interaction.py run each by itself, and those
of others where there are any.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from interop import confchange_scripts, datadriven, interaction, quorum_scripts
from interop.datadriven import Argument, Block, ScriptError, parse, parse_command
from tests.helpers.script_files import SCRIPTS

#: What scripts of interactions may say.
INTERACTIONS = {
    *("add-nodes", "campaign", "compact", "deliver-msgs", "process-ready", "process-append-thread", "log-level"),
    *("process-apply-thread", "raft-log", "raft-state", "set-randomized-election-timeout", "stabilize", "status"),
    *("tick-election", "tick-heartbeat", "transfer-leadership", "forget-leader", "send-snapshot", "propose"),
    *("propose-conf-change", "report-unreachable"),
}


def run_all(name: str, make: Callable[[], datadriven.Handler], normal: Callable[[str], str] = str) -> set[str]:
    """Every script of that kind prints what it says; the commands that they have."""
    commands = set()
    for path in sorted(SCRIPTS.glob(f"{name}/*.txt")):
        assert [str(difference) for difference in datadriven.run(path, make(), normal)] == []
        commands |= {block.command for block in parse(path.read_text(encoding="utf-8"))}
    return commands


# --- what scripts look at -------------------------------------------------------------------------


def test_data_driven_quorum(impl: ModuleType) -> None:
    """Committed indexes and votes of majorities and joint ones, and commit groups (raft-rs only)."""
    commands = run_all("quorum", lambda: quorum_scripts.make(impl))
    assert commands == {"committed", "vote", "group_committed"}


def test_conf_change_data_driven(impl: ModuleType) -> None:
    """Simple and joint changes: what they come to, what is refused, and that nothing is done twice."""
    commands = run_all("confchange", lambda: confchange_scripts.make(impl))
    assert commands >= {"simple", "enter-joint", "leave-joint"}


def test_interaction(impl: ModuleType) -> None:
    """Whole groups, command by command: everything that they print is as in etcd."""
    commands = run_all("interaction", lambda: interaction.make(impl), interaction.normal)
    assert commands >= INTERACTIONS


@pytest.mark.once
@pytest.mark.parametrize(
    ("acknowledged", "bars"),
    [
        ({1: 101, 2: 102, 3: 103}, [">      101", "x>     102", "xx>    103"]),
        ({1: 100, 2: 100, 3: 100}, [">      100", ">      100", ">      100"]),
        ({1: 100, 2: 102, 3: 102}, [">      100", "x>     102", "x>     102"]),
        ({1: 101, 3: 103}, ["x>     101", "?        0", "xx>    103"]),
    ],
)
def test_describe(acknowledged: dict[int, int], bars: list[str]) -> None:
    """A majority as text: a bar for each voter, as long as there are voters behind it."""
    lines = [f"{bar}    (id={id})\n" for id, bar in enumerate(bars, 1)]
    assert quorum_scripts.drawn((1, 2, 3), acknowledged) == "".join(["       idx\n", *lines])


# --- the format: raft-rs's datadriven crate -------------------------------------------------------


@pytest.mark.once
def test_parse_line() -> None:
    """A command, and arguments with one value, several, an empty one and none."""
    assert parse_command("cmd a=1 b=(2,3) c= d") == (
        "cmd",
        (Argument("a", ("1",)), Argument("b", ("2", "3")), Argument("c", ("",)), Argument("d")),
    )


@pytest.mark.once
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cmd a=1 b=2,2,2 c=(3,33,3333)", ["cmd", "a=1", "b=2,2,2", "c=(3,33,3333)"]),
        ("cmd a b c", ["cmd", "a", "b", "c"]),
        ("cmd", ["cmd"]),
        ("cmd a=1 ", ["cmd", "a=1"]),
        ("cmd                  a=11 b=2,2,2 cc=(3, 2, 1)", ["cmd", "a=11", "b=2,2,2", "cc=(3,2,1)"]),
    ],
)
def test_split_directives(line: str, words: list[str]) -> None:
    """Where the words of a line end. Blanks beyond the first are no error here; raft-rs takes none at the end."""
    command, arguments = parse_command(line)
    assert [command, *map(str, arguments)] == words


@pytest.mark.once
@pytest.mark.parametrize("line", ["cmd a=(1,2", "cmd =1", "cmd a=1 ="])
def test_split_directives_refuses(line: str) -> None:
    """A list that does not end, and values of nothing."""
    with pytest.raises(ScriptError):
        parse_command(line)


@pytest.mark.once
def test_contains_key() -> None:
    """Whether a command was given an argument of that name."""
    arguments = (Argument("key", ("123", "92", "92")), Argument("key2", ("some string",)))
    block = Block("x", 1, "cmd", arguments, "", "", (0, 0))
    assert block.value("key2") == "some string" and block.values("key") == ("123", "92", "92")
    with pytest.raises(ScriptError, match="missing argument: key1"):
        block.values("key1")


BEFORE = """# Comments and empty lines stay.

noop
two
lines
----
something else

duplicate
same
----

duplicate-with-blank
same
----
----
old

old
----
----

no-output
given
----
old
"""

AFTER = """# Comments and empty lines stay.

noop
two
lines
----
two
lines

duplicate
same
----
same
same

duplicate-with-blank
same
----
----
same

same
----
----

no-output
given
----
"""


def respond(block: Block) -> str:
    """What the commands of these scripts print."""
    return {
        "noop": block.input,
        "duplicate": f"{block.input}\n{block.input}",
        "duplicate-with-blank": f"{block.input}\n\n{block.input}",
        "no-output": "",
    }[block.command]


@pytest.mark.once
def test_rewrite(tmp_path: Path) -> None:
    """A script takes over what is printed; all else in it stays, and it says the same when it is run again."""
    path = tmp_path / "script.txt"
    path.write_text(BEFORE, encoding="ascii")
    assert datadriven.run(path, respond, rewrite=True) == []
    assert path.read_text(encoding="ascii") == AFTER
    assert datadriven.run(path, respond) == []


@pytest.mark.once
@pytest.mark.parametrize(
    ("printed", "doubled"),
    [("123\n  123\n", False), ("123\n  \n123\n", True), ("123\n\n123\n", True), ("\n", True), ("", False)],
)
def test_blank_line(tmp_path: Path, printed: str, doubled: bool) -> None:
    """Output with a blank line in it stands between pairs of dashes, or it would end there."""
    path = tmp_path / "script.txt"
    path.write_text("go\n----\nold\n", encoding="ascii")
    datadriven.run(path, lambda block: printed, rewrite=True)
    assert path.read_text(encoding="ascii").startswith("go\n----\n----\n") is doubled
    assert datadriven.run(path, lambda block: printed) == []


def arithmetic(block: Block) -> str:
    """One line for each argument: the sum or the largest of its numbers, or all its values one after the other."""
    lines = []
    for argument in block.arguments:
        if block.command == "repeat":
            result = "".join(argument.values)
        else:
            numbers = [int(number) for value in argument.values for number in value.split(",") if number]
            result = str(sum(numbers) if block.command == "sum" else max(numbers, default=0))
        lines.append(f"{argument.key}={result}\n")
    return "".join(lines)


NUMBERS = """# Lines may go on behind a backslash.
sum a=1 \\
  b=(2,3) \\
  c
----
a=1
b=5
c=0

max a=(3, 9,4) b= c=7,8
----
a=9
b=0
c=8

repeat a=(x, y) b
----
a=xy
b=

sum
----
"""


@pytest.mark.once
def test_datadriven(tmp_path: Path) -> None:
    """Every block of a file is run in its order, and each difference is found where it is."""
    path = tmp_path / "script.txt"
    path.write_text(NUMBERS, encoding="ascii")
    assert datadriven.run(path, arithmetic) == []
    assert [(block.command, len(block.arguments)) for block in parse(NUMBERS)] == [
        ("sum", 3),
        ("max", 3),
        ("repeat", 2),
        ("sum", 0),
    ]
    path.write_text(NUMBERS.replace("b=5", "b=6").replace("a=xy", "a=x"), encoding="ascii")
    assert [difference.block.line for difference in datadriven.run(path, arithmetic)] == [2, 16]


@pytest.mark.once
@pytest.mark.parametrize("text", ["sum a=(1,2\n----\na=3\n", "sum =1\n----\n", "sum a=1 b=(\n----\na=1\n"])
def test_unknown_data(tmp_path: Path, text: str) -> None:
    """A file that is none in this format is refused, with the place in it."""
    path = tmp_path / "script.txt"
    path.write_text(f"sum a=1\n----\na=1\n\n{text}", encoding="ascii")
    with pytest.raises(ScriptError, match=r"script\.txt:5: "):
        datadriven.run(path, arithmetic)
