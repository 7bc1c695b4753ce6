"""``raftx completion``: the script with which a shell completes commands and options; click's."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .base import Command
from .main import COMPLETE
from .output import as_json, say


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str, programs: bool) -> int:
    """The script with which a SHELL completes commands and options.

    For bash: eval "$(raftx completion bash)" in ~/.bashrc.
    """
    made = get_completion_class(shell)
    assert made is not None
    script = made(context.find_root().command, {}, "raftx", COMPLETE).source()
    say(as_json({"shell": shell, "script": script}) if programs else script.rstrip())
    return 0
