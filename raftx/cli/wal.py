"""``raftx wal info|dump|verify``: what a member's directory holds, read with the code that opens it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import click

from .._native.layout import ENVELOPE
from .._native.memory import Entry
from ..errors import StorageError, WalDamaged
from ..node.session_format import HEADER
from ..storage.look import Damage, Look, SnapshotSeen, look
from ..types import ENTRY_CONF_CHANGE, ENTRY_CONF_CHANGE_V2, ENTRY_NORMAL, ENTRY_SESSION, ConfState
from .base import NATURAL, PATH, Group
from .output import as_json, cluster_shown, complain, fields, readable, say, stream, table

IN_USE = "a node runs here now: what is shown may be behind, and counts may move while they are read"
LAST = (1 << 63) - 1
KINDS = {ENTRY_CONF_CHANGE: "change", ENTRY_CONF_CHANGE_V2: "change"}


NOTHING = "Changes nothing, also while a node runs."


@click.group("wal", cls=Group)
def commands() -> None:
    """Look at the directory of a member, or mend it."""


DIRECTORY = click.argument("directory", type=PATH)


# --- info ----------------------------------------------------------------------------------------------


@commands.command("info", epilog=NOTHING)
@DIRECTORY
def info(directory: str, programs: bool) -> int:
    """Whose a member's DIRECTORY is, where the log begins and ends, what is in it."""
    with look(directory) as seen:
        say(as_json(summary(seen)) if programs else info_shown(seen))
        return told(seen.faults())


def told(damage: Sequence[Damage]) -> int:
    """Say what is damaged on standard error; the exit code."""
    for each in damage:
        complain(f"{each.file} at byte {each.place:,}: {each.reason}. {each.remedy}")
    return 1 if damage else 0


def members(conf_state: ConfState, addresses: Any) -> dict[str, Any]:
    """A membership, for programs."""
    return {
        "voters": list(conf_state.voters),
        "learners": list(conf_state.learners),
        "voters_outgoing": list(conf_state.voters_outgoing),
        "learners_next": list(conf_state.learners_next),
        "addresses": {str(id): addresses[id] for id in sorted(addresses)},
    }


def summary(seen: Look) -> dict[str, Any]:
    """What ``info`` says, for programs."""
    founding, recovery = seen.founding, seen.recovery
    found: dict[str, Any] = {
        "directory": os.fspath(seen.path),
        "in_use": seen.in_use,
        "founding": None,
        "log": None,
        "segments": [],
        "snapshots": [snapshot(each) for each in seen.snapshots],
        "in_doubt": seen.doubt,
        "skips": [{"index": index, "term": seen.skips[index]} for index in sorted(seen.skips)],
        "mends": [{"file": file, "place": place, "reason": reason} for file, place, reason in seen.mends],
        "damage": [damage(each) for each in seen.faults()],
        "notes": seen.notes,
    }
    if founding is not None:
        found["founding"] = {
            "cluster": founding.cluster.hex(),
            "id": founding.id,
            "store": founding.store.hex(),
            "segment_bytes": founding.segment_bytes,
            "members": members(founding.conf_state, founding.addresses),
            "rebuilt": founding.rebuilt,
            "restored": founding.restored,
            "base_index": founding.base,
            "base_term": founding.base_term,
            "origin": f"{founding.origin:08x}" if founding.origin else None,
        }
    if recovery is not None:
        reader = recovery.reader
        found["log"] = {
            "term": reader.term,
            "vote": reader.vote,
            "commit": reader.commit,
            "incarnation": reader.incarnation,
            "base_index": recovery.base,
            "base_term": recovery.base_term,
            "first_index": recovery.base + 1,
            "last_index": reader.last_index,
            "last_term": reader.last_term,
            "members": members(recovery.current, {}),
            "batches": reader.batch_number,
            "marked": recovery.mark.number if recovery.mark is not None else None,
        }
        found["segments"] = [vars(each) for each in seen.segments]
    return found


def damage(each: Damage) -> dict[str, Any]:
    """Damage, for programs."""
    return dict(vars(each))


def snapshot(each: SnapshotSeen) -> dict[str, Any]:
    """A snapshot, for programs."""
    descriptor = each.descriptor
    return {
        "file": each.name,
        "index": descriptor.index if descriptor else None,
        "term": descriptor.term if descriptor else None,
        "size": descriptor.size if descriptor else None,
        "version": descriptor.version if descriptor else None,
        "counts": each.counts,
        "damage": each.damage,
    }


def members_shown(conf_state: ConfState, addresses: Any) -> str:
    """A membership, for people: one member a line where there are addresses."""
    parts = []
    for name, ids in (
        ("", conf_state.voters),
        (" (learner)", conf_state.learners),
        (" (leaving)", tuple(id for id in conf_state.voters_outgoing if id not in conf_state.voters)),
        (" (learner next)", conf_state.learners_next),
    ):
        parts += [f"{id}{name} {addresses[id]}" if id in addresses else f"{id}{name}" for id in ids]
    return ("\n" if addresses else ", ").join(parts)


def info_shown(seen: Look) -> str:
    """What ``info`` says, for people."""
    founding, recovery = seen.founding, seen.recovery
    rows: list[tuple[str, Any]] = [("directory", os.fspath(seen.path))]
    if seen.in_use:
        rows.append(("in use", f"yes: {IN_USE}"))
    if founding is not None:
        rows += [
            ("cluster", cluster_shown(founding.cluster)),
            ("member", str(founding.id)),
            ("founded with", members_shown(founding.conf_state, founding.addresses)),
        ]
        if founding.rebuilt:
            rows.append(("rebuilt", "with nothing of what the member held before"))
        if founding.base:
            rows.append(("began behind", f"entry {founding.base:,} of term {founding.base_term:,}"))
        if founding.origin:
            rows.append(("origin", f"{founding.origin:08x}"))
        rows += [("segment bytes", founding.segment_bytes)]
    if recovery is not None:
        reader = recovery.reader
        rows += [
            ("members now", members_shown(recovery.current, {})),
            ("term, vote", f"{reader.term:,}, {f'for {reader.vote}' if reader.vote else 'for nobody'}"),
            ("lives", reader.incarnation),
            ("log begins", f"behind entry {recovery.base:,} of term {recovery.base_term:,}"),
            ("log ends", f"with entry {reader.last_index:,} of term {reader.last_term:,}"),
            ("commit", f"{reader.commit:,} at least"),
            ("batches", reader.batch_number),
        ]
        rows.append(("in doubt", seen.doubt or False))
    for index in sorted(seen.skips):
        rows.append(("skipped", f"entry {index:,} of term {seen.skips[index]:,} is not given to the state machine"))
    rows += [("note", each) for each in seen.notes]
    rows += [("next start", f"{file} at byte {place:,}: {reason}") for file, place, reason in seen.mends]
    parts = [fields(rows)]
    if seen.segments:
        names = ("segment", "bytes", "written to", "first batch", "last batch", "base")
        lines = [
            (each.name, each.size, each.end, each.first_batch, each.last_batch, each.base) for each in seen.segments
        ]
        parts.append(table(names, lines, ("segment",)))
    if seen.snapshots:
        shown = [snapshot(each) for each in seen.snapshots]
        keys = ("file", "index", "term", "size", "version", "counts")
        parts.append(table(("snapshot", *keys[1:]), [[each[key] for key in keys] for each in shown], ("snapshot",)))
    return "\n\n".join(parts)


# --- dump ----------------------------------------------------------------------------------------------


@commands.command("dump", epilog=NOTHING)
@DIRECTORY
@click.option("--from", "first", metavar="INDEX", type=NATURAL, default=1, help="The first one.")
@click.option("--to", "last", metavar="INDEX", type=NATURAL, default=LAST, help="The last one.")
@click.option("--data", is_flag=True, help="What is in them, too.")
def dump(directory: str, first: int, last: int, data: bool, programs: bool) -> int:
    """The entries of the log that count."""
    if first > last:
        raise click.UsageError(f"--from must be at most --to, {last}, not {first}")
    with look(directory) as seen:
        if seen.in_use and not programs:
            complain(IN_USE)
        try:
            entries = seen.entries(first, last)
            if programs:
                for each in entries:
                    say(json.dumps(entry(each, data)))
            else:
                names = ("index", "term", "kind", "member", "life", "proposal", "bytes")
                widths = (9, 5, 7, 6, 14, 9, 7)
                rows = shown_entries(entries, data)
                stream(names + ("data",) * data, widths + (4,) * data, rows, ("kind", "data"))
        except (WalDamaged, FileNotFoundError) as error:
            if not seen.in_use:
                raise
            raise StorageError(f"{seen.path} was changed by its node meanwhile; ask again") from error
        return told(seen.faults())


def entry(each: Entry, data: bool) -> dict[str, Any]:
    """An entry, for programs."""
    head = ENVELOPE + HEADER.size if each.kind == ENTRY_SESSION else ENVELOPE
    proposed = each.kind in (ENTRY_NORMAL, ENTRY_SESSION) and len(each.data) >= head
    envelope = [int.from_bytes(each.data[at : at + 8], "little") if proposed else None for at in (0, 8, 16)]
    payload = each.data[head:] if proposed else each.data
    command = "session" if each.kind == ENTRY_SESSION else "command"
    kind = command if proposed else KINDS.get(each.kind, "empty" if not payload else f"kind {each.kind}")
    found = {
        "index": each.index,
        "term": each.term,
        "kind": kind,
        "member": envelope[0],
        "life": envelope[1],
        "proposal": envelope[2],
        "bytes": len(payload),
    }
    if data:
        found["data"] = payload.hex()
    return found


def shown_entries(entries: Iterator[Entry], data: bool) -> Iterator[list[Any]]:
    """The rows of a table of entries."""
    for each in entries:
        row = list(entry(each, data).values())
        if data:
            row[-1] = readable(bytes.fromhex(row[-1]))
        yield row


# --- verify --------------------------------------------------------------------------------------------


@commands.command("verify", epilog=NOTHING)
@DIRECTORY
def verify(directory: str, programs: bool) -> int:
    """Read everything, and say what is damaged and what to do."""
    with look(directory, thorough=True) as seen:
        reader = seen.recovery.reader if seen.recovery is not None else None
        faults = seen.faults()
        if programs:
            say(
                as_json(
                    {
                        "directory": os.fspath(seen.path),
                        "in_use": seen.in_use,
                        "whole": not faults,
                        "in_doubt": seen.doubt,
                        "damage": [damage(each) for each in faults],
                        "mends": summary(seen)["mends"],
                        "notes": seen.notes,
                        "segments": len(seen.segments),
                        "batches": reader.batch_number if reader else 0,
                        "snapshots": len(seen.snapshots),
                    }
                )
            )
            return 1 if faults else 0
        if seen.in_use:
            say(IN_USE)
        for each in faults:
            what = "does not start" if each in seen.refused else "damaged"
            rows = [(what, each.file), ("at byte", each.place), ("reason", each.reason), ("remedy", each.remedy)]
            say(fields(rows))
        for file, place, reason in seen.mends:
            say(f"the next start repairs {file} at byte {place:,}: {reason}")
        for note in seen.notes:
            say(f"note: {note}")
        if seen.doubt and not seen.refused:
            say(f"the member is in doubt: {seen.doubt}")
        if not faults and reader is not None:
            say(
                f"whole: {len(seen.segments)} segment{'s' * (len(seen.segments) != 1)}, "
                f"{reader.batch_number:,} batches, entries behind {seen.recovery.base if seen.recovery else 0:,} "
                f"to {reader.last_index:,}, {len(seen.snapshots)} snapshot{'s' * (len(seen.snapshots) != 1)}"
            )
        return 1 if faults else 0
