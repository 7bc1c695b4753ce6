"""The commands of ``raftx`` and their help. Needs the extra ``cli``; main.py says so where it is missing."""

from __future__ import annotations

import click
import rich  # noqa: F401  # of the extra, too: it is missing now or never

from . import bench, certs, cluster, completion, demo, doctor, found, moves, serve, snapshot, wal, watch
from .base import Group, debug
from .codes import EXIT_CODES
from .output import say

EPILOG = "\b\nExit codes:\n" + "\n".join([f"  {code:<8}  {what.split(':')[0]}" for code, what in EXIT_CODES.items()])


def _version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from .. import COMPILED, __version__  # here: each module can be imported without the top of the package

        say(f"raftx {__version__} ({'compiled' if COMPILED else 'interpreted'})")
        if not COMPILED:
            from ..interpreted import why

            say(why(__name__.partition(".")[0])[1])
        context.exit()


VERSION = click.Option(
    ["--version"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Which raftx this is, and whether it is compiled.",
)


@click.group(
    "raftx",
    cls=Group,
    params=[debug(), VERSION],
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def app() -> None:
    """Found, run, watch and mend clusters of raftx."""


COMMANDS: tuple[click.Command, ...] = (
    found.init,
    found.create,
    found.join,
    certs.certs,
    *cluster.COMMANDS,
    watch.watch,
    wal.commands,
    snapshot.commands,
    moves.restore,
    moves.recover_it,
    serve.serve,
    doctor.doctor,
    bench.bench,
    demo.demo_it,
    completion.completion,
)
for each in COMMANDS:
    app.add_command(each)
