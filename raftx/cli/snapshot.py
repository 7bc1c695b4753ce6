"""``raftx snapshot info|verify``: what snapshot files hold, wherever they are."""

from __future__ import annotations

from typing import Any

import click

from ..errors import SnapshotDamaged, StorageError
from ..storage.snapshot_copy import snapshot_file
from ..storage.snapshot_format import Descriptor
from .base import PATH, Group
from .codes import DAMAGED, UNREADABLE
from .output import as_json, cluster_shown, complain, fields, say
from .wal import members, members_shown

REMEDY = "take another backup, or a snapshot of another member"


@click.group("snapshot", cls=Group)
def commands() -> None:
    """Snapshots: their files, and those of members that run."""


@commands.command("info", epilog="Changes nothing.")
@click.argument("files", metavar="FILE...", type=PATH, nargs=-1, required=True)
def info(files: tuple[str, ...], programs: bool) -> int:
    """What a snapshot or a backup is of; several files may be given."""
    # The code is that of the first one that cannot be read.
    found, code = [], 0
    for file in files:
        try:
            with snapshot_file(file, "FILE") as reader:
                found.append((file, reader.descriptor))
        except StorageError as error:
            if len(files) == 1:
                raise
            complain(" ".join(str(error).split()))
            code = code or (DAMAGED if isinstance(error, SnapshotDamaged) else UNREADABLE)
    if programs and len(files) > 1:
        say(as_json({"snapshots": [{"file": file, **described(each)} for file, each in found]}))
    elif programs:
        say(as_json(described(found[0][1])))
    else:
        named = len(files) > 1
        say("\n\n".join([fields([("file", file)] * named + rows(each)) for file, each in found]))
    return code


@commands.command("verify", epilog="Changes nothing.")
@click.argument("file", type=PATH)
def verify(file: str, programs: bool) -> int:
    """Read all of a snapshot or a backup, and say whether it is whole."""
    try:
        with snapshot_file(file, "FILE") as reader:
            descriptor = reader.verify()
    except SnapshotDamaged as error:
        if programs:
            say(as_json({"file": file, "whole": False, "reason": str(error), "remedy": REMEDY}))
        else:
            complain(f"{error}. It cannot serve: {REMEDY}")
        return DAMAGED
    if programs:
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
    chunks = f"{each.chunks:,} chunk{'s' * (each.chunks != 1)}{', compressed' if each.compressed else ''}"
    return [
        ("cluster", cluster_shown(each.cluster)),
        ("after entry", f"{each.index:,} of term {each.term:,}"),
        ("members", members_shown(each.conf_state, each.addresses)),
        ("version", f"{each.version} (of the state machine)"),
        ("bytes of state", each.size),
        ("stored", f"{each.stored:,} bytes in {chunks}"),
        ("digest", each.digest.hex()),
    ]
