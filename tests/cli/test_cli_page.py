"""docs/cli.md says what the command does: each command, option, exit code and key of JSON is there, and no others."""

import argparse
import importlib.metadata
import re

import pytest

from raftx.cli.main import EXIT_CODES, main, parser
from tests.helpers.commands import ran
from tests.helpers.directories import descriptor, member
from tests.helpers.implementations import module
from tests.helpers.paths import ROOT
from tests.helpers.wal import CLUSTER, segment

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(top=None, name="raftx"):
    """Every command with its parser."""
    top = top or parser()
    (parts,) = [each for each in top._actions if isinstance(each, argparse._SubParsersAction)] or [None]
    if parts is None:
        yield name, top
        return
    for word, each in parts.choices.items():
        yield from commands(each, f"{name} {word}")


@pytest.mark.once
def test_every_command_and_option_is_there():
    names = {name for name, _ in commands()}
    assert names == set(re.findall(r"^\| `(raftx(?: [a-z]+)+)", PAGE, re.MULTILINE))
    for name, each in commands():
        for action in each._actions:
            for option in action.option_strings:
                assert option == "-h" or option in PAGE, f"{name} {option}"
    for option in re.findall(r"--[a-z][a-z-]+", PAGE):
        known = {text for _, each in commands() for action in each._actions for text in action.option_strings}
        assert option in known, option


@pytest.mark.once
def test_exit_codes_are_those_of_the_help():
    assert set(re.findall(r"^  (\d+)", EXIT_CODES, re.MULTILINE)) == {"0", "1", "2", "3", "4", "130"}
    codes = re.findall(r"^\| (\d[\d, ]*) \|", PAGE, re.MULTILINE)
    assert codes == ["0", "1", "2", "3", "4", "130, 141"]


@pytest.mark.once
def test_it_is_installed():
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="raftx")
    assert command.load() is main


def keys_of(name):
    (row,) = re.findall(rf"^\| {re.escape(name)} \| (.*) \|$", PAGE, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", row)))


def test_keys_are_those_of_the_page(impl, tmp_path):
    backup = tmp_path / "backup"
    writer = module(impl, "storage.snapshot_copy").BackupWriter(backup, descriptor(impl, 7), False)
    writer.write(b"state")
    writer.finish()
    path = member(impl, tmp_path / "n", entries=5, snapshots=(3,))
    info = ran(impl, "wal", "info", "--json", path).json()
    assert set(info) == keys_of("`wal info`")
    assert set(info["founding"]) == keys_of("its `founding`")
    assert set(info["log"]) == keys_of("its `log`") - {"mark"}
    assert set(info["segments"][0]) == keys_of("each of its `segments`")
    assert set(info["snapshots"][0]) == keys_of("each of its `snapshots`")
    dumped = ran(impl, "wal", "dump", "--json", "--data", "--to", "1", path).json()
    assert set(dumped) == keys_of("`wal dump`")
    assert set(ran(impl, "wal", "verify", "--json", path).json()) == keys_of("`wal verify`")
    described = ran(impl, "snapshot", "info", "--json", backup).json()
    assert set(described) == keys_of("`snapshot info`")
    verified = ran(impl, "snapshot", "verify", "--json", backup).json()
    assert set(verified) == set(described) | {"file", "whole"}
    restored = ran(impl, "restore", "--json", backup, tmp_path / "r", "--id", "1", "--members", "1").json()
    assert set(restored) == keys_of("`restore`")
    recovered = ran(impl, "recover", "--json", "--accept-loss", path, "--cluster", "00" * 16).json()
    assert set(recovered) == keys_of("`recover`")
    other = member(impl, tmp_path / "m", entries=5)
    data = bytearray(segment(other).read_bytes())
    data[4096 + 40] ^= 1
    segment(other).write_bytes(data)
    damage = ran(impl, "wal", "info", "--json", other).json()["damage"][0]
    assert set(damage) == {"file", "place", "reason", "remedy"}
    rebuilt = ran(impl, "wal", "rebuild", "--json", other).json()
    assert set(rebuilt) == keys_of("`wal rebuild`") and rebuilt["cluster"] == CLUSTER.hex()
