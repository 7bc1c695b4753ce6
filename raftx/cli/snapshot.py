"""``raftx snapshot info|verify``: what snapshot files hold, wherever they are."""

from __future__ import annotations

import argparse
from typing import Any

from ..errors import SnapshotDamaged, StorageError
from ..storage.snapshot_copy import snapshot_file
from ..storage.snapshot_format import Descriptor
from .output import as_json, cluster_shown, complain, fields, say
from .wal import members, members_shown, path

DAMAGED, UNREADABLE = 1, 3  # exit codes: see main.py
REMEDY = "take another backup, or a snapshot of another member"


def add_to(commands: Any) -> None:
    """Add ``raftx snapshot``."""
    what = "a snapshot's file"
    top = commands.add_parser("snapshot", help=what, description="Look at a snapshot's file. Changes nothing.")
    parts = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, help, run, count in (
        ("info", "what it is of; several files may be given", info, "+"),
        ("verify", "read all of it, and say whether it is whole", verify, 1),
    ):
        parser = parts.add_parser(name, help=help, description=f"{help[:1].upper()}{help[1:]}.")
        what = "a snapshot of a member, or a backup"
        parser.add_argument("files", metavar="FILE", type=path, nargs=count, help=what)
        parser.add_argument("--json", action="store_true", help="for programs")
        parser.set_defaults(run=run)


def info(options: argparse.Namespace) -> int:
    """What the headers say, of each file; the code of the first one that cannot be read."""
    found, code = [], 0
    for file in options.files:
        try:
            with snapshot_file(file, "FILE") as reader:
                found.append((file, reader.descriptor))
        except StorageError as error:
            if len(options.files) == 1:
                raise
            complain(" ".join(str(error).split()))
            code = code or (DAMAGED if isinstance(error, SnapshotDamaged) else UNREADABLE)
    if options.json and len(options.files) > 1:
        say(as_json({"snapshots": [{"file": file, **described(each)} for file, each in found]}))
    elif options.json:
        say(as_json(described(found[0][1])))
    else:
        named = len(options.files) > 1
        say("\n\n".join([fields([("file", file)] * named + rows(each)) for file, each in found]))
    return code


def verify(options: argparse.Namespace) -> int:
    """Whether it is whole."""
    (file,) = options.files
    try:
        with snapshot_file(file, "FILE") as reader:
            descriptor = reader.verify()
    except SnapshotDamaged as error:
        if options.json:
            say(as_json({"file": file, "whole": False, "reason": str(error), "remedy": REMEDY}))
        else:
            complain(f"{error}. It cannot serve: {REMEDY}")
        return DAMAGED
    if options.json:
        say(as_json({"file": file, "whole": True, **described(descriptor)}))
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
