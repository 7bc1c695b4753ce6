"""``raftx snapshot info|verify``: what a snapshot file holds, wherever it is."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import SnapshotDamaged
from ..storage.snapshot_copy import snapshot_file
from ..storage.snapshot_format import Descriptor
from .output import as_json, cluster_shown, complain, fields, say
from .wal import members, members_shown, path

REMEDY = "take another backup, or a snapshot of another member"


def add_to(commands: Any) -> None:
    """Add ``raftx snapshot``."""
    what = "a snapshot's file"
    top = commands.add_parser("snapshot", help=what, description="Look at a snapshot's file. Changes nothing.")
    parts = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, help, run in (
        ("info", "what it is of", info),
        ("verify", "read all of it, and say whether it is whole", verify),
    ):
        parser = parts.add_parser(name, help=help, description=f"{help[:1].upper()}{help[1:]}.")
        parser.add_argument("file", metavar="FILE", type=path, help="a snapshot of a member, or a backup")
        parser.add_argument("--json", action="store_true", help="for programs")
        parser.set_defaults(run=run)


def info(options: argparse.Namespace) -> int:
    """What the header says."""
    with snapshot_file(options.file, "FILE") as reader:
        descriptor = reader.descriptor
    say(as_json(described(descriptor)) if options.json else fields(rows(descriptor)))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Whether it is whole."""
    try:
        with snapshot_file(options.file, "FILE") as reader:
            descriptor = reader.verify()
    except SnapshotDamaged as error:
        if options.json:
            say(as_json({"file": options.file, "whole": False, "reason": str(error), "remedy": REMEDY}))
        else:
            complain(f"{error}. It cannot serve: {REMEDY}")
        return 1
    if options.json:
        say(as_json({"file": options.file, "whole": True, **described(descriptor)}))
    else:
        say(f"whole: the state after entry {descriptor.index:,}, {descriptor.size:,} bytes")
    return 0


def described(each: Descriptor) -> dict[str, Any]:
    """What a snapshot is of, for programs."""
    return {
        "cluster": each.cluster.hex(),
        "index": each.index,
        "term": each.term,
        "members": members(each.conf_state, each.addresses),
        "version": each.version,
        "incarnation": each.incarnation,
        "size": each.size,
        "stored": each.stored,
        "compressed": each.compressed,
        "chunk_bytes": each.chunk_bytes,
        "chunks": each.chunks,
        "digest": each.digest.hex(),
    }


def rows(each: Descriptor) -> list[tuple[str, Any]]:
    """Likewise, for people."""
    return [
        ("cluster", cluster_shown(each.cluster)),
        ("after entry", f"{each.index:,} of term {each.term:,}"),
        ("members", members_shown(each.conf_state, each.addresses)),
        ("version", f"{each.version} (of the state machine)"),
        ("bytes of state", each.size),
        ("stored", f"{each.stored:,} bytes in {each.chunks:,} chunks{', compressed' if each.compressed else ''}"),
        ("digest", each.digest.hex()),
    ]
