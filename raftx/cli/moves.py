"""What writes a member's directory: ``raftx restore``, ``wal rebuild``, ``wal skip`` and ``recover``."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from ..cluster_file import ClusterFile
from ..errors import LossNotAccepted, NotFounded
from ..storage.file import FileStorage
from ..storage.founding import SEGMENT_BYTES, Founding
from ..storage.rebuild import rebuild
from ..storage.recover import recover
from ..storage.skip import skip
from ..storage.snapshot_copy import snapshot_file
from .base import ACCEPT, CLUSTER, MEMBERS, NATURAL, PATH, Command, Refused
from .output import as_json, cluster_shown, fields, say
from .remote import DEFAULT_FILE
from .snapshot import commands as snapshots
from .wal import commands as wal_commands
from .wal import members, members_shown

VOTERS = "Voters, such as 1,2,3 or 1=tcp://a:5600,2=tcp://b:5600"
AS_FOUNDED = "default: as the member was founded"


def members_options(required: bool, default: str = "") -> Callable[[Any], Any]:
    """The options about members."""

    def add(function: Any) -> Any:
        learners = click.option("--learners", metavar="MEMBERS", type=MEMBERS, default=(), help="Likewise.")
        what = f"{VOTERS}{'; ' * bool(default)}{default}."
        return click.option("--members", "voters", metavar="MEMBERS", type=MEMBERS, required=required, help=what)(
            learners(function)
        )

    return add


def cluster_option(what: str) -> Callable[[Any], Any]:
    """The option about the cluster."""
    return click.option("--cluster", metavar="NAME", type=CLUSTER, help=f"Name or 32 hex digits, {what}.")


def segment_bytes_option(default: int | None) -> Callable[[Any], Any]:
    """The option about segments."""
    what = f"{default:,}" if default else "as before"
    return click.option(
        "--segment-bytes", type=NATURAL, default=default, help=f"Of a file of the log; default: {what}."
    )


def accept_option(what: str) -> Callable[[Any], Any]:
    """The option about losses."""
    return click.option(ACCEPT, "accept_loss", is_flag=True, help=f"Do it, although something may be lost{what}.")


@click.command("restore", cls=Command)
@click.argument("file", type=PATH)
@click.argument("directory", type=PATH)
@click.option("--id", type=NATURAL, required=True, help="Of the member.")
@members_options(required=True)
@cluster_option("of the new cluster; default: drawn at random, and printed for the other members")
@segment_bytes_option(SEGMENT_BYTES)
def restore(
    file: str,
    directory: str,
    id: int,
    voters: Any,
    learners: Any,
    cluster: bytes | None,
    segment_bytes: int,
    programs: bool,
) -> int:
    """Begin a new cluster with a backup.

    Founds a member of a new cluster in DIRECTORY, which is empty or not there yet. It begins with the state in FILE, a
    backup or a snapshot of a member. Every member is restored from the same file, with the same members and the same
    --cluster.
    """
    storage = FileStorage.restore(
        directory,
        file,
        id=id,
        members=voters,
        learners=learners,
        cluster=cluster,
        segment_bytes=segment_bytes,
    )
    with snapshot_file(file, "FILE") as reader:
        index, term = reader.index, reader.term
    assert storage.cluster is not None
    if programs:
        say(
            as_json(
                {
                    "directory": os.fspath(storage.path),
                    "id": id,
                    "cluster": storage.cluster.hex(),
                    "index": index,
                    "term": term,
                }
            )
        )
        return 0
    say(
        fields(
            [
                ("restored", os.fspath(storage.path)),
                ("member", str(id)),
                ("cluster", cluster_shown(storage.cluster)),
                ("begins behind", f"entry {index:,} of term {term:,}"),
            ]
        )
    )
    say(
        f"\nRestore the other members with --cluster {storage.cluster.hex()}, and start all of them with\n"
        f'Config(cluster=bytes.fromhex("{storage.cluster.hex()}")).'
    )
    return 0


def refusing(done: Callable[[], Any]) -> Any:
    """Call it; what it would not do without being told to is refused. Raises Refused."""
    try:
        return done()
    except LossNotAccepted as error:
        raise Refused(f"{error}: {ACCEPT}") from error


@wal_commands.command("rebuild")
@click.argument("directory", type=PATH, required=False)
@click.option("--id", type=NATURAL, help="Of the member; likewise the following, where the directory does not say it.")
@click.option(
    "--config",
    metavar="FILE",
    type=PATH,
    help=f"The file of the cluster, which says all of it; default: {DEFAULT_FILE}, without a DIRECTORY.",
)
@members_options(required=False, default=AS_FOUNDED)
@click.option("--join", metavar="URL", multiple=True, help="For one that was founded with join; may be repeated.")
@cluster_option("of the cluster")
@segment_bytes_option(None)
@accept_option(" for good")
def rebuild_it(
    directory: str | None,
    id: int | None,
    config: str | None,
    voters: Any,
    learners: Any,
    join: tuple[str, ...],
    cluster: bytes | None,
    segment_bytes: int | None,
    accept_loss: bool,
    programs: bool,
) -> int:
    """Begin without what a member held; the others bring it up to date.

    Sets a damaged directory aside and founds it again for the same member, in doubt: it votes for nobody before a
    leader has brought it up to date. One member at a time. DIRECTORY may be left out where the file of the cluster
    is: --id says then which member it is.
    """
    file = None
    if config is not None or directory is None:
        if voters or learners or join:
            raise click.UsageError("say who the members are with --config, or with --members or --join, not with both")
        if id is None:
            raise click.UsageError("say which directory it is, or which member of the file, with --id")
        file = ClusterFile.load(config or DEFAULT_FILE)
        if cluster is not None and cluster != file.cluster:
            raise click.UsageError(f"--cluster must be that of {file.path}, {file.name}, or be left out")
        directory, cluster = directory or os.fspath(file.member(id).data), file.cluster
    founders: dict[str, Any] = {"members": voters, "learners": learners, "join": list(join) or None}

    def once() -> Any:
        return rebuild(
            directory, id=id, cluster=cluster, segment_bytes=segment_bytes, accept_loss=accept_loss, **founders
        )

    try:
        done = refusing(once)
    except NotFounded:
        if file is None or id is None:
            raise
        # What the directory says of its founding is surer than the file, which may have changed since.
        founders = file.founders(id)
        done = refusing(once)
    founding: Founding = done.founding
    if programs:
        say(as_json({**described(done), "in_doubt": founding.in_doubt}))
        return 0
    say(fields(shown("rebuilt", done)))
    if founding.in_doubt:
        say(
            "\nStart the member: it is in doubt until a leader has brought it up to date (in_doubt in its status).\n"
            "Rebuild no other member before that."
        )
    else:
        say("\nThe member begins with nothing.")
    return 0


@wal_commands.command("skip")
@click.argument("directory", type=PATH)
@click.argument("index", type=NATURAL)
@click.option("--yes", is_flag=True, help="Do it; without, say what it would do and what must hold.")
def skip_it(directory: str, index: int, yes: bool, programs: bool) -> int:
    """Do not give an entry to the state machine that can never take it.

    For an entry at which apply raises on every member at every start; the log of the node names it. Stop all members,
    and do the same on each of them.
    """
    try:
        done = skip(directory, index, agreed=yes)
    except LossNotAccepted as error:
        raise Refused(f"{error}: --yes") from error
    skips = [{"index": index, "term": done.skips[index]} for index in sorted(done.skips)]
    if programs:
        found = {"directory": os.fspath(done.path), "index": done.index, "term": done.term, "skips": skips}
        say(as_json(found))
        return 0
    say(fields([("skipped", f"entry {done.index:,} of term {done.term:,}"), ("directory", os.fspath(done.path))]))
    say("\nDo the same on all other members before any of them is started.")
    return 0


@click.command("recover", cls=Command)
@click.argument("directory", type=PATH)
@members_options(required=False, default="default: this member alone")
@cluster_option("of the new cluster; default: drawn at random, and printed")
@accept_option("")
def recover_it(
    directory: str, voters: Any, learners: Any, cluster: bytes | None, accept_loss: bool, programs: bool
) -> int:
    """Go on without most members.

    Makes the log of a survivor that of a new cluster, with all entries that it has. For a cluster that has lost most of
    its members for good. DIRECTORY is that of the survivor whose log ends last; what it was before is set aside.
    """
    done = refusing(
        lambda: recover(
            directory,
            members=voters,
            learners=learners,
            cluster=cluster,
            accept_loss=accept_loss,
        )
    )
    founding: Founding = done.founding
    if programs:
        found = {"last_index": done.last_index, "last_term": done.last_term, "commit": done.commit}
        say(as_json({**described(done), **found}))
        return 0
    ends = f"with entry {done.last_index:,} of term {done.last_term:,}, of which {done.commit:,} are known as committed"
    say(fields([*shown("recovered", done), ("log ends", ends)]))
    say(f'\nStart the member with Config(cluster=bytes.fromhex("{founding.cluster.hex()}")).')
    if len(founding.conf_state.voters) > 1:
        say(
            f"Recover the other voters, too, with the same --members and --cluster {founding.cluster.hex()};\n"
            "found none of them anew."
        )
    return 0


def described(done: Any) -> dict[str, Any]:
    """What was made, for programs."""
    founding: Founding = done.founding
    return {
        "directory": os.fspath(done.path),
        "aside": os.fspath(done.aside) if done.aside is not None else None,
        "id": founding.id,
        "cluster": founding.cluster.hex(),
        "members": members(founding.conf_state, founding.addresses),
    }


def shown(what: str, done: Any) -> list[tuple[str, Any]]:
    """Likewise, for people."""
    founding: Founding = done.founding
    return [
        (what, os.fspath(done.path)),
        ("what was there", os.fspath(done.aside) if done.aside is not None else "nothing, or moved before"),
        ("cluster", cluster_shown(founding.cluster)),
        ("member", str(founding.id)),
        ("members", members_shown(founding.conf_state, founding.addresses)),
    ]


snapshots.add_command(restore)
