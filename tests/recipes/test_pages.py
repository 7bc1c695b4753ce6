"""The code of the pages on recipes runs as printed."""

import re

import pytest

from tests.helpers.pages import code_of, ran
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports

PORT = "5641"


def page(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.once
@pytest.mark.parametrize("name", ["recipes.md", "from-pysyncobj.md", "from-kazoo.md"])
def test_the_code_runs(name, tmp_path):
    code = "\n".join(block for block in code_of(page(name)) if "import pysyncobj" not in block and "kazoo" not in block)
    assert code.count(PORT) == 1
    ran(code.replace(PORT, str(ports(1)[0])), tmp_path)


def test_limits_and_commands_are_those_of_the_code(mod):
    text, commands, machine = page("recipes.md"), mod("recipes.commands"), mod("recipes.machine")
    for do in commands.TABLE:
        assert re.search(rf"`{do}`", text), do
    for number in (
        commands.NAME_MAX, commands.KEY_MAX, commands.CHANGES_MAX, machine.OBJECTS_MAX, machine.LIMITERS_MAX,
        machine.HELD_MAX, mod("recipes.lines").WAITERS_MAX, mod("recipes.stores").HISTORY_MAX,
    ):  # fmt: skip
        assert f"{number:,}" in text, number
    assert f"{commands.VALUE_MAX >> 10} KiB" in text and f"{commands.COMMAND_MAX >> 10} KiB" in text
    assert f"{mod('recipes.stores').HISTORY_BYTES >> 20} MiB" in text
    assert bytes.fromhex("f7 72 61 66 74 78 f7") + b"recipes" == commands.MAGIC and len(commands.MAGIC) == 14
    assert len(mod("recipes.snapshots").MAGIC) == 16
