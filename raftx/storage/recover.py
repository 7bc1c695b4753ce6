"""A cluster that has lost most of its members for ever goes on with what one of them has, as a new cluster.

The log of the survivor becomes that of a member of the new cluster, with every entry in it, committed or not. Members
of the old cluster, should they come back, are refused by the name of the new one. The old directory is set aside.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .._native.files import Directory
from .._native.memory import Entry
from ..config import cluster_id, cluster_name
from ..errors import ConfigError, LossNotAccepted, SnapshotDamaged, StorageError, WalDamaged
from ..report import report
from ..types import ENTRY_NORMAL, ConfState, HardState
from . import founding as founding_file
from . import skips as skips_file
from .disk import Disk
from .file import FileStorage
from .founding import Founding, planned
from .look import Look, look_into
from .membership import CHANGES
from .snapshot_copy import copy_state
from .snapshots import SnapshotReader, SnapshotWriter
from .swap import Swap, absolute, refuse_link
from .wal_format import CLUSTER_BYTES, STORE_BYTES

BATCH = 1 << 20  # bytes of entries that are written and synced at once

TEXT = (
    "the log of member {id} ends with entry {last} of term {term}{doubt}; it knows entries up to {commit} to be "
    "committed. To recover means to go on with exactly that, as a new cluster of {members}. What the lost members had "
    "acknowledged beyond it is lost.{uncommitted}{notes} Look first for the survivor whose log ends last, by term, "
    "then by index (raftx wal info). Then accept that"
)


@dataclass(frozen=True)
class Recovered:
    """What was done."""

    path: Path
    #: where the directory of before is now; None where an earlier attempt has moved it
    aside: Path | None
    #: what the new one was founded as; its cluster is that of Config from now on
    founding: Founding
    #: where its log ends, and up to where it is known to be committed
    last_index: int
    last_term: int
    commit: int


def recover(
    path: str | os.PathLike[str],
    *,
    members: Mapping[int, str] | Iterable[int] | None = None,
    learners: Mapping[int, str] | Iterable[int] = (),
    cluster: bytes | str | None = None,
    accept_loss: bool = False,
    disk: Disk | None = None,
) -> Recovered:
    """Make the log of a survivor that of a new cluster.

    path: the directory of the survivor, which is not in use. members, learners: of the new cluster; None: this member
    alone, which can lead at once. Every other *voter* among them must come from such a log, too: by this function, with
    the same members and cluster. One that is founded with nothing could elect a leader that lacks what was recovered;
    a learner may be founded with nothing. cluster: as Config.cluster; None: drawn at random.

    A crash leaves the old directory, the new one, or none that opens; call this again then. Raises LossNotAccepted
    unless ``accept_loss``, WalDamaged for a directory that is damaged, ConfigError, NotFounded, WrongDirectory when it
    is in use, StorageError.
    """
    if not isinstance(accept_loss, bool):
        raise ConfigError(f"accept_loss must be True or False, not {accept_loss!r}")
    cluster = None if cluster is None else cluster_id(cluster)
    where = absolute(path)
    disk = Disk() if disk is None else disk
    refuse_link(where)
    swap = Swap(disk, where, "recovered")
    if swap.resume():
        with look_into(disk.open_directory(where), where) as seen:
            return _done(seen, None)
    directory: Directory | None = None
    try:
        directory = disk.open_directory(where)
        with look_into(directory, where, keep=True) as old:
            if old.damage or old.founding is None or old.recovery is None:
                first = old.damage[0]
                raise WalDamaged(
                    f"{where}/{first.file} at byte {first.place:,}: {first.reason}. What is damaged cannot be "
                    "recovered: take another survivor, or begin with one of the snapshots in it (raftx restore)"
                )
            founding = _planned(disk, old.founding, old, members, learners, cluster)
            if old.recovery.reader.last_index == 0:
                raise StorageError(
                    f"{where} holds no entry, so that nothing can be recovered from it{_doubted(old)}: take a survivor "
                    "that has the log (raftx wal info)"
                )
            if not accept_loss:
                raise LossNotAccepted(_text(old, old.founding.id, founding.conf_state))
            with swap.making():
                _make(disk, swap.part, old, directory, founding)
                with look_into(disk.open_directory(swap.part), swap.part) as new:
                    _check(old, new)
                    done = _done(new, None)
            return replace(done, path=where, aside=swap.commit("before-recovery"))
    except OSError as error:
        raise StorageError(f"cannot recover {where}: {error.strerror or error}") from error
    finally:
        if directory is not None:
            directory.close()


def _done(seen: Look, aside: Path | None) -> Recovered:
    assert seen.founding is not None and seen.recovery is not None
    reader = seen.recovery.reader
    return Recovered(seen.path, aside, seen.founding, reader.last_index, reader.last_term, reader.commit)


def _doubted(old: Look) -> str:
    """That the member itself may lack something, and why; "" where it does not."""
    assert old.founding is not None and old.recovery is not None
    if not (old.doubt or old.recovery.reader.in_doubt):
        return ""
    why = "it was rebuilt" if old.founding.rebuilt else old.doubt or "it lost something before"
    return f". It is in doubt ({why}), so that it may lack what it has acknowledged itself"


def _text(old: Look, id: int, conf_state: ConfState) -> str:
    assert old.recovery is not None
    reader, base = old.recovery.reader, old.recovery.base
    commit = max(reader.commit, base)
    count = len(conf_state.voters)
    notes = "".join([f" Note that {each}." for each in old.notes])
    open_ones = reader.last_index - commit
    what = "an entry that was" if open_ones == 1 else f"up to {open_ones} entries that were"
    uncommitted = f" Besides, {what} never committed may come to count." if open_ones else ""
    members = f"member {conf_state.voters[0]} alone" if count == 1 else f"the voters {conf_state.voters}"
    return TEXT.format(
        id=id, last=reader.last_index, term=reader.last_term, commit=commit, members=members,
        uncommitted=uncommitted, doubt=_doubted(old), notes=notes,
    )  # fmt: skip


def _planned(
    disk: Disk,
    old: Founding,
    seen: Look,
    members: Mapping[int, str] | Iterable[int] | None,
    learners: Mapping[int, str] | Iterable[int],
    cluster: bytes | None,
) -> Founding:
    """What the new directory is founded as."""
    assert seen.recovery is not None
    if members is None:
        known = seen.addresses()
        members = {old.id: known[old.id]} if old.id in known else [old.id]
    new = disk.random(CLUSTER_BYTES) if cluster is None else cluster
    founding = planned(disk.random(STORE_BYTES), old.id, members, learners, new, old.segment_bytes)
    if new == old.cluster:
        raise ConfigError(
            f"cluster must be another one than before, {cluster_name(new)!r}: members of that one could come back and "
            "take part"
        )
    return replace(
        founding,
        opened=seen.recovery.reader.incarnation,
        base=seen.recovery.base,
        base_term=seen.recovery.base_term,
        restored=any([each.counts for each in seen.snapshots]),
        origin=0,  # several survivors may be recovered, each up to another entry
    )


def _make(disk: Disk, part: Path, old: Look, source: Directory | None, founding: Founding) -> None:
    """The new directory: first the log, then the snapshots. Raises StorageError, OSError."""
    # A snapshot of an entry that is not in the log does not count: an opening removes it, or refuses the directory. So
    # there are none, and the founding tells of none, until the log is whole.
    bare, storage = replace(founding, restored=False), FileStorage(part, disk=disk)
    skips = skips_file.needed(old.skips, founding.base)
    storage._found(bare, lambda made: skips_file.write(made, founding.store, skips))
    _copy_log(old, founding, storage)
    target = disk.open_directory(part)
    try:
        if _copy_snapshots(old, source, target, founding):
            founding_file.write(target, founding)
    finally:
        target.close()


def _copy_snapshots(old: Look, source: Directory | None, target: Directory, founding: Founding) -> int:
    """Snapshots that count, for the new cluster and its members; how many. Raises SnapshotDamaged where none is whole.

    The newest one was read to its end. An older one is there for the case that the newest is damaged one day.
    """
    assert source is not None
    copied = 0
    for each in sorted(old.snapshots, key=lambda each: each.descriptor.index if each.descriptor else 0, reverse=True):
        if not each.counts or each.descriptor is None:
            continue
        made = replace(
            each.descriptor,
            cluster=founding.cluster,
            conf_state=founding.conf_state,
            addresses=founding.addresses,
            joined={},
        )
        reader = SnapshotReader(source, each.name)
        try:
            copy_state(reader, SnapshotWriter(target, made))
            copied += 1
        except SnapshotDamaged as error:
            if not copied:
                raise
            report(logging.WARNING, "%s: %s; the newer snapshot serves without it", old.path, error)
        finally:
            reader.close()
    return copied


def _copy_log(old: Look, founding: Founding, storage: FileStorage) -> None:
    """Entries and term, without the vote: nobody has voted in the new cluster."""
    assert old.recovery is not None
    reader = old.recovery.reader
    storage.open(founding.id, founding.cluster)
    try:
        commit, last = max(reader.commit, founding.base), founding.base
        for records, last in _pieces(old.entries()):
            storage.append(HardState(reader.term, 0, min(commit, last)), records)
            storage.sync()
        storage.append(HardState(reader.term, 0, min(commit, last)), [])
        storage.sync()
    finally:
        storage.close()


def _pieces(entries: Iterator[Entry]) -> Iterator[tuple[list[bytes], int]]:
    """Records of entries, some at a time, and the index of the last of them."""
    records: list[bytes] = []
    size = last = 0
    for entry in entries:
        # The members are those that were said: changes of before mean nothing any more, but their places stay.
        kept = Entry(entry.index, entry.term, b"", ENTRY_NORMAL, entry.time) if entry.kind in CHANGES else entry
        records.append(kept.encode())
        size += len(records[-1])
        last = entry.index
        if size >= BATCH:
            yield records, last
            records, size = [], 0
    if records:
        yield records, last


def _check(old: Look, new: Look) -> None:
    """The new directory has what the old one has. Raises StorageError."""
    assert old.recovery is not None
    said = old.recovery.reader
    if new.damage or new.recovery is None:
        raise StorageError(f"{new.path} is damaged, though it was just written: {new.damage[0].reason}")
    found = new.recovery.reader
    if (found.last_index, found.last_term, found.term) != (said.last_index, said.last_term, said.term):
        raise StorageError(
            f"{new.path} ends with entry {found.last_index} of term {found.last_term}, and what it was copied from "
            f"with entry {said.last_index} of term {said.last_term}"
        )
