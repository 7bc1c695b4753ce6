"""Commands that write: ``raftx restore``, ``raftx wal rebuild``, ``raftx wal skip`` and ``raftx recover``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

from ..errors import LossNotAccepted
from ..storage.file import FileStorage
from ..storage.founding import Founding
from ..storage.rebuild import rebuild
from ..storage.recover import recover
from ..storage.skip import skip
from ..storage.snapshot_copy import snapshot_file
from ..storage.wal_format import CLUSTER_BYTES
from .output import as_json, cluster_shown, fields, say
from .wal import members, members_shown, path

ACCEPT = "--accept-loss"


class Refused(Exception):
    """It is not done, because of what it would do; the text says what, and how to ask for it all the same."""


def add_to(commands: Any) -> None:
    """Add ``raftx restore`` and ``raftx recover``."""
    what = "begin a new cluster with a backup"
    parser = commands.add_parser(
        "restore",
        help=what,
        description="Found a member of a new cluster that begins with the state in a snapshot file. Every member is "
        "restored from the same file, with the same members and the same --cluster.",
    )
    parser.add_argument("file", metavar="FILE", type=path, help="a backup, or a snapshot of a member")
    parser.add_argument("directory", metavar="DIRECTORY", type=path, help="of the new member: empty, or not there yet")
    parser.add_argument("--id", type=number, required=True, help="of the member")
    add_members(parser, required=True)
    add_cluster(parser, "of the new cluster; default: drawn at random, and printed for the other members")
    add_segment_bytes(parser)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=restore)

    parser = commands.add_parser(
        "recover",
        help="go on without most members",
        description="Make the log of a survivor that of a new cluster, with all entries that it has. For a cluster "
        "that has lost most of its members for good. The directory of before is set aside.",
    )
    parser.add_argument("directory", metavar="DIRECTORY", type=path, help="of the survivor whose log ends last")
    add_members(parser, required=False, default="default: this member alone")
    add_cluster(parser, "of the new cluster; default: drawn at random, and printed")
    parser.add_argument(ACCEPT, action="store_true", help="do it, although something may be lost")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=recover_it)


def add_rebuild(parts: Any) -> None:
    """Add ``raftx wal rebuild``."""
    parser = parts.add_parser(
        "rebuild",
        help="begin without what a member held, and let the others bring it up to date",
        description="Set a damaged directory aside and found it again for the same member, in doubt: it votes for "
        "nobody before a leader has brought it up to date. One member at a time.",
    )
    parser.add_argument("directory", metavar="DIRECTORY", type=path, help="of the member")
    parser.add_argument("--id", type=number, help="where the directory does not say it any more; likewise:")
    add_members(parser, required=False, default="as the member was founded")
    parser.add_argument(
        "--join", metavar="URL", action="append", help="for one that was founded with join; may be repeated"
    )
    add_cluster(parser, "of the cluster")
    add_segment_bytes(parser, default=None)
    parser.add_argument(ACCEPT, action="store_true", help="do it, although something may be lost for good")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=rebuild_it)


def add_skip(parts: Any) -> None:
    """Add ``raftx wal skip``."""
    parser = parts.add_parser(
        "skip",
        help="do not give an entry to the state machine that can never take it",
        description="Agree that the state machine is not given an entry. For one at which apply raises on every "
        "member at every start. Stop all members, and do the same on each of them.",
    )
    parser.add_argument("directory", metavar="DIRECTORY", type=path, help="of a member, which is stopped")
    parser.add_argument("index", metavar="INDEX", type=number, help="of the entry: the log of the node names it")
    parser.add_argument("--yes", action="store_true", help="do it; without, say what it would do and what must hold")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=skip_it)


def add_members(parser: argparse.ArgumentParser, required: bool, default: str = "") -> None:
    """The options about members."""
    what = f"voters, such as 1,2,3 or 1=tcp://a:5600,2=tcp://b:5600{'; ' * bool(default)}{default}"
    parser.add_argument("--members", metavar="MEMBERS", type=given_members, required=required, help=what)
    parser.add_argument("--learners", metavar="MEMBERS", type=given_members, default=(), help="likewise; default: none")


def add_cluster(parser: argparse.ArgumentParser, what: str) -> None:
    """The option about the cluster."""
    parser.add_argument("--cluster", metavar="HEX", type=given_cluster, help=f"{2 * CLUSTER_BYTES} hex digits, {what}")


def add_segment_bytes(parser: argparse.ArgumentParser, default: int | None = 64 << 20) -> None:
    """The option about segments."""
    what = f"{default:,}" if default else "as before"
    parser.add_argument("--segment-bytes", type=number, default=default, help=f"of a file of the log; default: {what}")


def number(text: str) -> int:
    """A positive integer. What argparse takes as a type."""
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) < 1 << 63:
        raise argparse.ArgumentTypeError(f"must be an integer in 1..2^63-1, not {text!r}")
    return int(text)


def given_cluster(text: str) -> bytes:
    """The name of a cluster. Likewise."""
    try:
        cluster = bytes.fromhex(text)
    except ValueError:
        cluster = b""
    if len(cluster) != CLUSTER_BYTES or len(text) != 2 * CLUSTER_BYTES:
        raise argparse.ArgumentTypeError(f"must be {2 * CLUSTER_BYTES} hex digits, not {text!r}")
    return cluster


def given_members(text: str) -> Any:
    """Ids, or addresses by id. Likewise."""
    pairs = [part.partition("=") for part in text.split(",")]
    if len({separator for _, separator, _ in pairs}) != 1:
        raise argparse.ArgumentTypeError("must have an address for every member, or for none")
    ids = [number(id.strip()) for id, _, _ in pairs]
    if len(set(ids)) != len(ids):
        raise argparse.ArgumentTypeError(f"must not name a member twice: {text!r}")
    if not pairs[0][1]:
        return ids
    addresses = {id: url.strip() for id, (_, _, url) in zip(ids, pairs)}
    if not all(addresses.values()):
        raise argparse.ArgumentTypeError("must have an address for every member, or for none")
    return addresses


def restore(options: argparse.Namespace) -> int:
    """Begin a new cluster with a backup."""
    storage = FileStorage.restore(
        options.directory,
        options.file,
        id=options.id,
        members=options.members,
        learners=options.learners,
        cluster=options.cluster,
        segment_bytes=options.segment_bytes,
    )
    with snapshot_file(options.file, "FILE") as reader:
        index, term = reader.index, reader.term
    assert storage.cluster is not None
    if options.json:
        say(
            as_json(
                {
                    "directory": os.fspath(storage.path),
                    "id": options.id,
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
                ("member", str(options.id)),
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


def rebuild_it(options: argparse.Namespace) -> int:
    """Found a directory again, in doubt."""
    done = refusing(
        lambda: rebuild(
            options.directory,
            id=options.id,
            members=options.members,
            learners=options.learners,
            join=options.join,
            cluster=options.cluster,
            segment_bytes=options.segment_bytes,
            accept_loss=options.accept_loss,
        )
    )
    founding: Founding = done.founding
    if options.json:
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


def skip_it(options: argparse.Namespace) -> int:
    """Skip an entry."""
    try:
        done = skip(options.directory, options.index, agreed=options.yes)
    except LossNotAccepted as error:
        raise Refused(f"{error}: --yes") from error
    skips = [{"index": index, "term": done.skips[index]} for index in sorted(done.skips)]
    if options.json:
        found = {"directory": os.fspath(done.path), "index": done.index, "term": done.term, "skips": skips}
        say(as_json(found))
        return 0
    say(fields([("skipped", f"entry {done.index:,} of term {done.term:,}"), ("directory", os.fspath(done.path))]))
    say("\nDo the same on all other members before any of them is started.")
    return 0


def recover_it(options: argparse.Namespace) -> int:
    """Make a survivor's log that of a new cluster."""
    done = refusing(
        lambda: recover(
            options.directory,
            members=options.members,
            learners=options.learners,
            cluster=options.cluster,
            accept_loss=options.accept_loss,
        )
    )
    founding: Founding = done.founding
    if options.json:
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
