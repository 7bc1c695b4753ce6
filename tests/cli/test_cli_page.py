"""docs/cli.md says what the command does: each command, option, exit code and key of JSON is there, and no others."""

import importlib.metadata
import re

import click
import pytest

from raftx.cli import bench, doctor
from raftx.cli.app import app
from raftx.cli.codes import EXIT_CODES
from raftx.cli.main import main
from raftx.demo.run import NODES
from tests.helpers.admin_server import TOKEN, Made, serving
from tests.helpers.commands import ran
from tests.helpers.demo import KEYS
from tests.helpers.directories import descriptor, member
from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.helpers.wal import CLUSTER, segment
from tests.tools import cli_page

# Options of other programs that the page shows.
FOREIGN: set[str] = set()
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(top=app, name="raftx"):
    """Every command by its name."""
    if isinstance(top, click.Group):
        for word, each in top.commands.items():
            yield from commands(each, f"{name} {word}")
    else:
        yield name, top


def options(command):
    """Those of a command; what every one has is told once."""
    return {option for parameter in command.params for option in parameter.opts if option.startswith("-")}


@pytest.mark.once
def test_every_command_and_option_is_there():
    names = {name for name, _ in commands()}
    assert names == set(re.findall(r"^\| `(raftx(?: [a-z]+)+)", PAGE, re.MULTILINE))
    known = {"--help", "--version", "--debug"}
    for name, each in commands():
        for option in options(each):
            assert option in PAGE, f"{name} {option}"
        known |= options(each)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", PAGE)) - known - FOREIGN == set()


@pytest.mark.once
def test_exit_codes_are_those_of_the_help():
    assert re.findall(r"^\| (\d[\d, ]*) \| (.*) \|$", PAGE, re.MULTILINE) == list(EXIT_CODES.items())


@pytest.mark.once
def test_it_is_installed():
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="raftx")
    assert command.load() is main


def test_keys_are_those_of_the_page(impl, tmp_path):
    backup = tmp_path / "backup"
    writer = module(impl, "storage.snapshot_copy").BackupWriter(backup, descriptor(impl, 7), False)
    writer.write(b"state")
    writer.finish()
    path = member(impl, tmp_path / "n", entries=5, snapshots=(3,))
    info = ran(impl, "wal", "info", "--json", path).json()
    assert set(info) == cli_page.keys_of("`wal info`")
    assert set(info["founding"]) == cli_page.keys_of("its `founding`")
    assert set(info["log"]) == cli_page.keys_of("its `log`") - {"mark"}
    assert set(info["segments"][0]) == cli_page.keys_of("each of its `segments`")
    assert set(info["snapshots"][0]) == cli_page.keys_of("each of its `snapshots`")
    dumped = ran(impl, "wal", "dump", "--json", "--data", "--to", "1", path).json()
    assert set(dumped) == cli_page.keys_of("`wal dump`")
    assert set(ran(impl, "wal", "verify", "--json", path).json()) == cli_page.keys_of("`wal verify`")
    described = ran(impl, "snapshot", "info", "--json", backup).json()
    assert set(described) == cli_page.keys_of("`snapshot info`")
    verified = ran(impl, "snapshot", "verify", "--json", backup).json()
    assert set(verified) == set(described) | {"file", "whole"}
    restored = ran(impl, "restore", "--json", backup, tmp_path / "r", "--id", "1", "--members", "1").json()
    assert set(restored) == cli_page.keys_of("`restore`")
    recovered = ran(impl, "recover", "--json", "--accept-loss", path, "--cluster", "00" * 16).json()
    assert set(recovered) == cli_page.keys_of("`recover`")
    other = member(impl, tmp_path / "m", entries=5)
    data = bytearray(segment(other).read_bytes())
    data[4096 + 40] ^= 1
    segment(other).write_bytes(data)
    damage = ran(impl, "wal", "info", "--json", other).json()["damage"][0]
    assert set(damage) == {"file", "place", "reason", "remedy"}
    rebuilt = ran(impl, "wal", "rebuild", "--json", other).json()
    assert set(rebuilt) == cli_page.keys_of("`wal rebuild`") and rebuilt["cluster"] == CLUSTER.hex()


def test_keys_of_what_asks_a_cluster(impl, tmp_path, monkeypatch):
    """Those of the page, for the other commands; ``bench`` and ``demo`` are looked at where they run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAFTX_TOKEN", TOKEN)
    keys = cli_page.keys_of
    made = Made()
    writer = module(impl, "storage.snapshot_copy").BackupWriter(tmp_path / "b", descriptor(impl, 7), False)
    writer.write(b"state")
    writer.finish()
    made.backup = (tmp_path / "b").read_bytes()
    found = ran(impl, "init", "--json", "1=127.0.0.1:1", "--cluster", "x").json()
    assert set(found) == keys("`init`") and set(found["members"]["1"]) == {"url", "admin", "learner"}
    assert set(ran(impl, "create", "--json", "--id", "1").json()) == keys("`create`, `join`")
    done = ran(impl, "join", "--json", "j", "--id", "2", "--config", "cluster.toml")
    assert set(done.json()) == keys("`create`, `join`")
    with serving(made) as url:
        monkeypatch.setenv("RAFTX_ADMIN", url)
        found = ran(impl, "status", "--json").json()
        assert set(found) == keys("`status`") and set(found["members"][0]) == keys("each of its `members`")
        found = ran(impl, "members", "--json").json()
        assert set(found) | set(found["members"][0]) == keys("`members`")
        assert set(ran(impl, "backup", "--json", "backup").json()) == keys("`backup`")
        (row,) = [each for each in PAGE.splitlines() if each.startswith("| `add`, `promote`")]
        outcome = set(ran(impl, "transfer", "--json", "2").json())
        made.instead = [(409, {"outcome": "not done", "reason": "x"})]
        assert outcome | set(ran(impl, "transfer", "--json", "2").json()) == {"outcome", "result", "reason"}
        assert all(f"`{key}`" in row for key in ("outcome", "result", "reason"))
        assert set(ran(impl, "watch", "--json", "--count", "1").json()) == keys("`watch`")
    found = ran(impl, "doctor", "--json", "--seconds", "0.1").json()
    assert set(found) == keys("`doctor`") and set(found["settings"]) == keys("its `settings`")
    assert set(ran(impl, "completion", "zsh", "--json").json()) == keys("`completion`")
    assert keys("`demo`") == {*KEYS, "problem"}


# --- its examples ------------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.slow
def test_examples_are_what_is_printed():
    """python -m tests.tools.cli_page --write puts into the page what is printed now."""
    printed = cli_page.ran(PAGE, measuring=False)
    for block, now in zip(cli_page.blocks(PAGE), printed, strict=True):
        assert cli_page.skeleton(now) == cli_page.skeleton(block)


@pytest.mark.once
def test_every_command_has_an_example():
    shown = " ".join(f"{each} " for block in cli_page.blocks(PAGE) for each in cli_page.commands(block))
    # "raftx snapshot restore" is "raftx restore", a script is too long to be shown, and a server does not end.
    missing = [name for name, _ in commands() if f"{name} " not in shown]
    assert set(missing) == {"raftx snapshot restore", "raftx completion", "raftx serve"}


@pytest.mark.once
def test_examples_that_measure_have_what_their_commands_print():
    (doctored,) = [each for each in cli_page.blocks(PAGE) if each.startswith("$ raftx doctor")]
    assert tuple(doctored.splitlines()[3].split()) == doctor.NAMES
    (measured,) = [each for each in cli_page.blocks(PAGE) if each.startswith("$ raftx bench")]
    assert " ".join(bench.NAMES).split() in [line.split() for line in measured.splitlines()]
    (shown,) = [each for each in cli_page.blocks(PAGE) if each.startswith("$ raftx demo")]
    assert shown.splitlines()[-1] == f"every acknowledged line is on all {NODES} nodes, once and in order"


@pytest.mark.once
def test_a_changed_output_is_noticed():
    """What two outputs may differ in: numbers, times, names that are drawn."""
    same = cli_page.skeleton
    assert same("term 7, 12:30:01, 2.1 ms") == same("term  8, 02:03:04, 13 ms")
    assert same("cluster 1b5687632fdbb17198c3de8c0080fb60") == same("cluster e5d6bbda3889f165ca581d5c376c4289")
    assert same("member 1 is a voter") != same("member 1 is a learner")
    assert same("a\nb") != same("a b")
