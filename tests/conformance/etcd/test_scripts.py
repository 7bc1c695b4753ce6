"""The runners for scripts of quorums and of membership changes, and the format that all scripts have.

The scripts under tests/data/scripts are raftx's own; what they expect is what etcd prints. Scripts of other projects
are run where they are: in shared/peer-testdata beside the checkout, or in RAFTX_PEER_TESTDATA.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from interop import confchange_scripts, datadriven, quorum_scripts
from interop.datadriven import (
    Argument,
    Block,
    NumberError,
    ScriptError,
    parse,
    parse_bool,
    parse_command,
    parse_int,
    parse_uint,
)
from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.script_files import SCRIPTS, peer_scripts

RUNNERS = {
    "quorum": quorum_scripts,
    "raft-rs": quorum_scripts,
    "confchange": confchange_scripts,
}


def agrees(path: Path, runner: ModuleType, impl: ModuleType) -> None:
    """The script prints what it says."""
    assert not [str(difference) for difference in datadriven.run(path, runner.make(impl))]


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("quorum/*.txt")), ids=lambda path: path.stem)
def test_quorum_scripts(impl: ModuleType, path: Path) -> None:
    agrees(path, quorum_scripts, impl)


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("confchange/*.txt")), ids=lambda path: path.stem)
def test_confchange_scripts(impl: ModuleType, path: Path) -> None:
    agrees(path, confchange_scripts, impl)


def test_peer_scripts(impl: ModuleType) -> None:
    for path in peer_scripts(*RUNNERS):
        agrees(path, RUNNERS[path.parent.name], impl)


# --- the runners notice what is wrong ------------------------------------------------------------


def quorum(impl: ModuleType, line: str) -> str:
    command, arguments = parse_command(line)
    return quorum_scripts.make(impl)(Block("", 1, command, arguments, "", "", (0, 0)))


def test_commit_groups(impl: ModuleType) -> None:
    assert quorum(impl, "group_committed cfg=(1,2,3) cfgj=zero idx=(4,9,8) gid=(1,2,2)") == "4\n"
    assert quorum(impl, "group_committed cfg=(1,2,3) cfgj=zero idx=(4,9,8) gid=(1,2,1)") == "8\n"
    assert quorum(impl, "group_committed cfg=(1,2,3) cfgj=zero idx=(4,9,8) gid=(_,2,2)") == "4\n"


@pytest.mark.parametrize(
    "line",
    [
        "committed cfg=(1,2) idx=(0,3)",
        "committed cfg=(1,2) idx=(x,3)",
        "committed cfg=(1) cfgj=(zero,2) idx=(3,4)",
        "committed cfg=(1) size=(3)",
        "vote cfg=(1) votes=(maybe)",
        "elect cfg=(1) idx=(3)",
    ],
)
def test_quorum_arguments_that_are_not_taken(impl: ModuleType, line: str) -> None:
    with pytest.raises(ScriptError):
        quorum(impl, line)


def test_a_result_that_must_not_depend_on_the_order_is_checked(
    impl: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = module(impl, "consensus.quorum")
    monkeypatch.setattr(code, "py_vote_result", lambda voters, outgoing, votes: 3 if 1 in voters else 2)
    assert quorum(impl, "vote cfg=(1) cfgj=(2) votes=(y,y)") == "VoteLost <-- via symmetry\nVoteWon\n"
    monkeypatch.setattr(code, "py_committed_index", lambda voters, outgoing, matches: (len(voters), False))
    assert quorum(impl, "committed cfg=(1) idx=(7)").splitlines()[2:] == [
        "7 <-- via alternative computation",
        "0 <-- via zero-joint quorum",
        "1",
    ]


# --- the format ----------------------------------------------------------------------------------


@pytest.mark.once
def test_commands_and_arguments() -> None:
    assert parse_command("go") == ("go", ())
    assert parse_command("  go a   b=1 c=(2, 3,4) d= e=(f(1,2), g) h=() ") == (
        "go",
        (
            Argument("a"),
            Argument("b", ("1",)),
            Argument("c", ("2", "3", "4")),
            Argument("d", ("",)),
            Argument("e", ("f(1,2)", "g")),
            Argument("h", ("",)),
        ),
    )
    assert parse_command('propose 1 "a=b"')[1] == (Argument("1"), Argument('"a', ('b"',)))
    for line in ("go =1", "go a = b", "go a=(1,2", "go a=((1)"):
        with pytest.raises(ScriptError):
            parse_command(line)


SCRIPT = """# a comment

first a=1 \\
  b=2
input
# no comment here

more input
----
printed
  indented
# this is output

second
----
----
one

two
----
----

subtest group
third
----
fourth has no output
----

fifth has no separator
"""


@pytest.mark.once
def test_blocks() -> None:
    blocks = list(parse(SCRIPT, "x.txt"))
    assert [(block.line, block.command, block.input, block.expected) for block in blocks] == [
        (3, "first", "input\n# no comment here\n\nmore input", "printed\n  indented\n# this is output\n"),
        (14, "second", "", "one\n\ntwo\n"),
        (24, "third", "", "fourth has no output\n----\n"),
        (29, "fifth", "", ""),
    ]
    assert blocks[0].arguments == (Argument("a", ("1",)), Argument("b", ("2",)))
    assert blocks[0].first() == "a" and blocks[0].value("b") == "2"
    with pytest.raises(ScriptError, match="missing argument: c"):
        blocks[0].value("c")
    assert [block.line for block in parse(SCRIPT.replace("\n", "\r\n"))] == [3, 14, 24, 29]


@pytest.mark.once
def test_numbers() -> None:
    assert (parse_uint("18446744073709551615"), parse_int("-9223372036854775808"), parse_int("+7")) == (
        2**64 - 1,
        -(2**63),
        7,
    )
    for text in ("", "-1", "+1", "1_0", " 1", "٣", "x"):
        with pytest.raises(NumberError) as caught:
            parse_uint(text)
        assert str(caught.value) == f'strconv.ParseUint: parsing "{text}": invalid syntax'
    with pytest.raises(NumberError, match="value out of range"):
        parse_uint("18446744073709551616")
    with pytest.raises(NumberError, match=r'strconv\.Atoi: parsing "9223372036854775808": value out of range'):
        parse_int("9223372036854775808", "Atoi")
    assert parse_bool("T") and not parse_bool("False")
    with pytest.raises(NumberError, match=r'strconv\.ParseBool: parsing "yes": invalid syntax'):
        parse_bool("yes")


@pytest.mark.once
def test_differences_have_a_place_and_an_exception_ends_the_file(tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text("a\n----\na\n\nb\nx y\n----\nB\n\nc k=v\n----\nc\n\nd\n----\nD\n")

    def handler(block: Block) -> str:
        if block.command == "c":
            raise ValueError("broken")
        return block.command

    differences = datadriven.run(path, handler)
    assert [difference.block.line for difference in differences] == [5, 10]
    text = str(differences[0])
    assert text.startswith(f"{path}:5: b\n    x y\n") and "\n  -B\n  +b" in text
    assert "c k=v" in str(differences[1]) and "ValueError: broken" in str(differences[1])


@pytest.mark.once
def test_rewriting_puts_in_what_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text("# kept\na\n----\nold\nold\n\nb\ninput\n----\n----\nold\n\nold\n----\n----\n\nc\n----\n")
    printed = {"a": "new", "b": "x\ny\n", "c": "1\n\n2"}
    assert datadriven.run(path, lambda block: printed[block.command], rewrite=True) == []
    assert path.read_text() == "# kept\na\n----\nnew\n\nb\ninput\n----\nx\ny\n\nc\n----\n----\n1\n\n2\n----\n----\n"
    assert datadriven.run(path, lambda block: printed[block.command]) == []


@pytest.mark.once
def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, broken = tmp_path / "good", tmp_path / "bad", tmp_path / "broken"
    good.write_text("vote cfg=(1) votes=(y)\n----\nVoteWon\n")
    bad.write_text("vote cfg=(1) votes=(n)\n----\nVoteWon\n")
    broken.write_text("vote cfg=(1\n----\nVoteWon\n")
    make = quorum_scripts.make
    assert datadriven.main(lambda: make(next(iter(IMPLEMENTATIONS.values()))), "", arguments=[str(good)]) == 0
    assert capsys.readouterr().out == f"ok {good}\n"
    assert datadriven.main(make, "", arguments=[str(good), str(bad), str(broken), str(tmp_path / "none")]) == 1
    out = capsys.readouterr().out
    assert f"{bad}:1: vote cfg=1 votes=n" in out and "-VoteWon\n  +VoteLost" in out
    assert f"{broken}:1: a parenthesis is not closed" in out
    assert out.endswith("3 of 4 files differ\n")
