"""A look at a member's directory, with the code that opens it, and without changing anything: no byte, and no file.

A directory that a node uses can be looked at as well. Then the files change meanwhile, and what is read may be behind;
so what looks like damage is looked at again, and counts when it stays where it was. No lock is held, so that a node can
begin at any moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from .._native.files import Directory, segment_name
from .._native.layout import ENTRY_HEADER, RECORD_INDEX, RECORD_LENGTH
from .._native.memory import Buffer, Entry
from ..errors import ConfChangeError, ConfigError, NotFounded, SnapshotDamaged, StorageError, WalDamaged
from ..types import ENTRY_CONF_CHANGE, ConfChange
from . import book as book_file
from . import founding as founding_file
from . import lives as lives_file
from . import skips as skips_file
from .book import NAME as BOOK
from .book import Book
from .file import NOT_FOUNDED, REMEDY
from .founding import NAME as FOUNDING
from .founding import Founding
from .lives import NAME as LIVES
from .lives import Lives
from .membership import ALONE_REMEDY, CHANGES, Context, is_alone
from .paths import check_path
from .recovery import Recovery, left_by_a_member
from .skips import NAME as SKIPS
from .snapshot_format import Descriptor, name_of_place
from .snapshot_store import REMEDY as SNAPSHOT_REMEDY
from .snapshot_store import SnapshotStore
from .snapshots import SnapshotFolder, SnapshotReader
from .wal_format import MARK_NAME, REMOVED_LIFE

#: what a member makes of it depends on its state machine, of which the directory tells nothing
NO_SNAPSHOT = (
    "the log begins behind entry {base}, and no snapshot reaches so far. A state machine that keeps its state itself, "
    "with an applied_index or without restore(), goes on with it. One that restores snapshots would lack what was "
    "applied up to there, and the member does not start: " + SNAPSHOT_REMEDY
)
AGAIN = 6  # so often what looks like damage in a directory that is in use is looked at again
AGAIN_S = 0.05


@dataclass(frozen=True)
class Damage:
    """What keeps a member from starting, or a snapshot from serving."""

    #: a file of the directory, and the byte at which it begins, as far as that is known
    file: str
    place: int
    reason: str
    remedy: str


@dataclass(frozen=True)
class SnapshotSeen:
    """A snapshot's file."""

    name: str
    #: None where the header cannot be read
    descriptor: Descriptor | None
    #: whether it is within the log and kept
    counts: bool
    #: why it cannot be used; "" where nothing was found to be wrong
    damage: str = ""


@dataclass(frozen=True)
class SegmentSeen:
    """A segment of the log."""

    name: str
    number: int
    size: int
    #: where its last batch ends
    end: int
    #: numbers of its first and its last batch; the last one is below the first where there is none
    first_batch: int
    last_batch: int
    #: the base that its header names
    base: int


@dataclass
class Look:
    """What a directory holds. A context: until it ends ``entries`` may be read."""

    path: Path
    in_use: bool
    #: None where it cannot be read
    founding: Founding | None = None
    #: None where it cannot be read
    lives: Lives | None = None
    recovery: Recovery | None = None
    segments: list[SegmentSeen] = field(default_factory=list)
    snapshots: list[SnapshotSeen] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    #: (file, place, reason): what the next start repairs or removes, which is no damage
    mends: list[tuple[str, int, str]] = field(default_factory=list)
    #: entries that the state machine is not given: terms by index
    skips: dict[int, int] = field(default_factory=dict)
    #: what was kept of addresses when the log was made shorter
    book: Book | None = None
    #: why the member starts in doubt; "" when it does not
    doubt: str = ""
    #: why it does not start although nothing is damaged: it is the only voter, and in doubt
    refused: list[Damage] = field(default_factory=list)
    #: what may be right or not, which the directory alone does not tell
    notes: list[str] = field(default_factory=list)
    _directory: Directory | None = None
    #: the directory is somebody else's to close
    _keep: bool = False

    def __enter__(self) -> Look:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the directory; may be called twice."""
        if self.recovery is not None:
            self.recovery.close()
        if self._directory is not None and not self._keep:
            self._directory.close()

    def faults(self) -> list[Damage]:
        """Everything that keeps the member from starting, or a snapshot from serving."""
        return self.damage + self.refused

    def addresses(self) -> dict[int, str]:
        """Where members are reached, as far as this directory tells: by the newest entry that says so of each.

        Members that were removed may be among them. Of a directory without damage.
        """
        assert self.founding is not None and self.recovery is not None
        known = {} if self.founding.joining else dict(self.founding.addresses)
        begin = self.recovery.base
        if self.book is not None and self.book.index >= begin:
            known.update(self.book.addresses)
        made = [each.descriptor for each in self.snapshots if each.counts and each.descriptor is not None]
        newest = max(made, key=lambda each: each.index, default=None)
        if newest is not None:
            known.update(newest.addresses)
            begin = newest.index
        for entry in self.entries(begin + 1):
            if entry.kind in CHANGES:
                with contextlib.suppress(ConfChangeError):
                    context = Context.decode(ConfChange.decode(entry.data, entry.kind == ENTRY_CONF_CHANGE).context)
                    known.update({} if context is None else context.addresses)
        return known

    def entries(self, first: int = 1, last: int = 1 << 63) -> Iterator[Entry]:
        """The entries that count, from ``first`` to ``last``, in order; where there is damage, those before it.

        The log is read again, piece by piece. Raises WalDamaged, OSError when it changes meanwhile.
        """
        recovery, directory = self.recovery, self._directory
        if recovery is None or directory is None:
            return
        # A piece replaces what comes before it from its own first entry on.
        ends = []
        least = last + 1
        for piece in reversed(recovery.pieces):
            ends.append(least)
            least = min(least, _first_index(directory, piece))
        for data, end in zip(recovery.records(), reversed(ends), strict=True):
            for entry in Entry.decode_all(data):
                if first <= entry.index < end:
                    yield entry


def is_in_use(path: Path) -> bool:
    """Whether a process holds the directory. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)  # with the lock: nobody is to meet it
    return False


def look(given: str | os.PathLike[str], *, thorough: bool = False) -> Look:
    """Look at a directory. thorough: read every snapshot to its end, also those that do not count.

    Damage is not raised but told. Raises NotFounded where there is no member, StorageError for another version of the
    format, OSError for what cannot be read, ConfigError for what is no path.
    """
    path = Path(os.path.abspath(check_path(given, "path", "a member's directory", ConfigError)))
    before: list[Damage] | None = None
    for attempt in range(AGAIN):
        in_use = is_in_use(path)
        seen = None
        try:
            seen = look_into(Directory(path, locked=False), path, in_use=in_use, thorough=thorough)
            if not seen.faults() or seen.faults() == before or not (in_use or is_in_use(path)):
                return seen
            before = seen.faults()
        except FileNotFoundError:
            # A segment that is not needed any more was removed after its name was read.
            if attempt == AGAIN - 1:
                raise
        if attempt < AGAIN - 1:
            if seen is not None:
                seen.close()
            time.sleep(AGAIN_S)
    assert seen is not None
    return seen


def look_into(
    directory: Directory, path: Path, *, in_use: bool = False, thorough: bool = False, keep: bool = False
) -> Look:
    """Look at a directory that is open; it is closed with what is returned, or by what is raised, unless ``keep``.

    See ``look``.
    """
    seen = Look(path, in_use, _keep=keep)
    seen._directory = directory
    try:
        _examine(seen, directory, thorough)
    except StorageError as error:
        seen.close()
        # What reads the bytes of another version does not know where they are.
        if type(error) is StorageError:
            raise StorageError(f"{path}: {error}") from error
        raise
    except BaseException:
        seen.close()
        raise
    return seen


def _examine(seen: Look, directory: Directory, thorough: bool) -> None:
    path = seen.path
    try:
        seen.founding = founding = founding_file.read(directory)
    except WalDamaged as error:
        seen.damage.append(Damage(FOUNDING, 0, str(error), REMEDY))
        return
    if founding is None:
        if left := left_by_a_member(directory):
            reason = f"the file {FOUNDING} is missing, and {left} of a member is there"
            seen.damage.append(Damage(FOUNDING, 0, reason, REMEDY))
            return
        raise NotFounded(f"{path} holds no member. {NOT_FOUNDED}")
    try:
        seen.lives = lives_file.read(directory, founding.store)
    except WalDamaged as error:
        seen.damage.append(Damage(LIVES, 0, str(error), REMEDY))
    try:
        seen.skips = skips_file.read(directory, founding.store)
    except WalDamaged as error:
        seen.damage.append(Damage(SKIPS, 0, *str(error).split(": ", 1)))
    try:
        seen.book = book_file.read(directory, founding.store)
    except WalDamaged as error:
        seen.damage.append(Damage(BOOK, 0, str(error), REMEDY))
    seen.recovery = recovery = Recovery(directory, founding, founding.segment_bytes, readonly=True)
    try:
        recovery.examine()
        seen.doubt = recovery.doubt
        if recovery.reader.in_doubt:
            seen.doubt = seen.doubt or "no leader has brought it up to date since it was in doubt"
        if seen.doubt and is_alone(recovery.current, founding.id):
            file = MARK_NAME if recovery.doubt else segment_name(recovery.head.segment) if recovery.head else FOUNDING
            reason = f"{seen.doubt}: something that was acknowledged may be missing, and member {founding.id} does "
            seen.refused.append(Damage(file, 0, f"{reason}not start: it is the only voter", ALONE_REMEDY))
        seen.mends += recovery.to_be_mended()
        if seen.lives is not None and seen.lives.unread >= 0:
            seen.mends.append((LIVES, seen.lives.unread, lives_file.UNREAD))
    except WalDamaged as error:
        reason = str(error).removeprefix(f"{path}/{recovery.where[0]}").lstrip(": ").removeprefix(f"{path}: ")
        reason = reason.removeprefix(f"at byte {recovery.where[1]:,}: ")  # the place is told beside it
        seen.damage.append(Damage(*recovery.where, reason, REMEDY))
    if seen.lives is not None and seen.lives.lost:
        _look_at_lost(seen, seen.lives, founding)
    seen.segments = _segments(recovery)
    _look_at_snapshots(seen, founding, recovery, directory, thorough)


def _look_at_lost(seen: Look, lives: Lives, founding: Founding) -> None:
    """Others have said that the member has forgotten something, or was removed."""
    lost = lives_file.named(lives.lost)
    if lives.lost == REMOVED_LIFE:
        seen.damage.insert(0, Damage(LIVES, 0, lives_file.removed(founding.id), "Delete the directory, or keep it"))
    elif lives_file.is_behind(lives, founding.rebuilt, bool(seen.doubt)):
        seen.mends.append((LIVES, 0, lives_file.BEHIND.format(lost=lost)))
    else:
        reason = lives_file.GONE.format(id=founding.id, lost=lost)
        seen.damage.insert(0, Damage(LIVES, 0, reason, lives_file.GONE_REMEDY))


def _segments(recovery: Recovery) -> list[SegmentSeen]:
    """Those that were walked, the damaged one included."""
    heads = recovery.heads
    found = []
    for number, head in enumerate(heads):
        whole = number < len(recovery.ends)
        last = heads[number + 1].first_batch - 1 if number + 1 < len(heads) else recovery.reader.batch_number
        end = recovery.ends[number] if whole else recovery.where[1]
        found.append(
            SegmentSeen(segment_name(head.segment), head.segment, head.size, end, head.first_batch, last, head.base)
        )
    return found


def _look_at_snapshots(
    seen: Look, founding: Founding, recovery: Recovery, directory: Directory, thorough: bool
) -> None:
    kept: set[str] = set()
    if not seen.damage:
        store = SnapshotStore(str(seen.path), directory, founding.cluster)
        reader = recovery.reader
        try:
            judged = store.judge(recovery.base, reader.last_index, recovery.term_at, recovery.needs_snapshot())
            kept = {each.name for each in judged.within}
            seen.mends += [(name, 0, f"{reason}; it is put aside") for name, reason in judged.damaged]
            if recovery.base and not judged.within:
                seen.notes.append(NO_SNAPSHOT.format(base=recovery.base))
        except (SnapshotDamaged, WalDamaged) as error:
            text = str(error).removeprefix(f"{seen.path}: ").removesuffix(f": {SNAPSHOT_REMEDY}")
            names = [name for name in SnapshotFolder(directory).names() if name in text]
            file = names[0] if names else name_of_place(recovery.base_term, recovery.base)
            seen.damage.append(Damage(file, 0, text, SNAPSHOT_REMEDY))
    for name in SnapshotFolder(directory).names():
        descriptor, damage = None, ""
        try:
            with contextlib.closing(SnapshotReader(directory, name)) as snapshot:
                descriptor = snapshot.descriptor
                if thorough:
                    snapshot.verify()
        except StorageError as error:
            if not isinstance(error, SnapshotDamaged) and name not in directory.names():
                continue  # it was removed meanwhile
            damage = str(error)
        seen.snapshots.append(SnapshotSeen(name, descriptor, name in kept, damage))
        if damage and thorough:
            known = [each.file for each in seen.damage]
            if name not in known:
                seen.mends = [each for each in seen.mends if each[0] != name]
                remedy = "the next start puts it aside, and goes on with the one before or with the log"
                seen.damage.append(Damage(name, 0, damage, remedy))


def _first_index(directory: Directory, piece: tuple[int, int, int]) -> int:
    """The index of the first entry of a run of records."""
    segment, position, _ = piece
    file = directory.open_file(segment_name(segment), readonly=True)
    try:
        buffer = Buffer()
        code = file.py_read_at(buffer, ENTRY_HEADER, position)
    finally:
        file.close()
    if code:
        raise OSError(-code, f"cannot read {segment_name(segment)}: {os.strerror(-code)}")
    if len(buffer) <= RECORD_LENGTH:
        raise WalDamaged(f"{segment_name(segment)} became shorter while it was read")
    data = buffer.tobytes()
    return int.from_bytes(data[RECORD_INDEX : RECORD_INDEX + 8], "little")
