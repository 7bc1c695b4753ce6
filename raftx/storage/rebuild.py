"""A member begins again without what it held, because that is damaged or gone; the others bring it up to date.

Its directory is founded again for the same member of the same cluster, and begins in doubt: what the member may have
promised is not in it, so it votes for nobody and is not counted before a leader that was confirmed without it has
brought it up to date. What it held before is set aside.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .._native.files import Directory
from .._native.memory import Buffer
from ..config import cluster_id, cluster_name
from ..errors import ConfigError, LossNotAccepted, NotFounded, StorageError, WalDamaged, WrongDirectory
from ..types import ConfState, is_id
from . import lives as lives_file
from . import skips as skips_file
from .disk import Disk
from .file import FileStorage
from .founding import SEGMENT_BYTES, Founding, joiner, planned
from .look import Look, look_into
from .membership import CHANGES, is_alone
from .protocol import Met
from .swap import Swap, absolute, refuse_link
from .wal_format import (
    BATCH_CRC_AT,
    BATCH_HEADER,
    BATCH_INCARNATION_AT,
    BATCH_KIND_AT,
    BATCH_MAGIC,
    BATCH_MAGIC_AT,
    BLOCK,
    COUNT_SHIFT,
    STORE_BYTES,
    decode_head,
    segment_number,
)

LIVES_UNREAD = 1 << 10  # more lives than what can be read shows, at most: some may be in what cannot be read
READ = 1 << 20  # bytes that are read at once

ALONE = (
    "member {id} is the only voter of its cluster: nobody has a copy of what is in its log, and nobody can bring it up "
    "to date. To rebuild it means to begin with nothing: everything that was ever acknowledged is lost. Look for what "
    "happened to the disk; begin a new cluster with a backup, or with a snapshot in the directory (raftx restore); or "
    "accept the loss"
)
ALONE_NOW = (
    "member {id} is the only voter of its cluster, as far as {path} can be read (up to entry {last}): the others that "
    "it was founded with are no voters any more. Nobody has a copy of what is in its log, and nobody can bring it up "
    "to date. To rebuild it means to begin with nothing: everything that was ever acknowledged is lost. Look for what "
    "happened to the disk; begin a new cluster with a backup, or with a snapshot in the directory (raftx restore); or "
    "accept the loss"
)
WHOLE = (
    "{path} is whole: member {id} starts with it. To rebuild it means to do without a copy of entries up to {last} "
    "until another member has sent them again; if others lose theirs meanwhile, they are lost. Start the member, or "
    "accept that"
)
LACKS = (
    "in {path} {note}. To rebuild member {id} means to do without a copy of entries up to {last} until another member "
    "has sent them again; if others lose theirs meanwhile, they are lost. Accept that"
)


@dataclass(frozen=True)
class Rebuilt:
    """What was done."""

    path: Path
    #: where the directory of before is now; None where there was none, or where an earlier attempt has moved it
    aside: Path | None
    #: what the new one was founded as
    founding: Founding


def rebuild(
    path: str | os.PathLike[str],
    *,
    id: int | None = None,
    members: Mapping[int, str] | Iterable[int] | None = None,
    learners: Mapping[int, str] | Iterable[int] = (),
    join: Iterable[str] | None = None,
    cluster: bytes | str | None = None,
    segment_bytes: int | None = None,
    accept_loss: bool = False,
    disk: Disk | None = None,
) -> Rebuilt:
    """Found a member's directory again, without what it held, and in doubt; set the present one aside.

    path: a directory that is damaged, or of which nothing is left. Whose it is, with which members, it says itself;
    id, members, learners (or join), cluster and segment_bytes are for what cannot be read there (as for
    FileStorage.create), and must not contradict the rest. accept_loss: also when that loses something for good, see
    LossNotAccepted.

    Not while a node uses it. A crash leaves the member with the old directory, with the new one, or with none that
    opens; call this again then. Raises LossNotAccepted for the only voter of a cluster and for a directory that is
    whole, ConfigError, NotFounded where nothing tells whose it is, WrongDirectory when it is in use, StorageError.
    """
    if not isinstance(accept_loss, bool):
        raise ConfigError(f"accept_loss must be True or False, not {accept_loss!r}")
    cluster = None if cluster is None else cluster_id(cluster)
    where = absolute(path)
    disk = Disk() if disk is None else disk
    refuse_link(where)
    swap = Swap(disk, where, "rebuilt")
    given = _given(id, members, learners, join, cluster, segment_bytes)
    if swap.resume():
        with look_into(disk.open_directory(where), where) as seen:
            assert seen.founding is not None
            return Rebuilt(where, None, seen.founding)
    directory: Directory | None = None
    try:
        found: Founding | None = None
        opened = 0
        met: Mapping[int, Met] = {}
        skips: Mapping[int, int] = {}
        now: tuple[int, ConfState] | None = None
        if disk.exists(where):
            directory = disk.open_directory(where)
            found, opened, whole, now = _read(directory, where)
            opened, met = _remembered(directory, found, opened)
            skips = _skipped(directory, found)
            if now is not None and found is not None and is_alone(now[1], found.id) and not accept_loss:
                raise LossNotAccepted(
                    ALONE.format(id=found.id)
                    if is_alone(found.conf_state, found.id)
                    else ALONE_NOW.format(id=found.id, path=where, last=now[0])
                )
            if whole is not None and not accept_loss:
                last = whole.recovery.reader.last_index if whole.recovery is not None else 0
                text, note = (LACKS, whole.notes[0]) if whole.notes else (WHOLE, "")
                raise LossNotAccepted(text.format(path=where, id=found.id if found else "?", last=last, note=note))
        founding = _agreed(where, found, given, id, cluster, segment_bytes)
        met = {other: each for other, each in met.items() if other != founding.id}
        conf_state = founding.conf_state
        alone = {*conf_state.voters, *conf_state.voters_outgoing} == {founding.id}
        if given is None and now is not None and is_alone(now[1], founding.id) and not alone:
            # The others that it was founded with are no voters any more. Where all of its log can be read, that is so:
            # nobody could have become one without it.
            alone = True
            address = founding.addresses.get(founding.id)
            addresses = {founding.id: address} if address is not None else {}
            founding = replace(founding, conf_state=ConfState(voters=(founding.id,)), addresses=addresses)
            met = {} if whole is not None else met
        if alone and met:
            # It was founded alone, and others have come since: they know who the members are, and it does not.
            founding = replace(founding, conf_state=ConfState(), addresses={}, joining=True)
            alone = False
        if alone and not accept_loss:
            raise LossNotAccepted(ALONE.format(id=founding.id))
        store = disk.random(STORE_BYTES)
        founding = replace(
            founding, store=store, rebuilt=True, in_doubt=not alone, opened=opened + LIVES_UNREAD,
            base=0, base_term=0, restored=False, origin=0,
        )  # fmt: skip
        with swap.making():
            # What is skipped comes again from the others.
            FileStorage(swap.part, disk=disk)._found(founding, lambda made: skips_file.write(made, store, skips), met)
        return Rebuilt(where, swap.commit("damaged"), founding)
    except OSError as error:
        raise StorageError(f"cannot rebuild {where}: {error.strerror or error}") from error
    finally:
        if directory is not None:
            directory.close()


def _given(
    id: int | None,
    members: Mapping[int, str] | Iterable[int] | None,
    learners: Mapping[int, str] | Iterable[int],
    join: Iterable[str] | None,
    cluster: bytes | None,
    segment_bytes: int | None,
) -> Founding | None:
    """What the caller says, where it is enough to found a member. Raises ConfigError for what cannot be."""
    for name, value in (("id", id), ("segment_bytes", segment_bytes)):
        if value is not None and not is_id(value):
            raise ConfigError(f"{name} must be None or an integer in 1..2^63-1, not {value!r}")
    if members is not None and join is not None:
        raise ConfigError("members and join must not be given together: a member was founded with one of them")
    if members is None and learners:
        raise ConfigError("learners must be given together with members")
    if members is None and join is None:
        return None
    if id is None or cluster is None:
        raise ConfigError("id and cluster must be given together with members, or join")
    if join is not None:
        return joiner(b"", id, join, cluster, segment_bytes or SEGMENT_BYTES)
    assert members is not None
    return planned(b"", id, members, learners, cluster, segment_bytes or SEGMENT_BYTES)


def _agreed(
    where: Path,
    found: Founding | None,
    given: Founding | None,
    id: int | None,
    cluster: bytes | None,
    segment_bytes: int | None,
) -> Founding:
    """What to found. Raises NotFounded where nothing tells, ConfigError where the two contradict each other."""
    if found is None:
        if given is None:
            raise NotFounded(
                f"nothing in {where} says whose it is: say it with id, members and cluster, as the member was founded "
                "(raftx wal rebuild with --id and --config, or with --id, --members and --cluster)"
            )
        return given
    for name, value, is_value in (("id", id, found.id), ("cluster", cluster, found.cluster)):
        if value is not None and value != is_value:
            shown = [cluster_name(each) if isinstance(each, bytes) else each for each in (is_value, value)]
            raise ConfigError(f"{name} must be that of the directory, {shown[0]!r}, not {shown[1]!r}")
    if given is not None:
        found = replace(found, conf_state=given.conf_state, addresses=given.addresses, joining=given.joining)
    return found if segment_bytes is None else replace(found, segment_bytes=segment_bytes // BLOCK * BLOCK)


def _read(directory: Directory, path: Path) -> tuple[Founding | None, int, Look | None, tuple[int, ConfState] | None]:
    """Whose a directory is, as far as anything in it tells; how often it was opened; the look at it, if it is whole.

    And the newest membership that can be read, with the last entry that is known to be in it. The directory stays open.
    """
    opened = newest_incarnation(directory)
    try:
        seen = look_into(directory, path, keep=True)
    except NotFounded:
        return None, opened, None, None
    with seen:
        if seen.founding is not None:
            opened = max(opened, seen.founding.opened)
            return seen.founding, opened, None if seen.damage or seen.doubt else seen, _newest_members(seen)
    return _from_segments(directory), opened, None, None


def _newest_members(seen: Look) -> tuple[int, ConfState] | None:
    """The newest membership that a directory tells of, and up to which entry that is known to be so."""
    found = [(each.descriptor.index, each.descriptor.conf_state) for each in seen.snapshots if each.descriptor]
    recovery = seen.recovery
    if recovery is not None and not seen.damage:
        behind = max(recovery.reader.commit, recovery.base) + 1
        if any(entry.kind in CHANGES for entry in seen.entries(behind)):
            return None  # it may be committed, or not
        found.append((recovery.reader.last_index, recovery.current))
    return max(found, key=lambda each: each[0], default=None)


def _remembered(directory: Directory, found: Founding | None, opened: int) -> tuple[int, Mapping[int, Met]]:
    """How often the member has lived, as far as the directory or another member knows, and whom it has met."""
    if found is None:
        return opened, {}
    try:
        lives = lives_file.read(directory, found.store)
    except (WalDamaged, WrongDirectory):
        return opened, {}
    return max(opened, lives.count, lives.lost >> COUNT_SHIFT), lives.met


def _skipped(directory: Directory, found: Founding | None) -> Mapping[int, int]:
    """Which entries are not given to the state machine, as far as that can be read."""
    try:
        return skips_file.read(directory, found.store) if found is not None else {}
    except WalDamaged:
        return {}


def _from_segments(directory: Directory) -> Founding | None:
    """What the headers of segments say of the founding, where its own file cannot be read."""
    for name in directory.names():
        if segment_number(name) is None:
            continue
        try:
            head = decode_head(_piece(directory, name, 0, BLOCK))
        except WalDamaged:
            continue
        joined = not head.founders.voters  # it was founded to join
        return Founding(head.cluster, head.store, head.id, head.size, head.founders, {}, joining=joined)
    return None


def newest_incarnation(directory: Directory) -> int:
    """The highest incarnation that any batch in any segment names, whatever else is damaged. Raises OSError."""
    newest = 0
    for name in directory.names():
        if segment_number(name) is None:
            continue
        at = 0
        while data := _piece(directory, name, at, READ):
            for place in range(0, len(data) - BATCH_HEADER + 1, BLOCK):
                header = data[place : place + BATCH_HEADER]
                if _number(header, BATCH_MAGIC_AT, 4) != BATCH_MAGIC:
                    continue
                if _number(header, BATCH_CRC_AT, 4) == zlib.crc32(header[BATCH_KIND_AT:]):
                    newest = max(newest, _number(header, BATCH_INCARNATION_AT, 8))
            at += READ
    return newest


def _number(data: bytes, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _piece(directory: Directory, name: str, position: int, size: int) -> bytes:
    """A piece of a file, b"" where it cannot be read."""
    file = directory.open_file(name, readonly=True)
    try:
        buffer = Buffer()
        return b"" if file.py_read_at(buffer, size, position) else buffer.tobytes()
    finally:
        file.close()
