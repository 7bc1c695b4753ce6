"""``raftx demo``: arguments, output and exit codes of the demo, which is in raftx/demo/."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import click

from ..demo.client import GaveUp
from ..demo.processes import Failed
from ..demo.run import NODES, Interrupted, Refused, check_request, demo, read_input
from .base import PATH, Command, Told
from .codes import DAMAGED, FINE, USAGE
from .output import say


@click.command("demo", cls=Command)
@click.argument("input", type=PATH, required=False)
@click.option("--save", metavar="FILE", type=PATH, help="Write the result to this file, too, as JSON.")
def demo_it(input: str | None, save: str | None, programs: bool) -> int:
    """Replicate a text on three processes, two of which are killed.

    INPUT is a file, or - for standard input; without it, standard input if something is piped into it, else source
    files of Python's standard library. Every line is a command. The leader is killed after a third of them and started
    again, then a follower; then all are stopped and started again, and what each holds is compared with the input. No
    process and no file stays behind.
    """
    try:
        text = read_input(input)
        check_request(text, input, save)
        result = demo(text, sys.stderr if programs else sys.stdout)
    except Refused as error:
        raise Told(str(error), USAGE) from error
    except (Failed, GaveUp) as error:
        raise Told(str(error), DAMAGED) from error
    except Interrupted as error:
        raise Told(f"interrupted by {signal.Signals(error.args[0]).name}", 128 + int(error.args[0])) from error
    if save is not None:
        Path(save).write_text(result.as_json(), encoding="utf-8")
    if programs:
        say(json.dumps(json.loads(result.as_json()) | {"problem": result.problem}, indent=2))
    else:
        say(result.as_table())
        say(
            f"FAILED: {result.problem}"
            if result.problem
            else f"every acknowledged line is on all {NODES} nodes, once and in order"
        )
    return DAMAGED if result.problem else FINE
