"""An entry that no state machine can take is skipped: agreed by the owner, on every member, while all are stopped.

An exception of ``apply`` ends each member alike, and each start, since the entry is committed and comes again. This
is the way out that keeps all other entries. Nothing of the log changes: a file beside it says which entry is meant.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .._native.files import Directory
from .._native.layout import ENVELOPE
from .._native.memory import Entry
from ..errors import ConfigError, LossNotAccepted, StorageError, UsageError, WalDamaged
from ..types import ENTRY_NORMAL, ENTRY_SESSION, is_id
from . import skips as skips_file
from .disk import Disk
from .look import look_into
from .swap import absolute, refuse_link

TEXT = (
    "entry {index} of term {term} ({bytes} bytes) would not be given to the state machine of member {id} any more, at "
    "no start. Its proposer may have been told nothing of it; whatever it was to change is not changed. The same has "
    "to be done on ALL members, learners included, while all of them are stopped: a member that does not skip it comes "
    "to another state than the others, and nobody notices. A member that does not have the entry yet ends when it "
    "comes to it: skip it there, too, then. A snapshot that was made behind it needs no skip. If all of that is so, "
    "agree"
)


@dataclass(frozen=True)
class Skipped:
    """What was done."""

    path: Path
    #: the entry
    index: int
    term: int
    #: all entries that are skipped in this directory now: terms by index
    skips: dict[int, int]


def skip(path: str | os.PathLike[str], index: int, *, agreed: bool = False, disk: Disk | None = None) -> Skipped:
    """Skip the entry at ``index`` in a member's directory: it is not given to the state machine from now on.

    agreed: it is done, or will be, on all members while all of them are stopped. Without that nothing is done, and
    LossNotAccepted says what would be, and what must hold. Durable when it returns; a crash leaves it as it was before
    or as it is after. Skipping an entry twice changes nothing.

    Raises LossNotAccepted, ConfigError for what is no path, UsageError for an entry that is not in the log, or is given
    to no state machine anyway, WalDamaged, NotFounded, WrongDirectory while a node uses the directory, StorageError.
    """
    if not isinstance(agreed, bool):
        raise ConfigError(f"agreed must be True or False, not {agreed!r}")
    if not is_id(index):
        raise UsageError(f"index must be an integer in 1..2^63-1, not {index!r}")
    where = absolute(path)
    refuse_link(where)
    disk = Disk() if disk is None else disk
    directory: Directory | None = None
    try:
        directory = disk.open_directory(where)
        with look_into(directory, where, keep=True) as seen:
            if seen.damage or seen.founding is None or seen.recovery is None:
                first = seen.damage[0]
                raise WalDamaged(f"{where}/{first.file} at byte {first.place:,}: {first.reason}. {first.remedy}")
            founding, base, last = seen.founding, seen.recovery.base, seen.recovery.reader.last_index
            entry = next(seen.entries(index, index), None)
            made = max([each.descriptor.index for each in seen.snapshots if each.counts and each.descriptor], default=0)
        _check(where, index, entry, base, last, made)
        assert entry is not None
        if not agreed:
            size = len(entry.data) - ENVELOPE
            raise LossNotAccepted(TEXT.format(index=index, term=entry.term, bytes=size, id=founding.id))
        skips = skips_file.needed(skips_file.read(directory, founding.store), base)
        if len(skips) >= skips_file.SKIPS_MAX and index not in skips:
            raise UsageError(f"{where} has {skips_file.SKIPS_MAX} skipped entries already")
        skips[index] = entry.term
        skips_file.write(directory, founding.store, skips)
        return Skipped(where, index, entry.term, skips)
    except OSError as error:
        raise StorageError(f"cannot skip an entry in {where}: {error.strerror or error}") from error
    finally:
        if directory is not None:
            directory.close()


def _check(where: Path, index: int, entry: Entry | None, base: int, last: int, made: int) -> None:
    """Raise UsageError for what cannot be skipped. made: the entry of the newest snapshot."""
    if last <= base:
        raise UsageError(f"the log in {where} has no entries, so that none of them can be skipped")
    if index <= made:
        raise UsageError(
            f"index must be above {made}, the entry of the newest snapshot in {where}, not {index}: that entry is in "
            "the snapshot, and so in the state that this member begins with. Do not skip it on other members: they "
            "would come to another state"
        )
    if index <= base:
        raise UsageError(
            f"index must be above {base}, where the log in {where} begins, not {index}: what lies before it is in a "
            "snapshot, and is not applied any more"
        )
    if entry is None:
        raise UsageError(f"index must be that of an entry in {where}, {base + 1}..{last}, not {index}")
    if entry.kind not in (ENTRY_NORMAL, ENTRY_SESSION) or len(entry.data) < ENVELOPE:
        raise UsageError(
            f"index must be that of a command, not {index}: that entry is given to no state machine (raftx wal dump)"
        )
