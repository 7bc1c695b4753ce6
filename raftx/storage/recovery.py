"""What a directory holds, judged at each open: the segments are walked once, the tail is held against the mark.

Three outcomes. *Whole*: everything that was acknowledged is there; what a write that never ended left behind is
removed. *In doubt*: something acknowledged may be missing, and nothing on this disk tells. *Damaged*: something is
missing or wrong; WalDamaged says what, and the node does not start. Nothing is deleted or overwritten but what a
write that never ended can have left, and each time a warning is logged.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence

from .._native.files import SPARE_NAME, Directory, File, segment_name
from .._native.memory import Buffer
from ..errors import StorageError, StorageFailed, WalDamaged, WrongDirectory
from ..report import report
from .founding import NAME as FOUNDING
from .founding import Founding
from .membership import membership_after
from .reserve import Reserve
from .snapshot_format import place_of_name
from .wal_format import (
    BLOCK,
    KIND_RESTORE,
    MARK_NAME,
    MARK_NEW,
    MARK_SLOTS,
    OPERATION_MARK,
    OPERATION_SEGMENT,
    OPERATION_SYNC,
    OPERATION_WRITE,
    SECTOR,
    Head,
    Mark,
    Owner,
    check_version,
    decode_head,
    decode_mark,
    describe,
    encode_head,
    encode_mark,
    is_torn_head,
    mark_version,
    segment_number,
)
from .wal_reader import Reader
from .wal_writer import Wal
from .whole import write_whole

UNTOUCHED = "find what else writes in this directory, end it, and start the member again"
HALF_HEADER = "its header was not written whole"
NOTHING = Mark(0, 0, 0, 0)  # the mark of a directory that was founded


def make_mark(directory: Directory, mark: Mark, owner: Owner) -> None:
    """A whole mark under its name, or none. Raises StorageFailed."""
    slots = [encode_mark(mark, slot, owner).ljust(BLOCK, b"\0") for slot in range(MARK_SLOTS)]
    code = write_whole(directory, MARK_NAME, MARK_NEW, b"".join(slots))
    if code:
        raise StorageFailed(describe(OPERATION_MARK << 32 | -code))


def first_block(directory: Directory, segment: int) -> bytes:
    """The first block of a segment, shorter where that is all there is. Raises OSError."""
    file = directory.open_file(segment_name(segment), readonly=True)
    try:
        buffer = Buffer()
        code = file.py_read_at(buffer, BLOCK, 0)
        if code:
            name = f"{os.fsdecode(directory.path)}/{segment_name(segment)}"
            raise OSError(-code, f"cannot read {name}: {os.strerror(-code)}")
        return buffer.tobytes()
    finally:
        file.close()


def read_slots(directory: Directory) -> list[tuple[Mark, Owner] | None]:
    """What each slot of the mark says, None where it cannot be read.

    Raises StorageError for a mark of another version, OSError.
    """
    slots, versions = [], []
    file = directory.open_file(MARK_NAME, readonly=True)
    try:
        buffer = Buffer()
        for slot in range(MARK_SLOTS):
            code = file.py_read_at(buffer, SECTOR, slot * BLOCK)
            data = b"" if code else buffer.tobytes()
            slots.append(decode_mark(data, slot))
            versions.append(mark_version(data))
    finally:
        file.close()
    if versions[0] == versions[1] != 0:
        # Two slots that agree on another version are no damage in one place.
        check_version(versions[0])
    return slots


def _snapshots(names: Sequence[str]) -> list[str]:
    """Names of snapshots, whole or not."""
    return [name for name in names if place_of_name(name.split(".raftx")[0] + ".raftx")]


def left_by_a_member(directory: Directory) -> str:
    """The name of a file that only a member can have written, "" without one. For a directory that was not founded.

    A founding that did not end leaves no such file. It may leave a snapshot, with a mark which says that nothing was
    ever written. Raises StorageError for what another version of raftx has written, OSError.
    """
    names = directory.names()
    found = [name for name in names if name == SPARE_NAME]
    for segment in sorted(number for number in map(segment_number, names) if number is not None):
        found.append(segment_name(segment))
        with contextlib.suppress(WalDamaged):
            decode_head(first_block(directory, segment))
    slots = read_slots(directory) if MARK_NAME in names else []
    if any(slot is not None and slot[0] != NOTHING for slot in slots):
        found.append(MARK_NAME)
    if not slots or None in slots:
        found = _snapshots(names) + found
    return found[-1] if found else ""


def remove_begun(directory: Directory, names: Sequence[str]) -> None:
    """Remove what a founding has left that did not end, where ``left_by_a_member`` has found nothing. OSError."""
    left = _snapshots(names)
    for name in left:
        directory.remove(name)
    if left:
        code = directory.py_sync()
        if code:
            raise OSError(-code, f"cannot remove {left[0]}: {os.strerror(-code)}")


class Recovery:
    """Walks the segments of a directory once. Raises WalDamaged, WrongDirectory, StorageFailed, OSError."""

    def __init__(
        self,
        directory: Directory,
        founding: Founding,
        segment_bytes: int,
        readonly: bool = False,
    ) -> None:
        self.directory = directory
        self.founding = founding
        #: nothing is going to be mended: no file is opened to be written
        self.readonly = readonly
        self.path = os.fsdecode(directory.path)
        self.owner = Owner(founding.cluster, founding.id, founding.store)
        self.founders = founding.conf_state
        #: the membership at the base, and the one with all committed changes in the log
        self.conf_state = self.current = self.founders
        #: entries up to here, whose last one has that term, are not needed any more
        self.base, self.base_term = founding.base, founding.base_term
        self.segment_bytes = segment_bytes
        self.reader = Reader()
        self.reader.found(founding.base, founding.base_term, founding.opened)
        #: what is being judged: a file, and a place in it
        self.where = (FOUNDING, 0)
        #: what was cut off first: (file, place, reason), or None
        self.repaired: tuple[str, int, str] | None = None
        #: why something acknowledged may be missing; "" when nothing is
        self.doubt = ""
        #: (segment, place, length) of runs of records
        self.pieces: list[tuple[int, int, int]] = []
        #: what was walked, File.identity(): the files are opened again when the records are read
        self.walked: dict[int, tuple[int, int]] = {}
        #: the highest index of an entry in each of them
        self.highest: list[int] = []
        #: the headers of the segments that are walked, and where the last batch of each of them ends
        self.heads: list[Head] = []
        self.ends: list[int] = []
        #: the first segment that is walked; those before it are left from what was not needed any more
        self.first = self.first_batch = 1
        self.leftovers: list[int] = []
        #: lives of the member that began, as far as anything but the log knows
        self.lived = 0
        #: a file was to be used again as a segment
        self.has_spare = False
        #: the higher one of the slots that can be read
        self.mark: Mark | None = None
        #: why the mark is to be written anew, though nothing is in doubt; "" when it is not
        self.mark_reason = ""
        #: the mark has a file, which can be written again
        self.marked = False
        #: what the batch that the mark names is like, if it is there
        self.met: Mark | None = None
        #: the last segment that has a header (None: nothing was written since the founding), the place behind its last
        #: batch, and what stands there if anything does
        self.head: Head | None = None
        self.file = directory.new_file()
        self.position = BLOCK
        #: where the newest batch begins in the segment that was walked last, and its length; 0: none is in it
        self.newest = (0, 0)
        self.torn_reason = ""
        #: a segment behind it that was made and never used, 0 for none, and whether it holds zeros only
        self.unused = 0
        self.unused_is_empty = False
        self.mark_file = directory.new_file()
        self.reserve = Reserve(directory, segment_bytes)

    def close(self) -> None:
        """Close what a failed recovery has left open."""
        self.file.close()
        self.mark_file.close()
        self.reserve.close()

    def examine(self) -> None:
        """Verify everything and judge it. Changes nothing on disk."""
        founding = self.founding
        present = self.directory.names()
        segments = sorted(number for number in map(segment_number, present) if number is not None)
        self._read_mark(present)
        last = segments[-1] if segments else 0
        first = last
        while first - 1 in segments:
            first -= 1
        heads, headless = self._read_heads(range(first, last + 1) if segments else ())
        oldest = heads[-1].oldest if heads else 1
        if first > oldest:
            self.where = (segment_name(first - 1), 0)
            raise WalDamaged(f"{self._file(first - 1)} is missing, {segment_name(last)} is there")
        self.leftovers = [segment for segment in segments if segment < first]
        self.has_spare = SPARE_NAME in present
        self.reader.places = {place[1]: 0 for place in map(place_of_name, present) if place}
        if heads:
            self.first, self.first_batch = first, heads[0].first_batch
            self.base, self.base_term = heads[-1].base, heads[-1].base_term
            # What was removed went up to the base at most.
            self.reader.start(self.base, self.base if first > 1 else 0)
        for head in heads:
            self.heads.append(head)
            self.position = self._segment(head, last=head is heads[-1])
            self.ends.append(self.position)
        if self.reader.restored is not None:
            self.base, self.base_term, self.conf_state = self.reader.restored
        if self.reader.last_index > self.base and not self.reader.joined:
            raise WalDamaged(f"{self.path}: nothing in the log follows its base {self.base}")
        if self.reader.last_index < self.base:
            raise WalDamaged(
                f"{self.path}: the log ends with entry {self.reader.last_index}, before its base {self.base}"
            )
        changes = [(kind, data) for index, kind, data in self.reader.changes if index <= self.reader.commit]
        self.current = membership_after(self.conf_state, changes)
        if headless is not None:
            self.where = (segment_name(last), 0)
            if not self._never_began(last):
                raise WalDamaged(f"{self._file(last)}: {headless}") from headless
            self.unused = last
        if heads:
            self.where = (segment_name(heads[-1].segment), self.position)
        self._judge(len(heads), self.position)
        if not self.doubt and founding.in_doubt and self.reader.batch_number == 0:
            self.doubt = "it joins" if founding.joining else "it was rebuilt, and has nothing of what it held before"

    def to_be_mended(self) -> list[tuple[str, int, str]]:
        """What ``mend`` is going to repair, after ``examine``: (file, place, reason) each. Changes nothing on disk."""
        found = [(MARK_NAME, 0, self.mark_reason)] if self.mark_reason else []
        if self.unused and not self.unused_is_empty:
            found.append((segment_name(self.unused), 0, HALF_HEADER))
        if self.head is not None and self.reader.find_dirt(self.file, self.position, self.head.size) is not None:
            found.append((segment_name(self.head.segment), self.position, self.torn_reason))
        return found

    def mend(self) -> Wal:
        """Repair the tail, sync what is relied on, and return the writing end, in its next incarnation."""
        if self.mark_reason:
            self.repair(MARK_NAME, 0, self.mark_reason)
        for segment in self.leftovers:
            self.directory.remove(segment_name(segment))
        if self.has_spare:
            # Whatever it holds: nobody knows how far it was filled with zeros.
            self.directory.remove(SPARE_NAME)
        if self.unused:
            self._keep_or_remove(self.unused)
        head = self.head
        if head is None:
            cluster, id, store = self.owner
            head = Head(1, cluster, id, 0, 1, self.segment_bytes, 0, 0, 1, self.founders, self.founders, store)
            # The size is 0, so the first batch begins the first segment.
            segment, size = 0, 0
        else:
            self._clean(head, self.position)
            self._renew(head)
            # What is trusted from here on is on disk, whatever the cache held before.
            code = self.file.py_sync_new(self.directory)
            if code:
                raise StorageFailed(describe(OPERATION_SYNC << 32 | -code))
            segment, size = head.segment, head.size
        # The log may have begun behind a snapshot since this header was written: the next one is to say so.
        head = head._replace(base=self.base, base_term=self.base_term, conf_state=self.conf_state)
        self.head = head
        reader = self.reader
        wal = Wal(self.file, self.mark_file, self.reserve, encode_head(head), self.owner)
        incarnation = max(reader.incarnation, self.lived) + 1
        wal.resume(segment, self.position, size, reader.batch_number, reader.previous_crc, incarnation)
        wal.resume_log(self.first, head.oldest, self.base, reader.last_index, self.highest)
        return wal

    def begin_marking(self, wal: Wal) -> None:
        """Write the mark from now on. A doubt about it is on disk by now, in the batch of this open."""
        if not self.marked:
            mark = Mark(wal.batch_number, wal.segment, wal.write_offset, wal.previous_crc)
            make_mark(self.directory, mark, self.owner)
        self.mark_file.py_take(self.directory.open_file(MARK_NAME))
        code = wal.py_begin_marking()
        if code:
            raise StorageFailed(describe(code))

    def needs_snapshot(self) -> bool:
        """Whether the log begins behind a snapshot that was there before it began so."""
        founding = self.founding
        return self.reader.restored is not None or (founding.restored and self.base == founding.base)

    def term_at(self, index: int) -> int:
        """The term of an entry for which a snapshot is there, or of the base; 0 when it is not in the log."""
        return self.base_term if index == self.base else self.reader.places.get(index, 0)

    # --- the mark --------------------------------------------------------------------------------

    def _check_owner(self, path: str, owner: Owner) -> None:
        """Raise WrongDirectory for a file that another directory's member wrote."""
        if (owner.cluster, owner.id) != (self.owner.cluster, self.owner.id):
            raise WrongDirectory(f"{path} belongs to node {owner.id} of cluster {owner.cluster!r}")
        if owner.store != self.owner.store:
            raise WrongDirectory(f"{path} is not of this directory: it was founded in another one for node {owner.id}")

    def _read_mark(self, present: list[str]) -> None:
        """What the mark says, and whether it can be relied on."""
        if MARK_NAME not in present:
            # It was made when the directory was founded.
            self.doubt = f"{MARK_NAME} is missing"
            return
        self.marked = True
        read = [slot for slot in read_slots(self.directory) if slot is not None]
        for _, owner in read:
            self._check_owner(f"{self.path}/{MARK_NAME}", owner)
        if read:
            self.mark = max(mark for mark, _ in read)
        if len(read) < MARK_SLOTS:
            self.doubt = f"{'one slot of ' if read else ''}{MARK_NAME} cannot be read"

    def _judge(self, count: int, position: int) -> None:
        """Whether all that was acknowledged is there, as far as the mark tells. Raises WalDamaged."""
        mark, number = self.mark, self.reader.batch_number
        if not count:
            self.where = (MARK_NAME, 0)
        where = f"{self._file(count)} ends at byte {position:,}" if count else f"{self.path} has no segment, it ends"
        if mark is not None and number < mark.number:
            raise WalDamaged(
                f"{where} with batch {number}, but batch {mark.number} was on disk, up to byte {mark.position:,} of "
                f"{segment_name(mark.segment)}: what was acknowledged is missing"
            )
        # One that lags behind what was removed names nothing that is there.
        if mark is not None and mark.number >= self.first_batch and self.met != mark:
            raise WalDamaged(f"{self.path}: batch {mark.number} is not the one that {MARK_NAME} names")
        if self.doubt and not count:
            raise WalDamaged(f"{where} with batch {number}, and {self.doubt}: what was acknowledged may be missing")
        if self.doubt and mark is not None and number > mark.number:
            # The slots are written in turn: the other one named one batch more at most, and that is there.
            self.mark_reason, self.doubt = self.doubt, ""

    # --- segments --------------------------------------------------------------------------------

    def _file(self, segment: int) -> str:
        return f"{self.path}/{segment_name(segment)}"

    def _read_heads(self, segments: Sequence[int]) -> tuple[list[Head], WalDamaged | None]:
        """The headers, and why the last segment has none, if it has none."""
        heads: list[Head] = []
        for segment in segments:
            try:
                heads.append(decode_head(first_block(self.directory, segment)))
            except WalDamaged as error:
                if segment == segments[-1]:
                    return heads, error
                self.where = (segment_name(segment), 0)
                raise WalDamaged(f"{self._file(segment)}: {error}") from error
        return heads, None

    def _never_began(self, segment: int) -> bool:
        """Whether a segment without a header was made and never used, or has what the write that begins it can leave.

        That is some sectors of a header and some of one batch, none of which was acknowledged: they are synced
        together, and nothing is written behind them before that. The mark is asked besides, as for any missing batch.
        """
        block = first_block(self.directory, segment)
        if any(block) and not is_torn_head(block):
            return False
        file = self.directory.open_file(segment_name(segment), readonly=True)
        try:
            size = file.size()
            batch = self.reader.next_one()
            verdict = batch.read(file, BLOCK, size, segment)
            if verdict == batch.BAD and not batch.torn:
                return False
            extent = batch.batch_bytes
            if batch.find_later(file, BLOCK + max(extent, BLOCK), size, segment) >= 0:
                return False
            if extent and batch.find_dirt(file, BLOCK + extent, size) is not None:
                return False
            self.unused_is_empty = not any(block) and batch.find_dirt(file, BLOCK, size) is None
        finally:
            file.close()
        return True

    def _keep_or_remove(self, segment: int) -> None:
        """The last segment was made and never used: it is the next one, unless it is not whole."""
        file = self.directory.open_file(segment_name(segment))
        try:
            size = file.size()
            if size == self.segment_bytes and self.unused_is_empty:
                code = file.py_sync_new(self.directory)
                if code:
                    raise StorageFailed(describe(OPERATION_SEGMENT << 32 | -code))
                self.reserve.adopt(file, segment, size)
                return
        finally:
            file.close()
        if not self.unused_is_empty:
            self.repair(segment_name(segment), 0, HALF_HEADER)
        self.directory.remove(segment_name(segment))
        code = self.directory.py_sync()
        if code:
            raise StorageFailed(describe(OPERATION_SEGMENT << 32 | -code))

    def _segment(self, head: Head, last: bool) -> int:
        """Walk one segment; the place behind its last batch. The last one stays open."""
        path = self._file(head.segment)
        self.where = (segment_name(head.segment), 0)
        self._check(path, head)
        file = self.directory.open_file(segment_name(head.segment), readonly=self.readonly or not last)
        try:
            size = file.size()
            if size != head.size:
                raise WalDamaged(f"{path} has {size:,} bytes, its header says {head.size:,}")
            self.walked[head.segment] = file.identity()
            self.reader.begin()
            position = self._walk(path, file, size, head.segment, last)
            self.highest.append(self.reader.highest)
            if last:
                self.file.py_take(file)
        finally:
            file.close()
        return position

    def _check(self, path: str, head: Head) -> None:
        """Whose segment it is, and that it follows the one before."""
        reader = self.reader
        segment = self.first + len(self.walked)
        if head.segment != segment:
            raise WalDamaged(f"{path} says that it is segment {head.segment}")
        self._check_owner(path, Owner(head.cluster, head.id, head.store))
        if head.founders != self.founders:
            raise WalDamaged(f"{path} was not founded with the members that {FOUNDING} names")
        if self.head is None:
            if head.base < self.founding.base:
                raise WalDamaged(f"{path} has a base before the entry that the log was founded behind")
            if segment > 1:
                reader.follow(head.first_batch - 1, head.chain)
        elif head.base < self.head.base or head.oldest < self.head.oldest:
            raise WalDamaged(f"{path} does not continue the segment before it")
        if reader.restored is not None and head.base < reader.restored[0]:
            raise WalDamaged(f"{path} has a base before the snapshot that the log begins behind")
        if head.chain != reader.previous_crc or head.first_batch != reader.batch_number + 1:
            raise WalDamaged(f"{path} does not continue the segment before it")
        self.head = head
        self.conf_state = head.conf_state

    def _walk(self, path: str, file: File, size: int, segment: int, last: bool) -> int:
        """All batches of one segment; the place behind the last one."""
        reader = self.reader
        position = BLOCK
        self.newest = (0, 0)
        while True:
            verdict = reader.read(file, position, size, segment)
            if verdict != reader.VALID:
                break
            if reader.replaces:
                self.pieces.clear()
            if reader.kind == KIND_RESTORE:
                # Nothing in the segments before is needed any more.
                self.highest = [0] * len(self.highest)
            self.pieces += [(segment, position + start, length) for start, length in reader.pieces]
            self.newest = (position, reader.batch_bytes)
            position += reader.batch_bytes
            if self.mark is not None and reader.batch_number == self.mark.number:
                self.met = Mark(reader.batch_number, segment, position, reader.previous_crc)
        where = f"{path} at byte {position:,}"
        self.where = (segment_name(segment), position)
        torn, reason, extent = reader.torn, reader.reason, reader.batch_bytes
        if verdict == reader.BAD and not (last and torn):
            raise WalDamaged(f"{where}: {reason}")
        # Behind a hole or a torn batch nothing can have been acknowledged; a whole batch there means damage.
        later = reader.find_later(file, position + max(extent, BLOCK), size, segment)
        if later >= 0:
            raise WalDamaged(f"{where}: {reason or 'a batch is missing'}, but a whole batch follows at {later:,}")
        # Nothing is written behind a batch before it is durable, so a torn one ends what was written.
        if verdict == reader.BAD and extent and (dirt := reader.find_dirt(file, position + extent, size)) is not None:
            raise WalDamaged(f"{where}: {reason}, but something follows at {dirt[0]:,}")
        self.torn_reason = reason if verdict == reader.BAD else "remains of a torn batch"
        return position

    def _clean(self, head: Head, position: int) -> None:
        """Zero what a torn write left behind the last batch, so that it can never be taken for one."""
        at = position
        while (dirt := self.reader.find_dirt(self.file, at, head.size)) is not None:
            if at == position:
                self.repair(segment_name(head.segment), position, self.torn_reason)
            at, length = dirt
            code = self.file.py_zero(at, length)
            if code:
                raise StorageFailed(describe(OPERATION_SYNC << 32 | -code))
            at += length

    def _renew(self, head: Head) -> None:
        """Write the newest batch and its segment's header again, unless the mark names what is known to be durable.

        After a sync that has failed they may be in the cache alone, where a later sync finds nothing to write.
        """
        mark = self.mark
        places = [(0, BLOCK)] if mark is None or mark.segment < head.segment else []
        if self.newest[1] and (mark is None or mark.number < self.reader.batch_number):
            places.append(self.newest)
        buffer = Buffer()
        for at, length in places:
            code = self.file.py_read_at(buffer, length, at) or self.file.py_write_at(buffer, 0, len(buffer), at)
            if code:
                raise StorageFailed(describe(OPERATION_WRITE << 32 | -code))

    def repair(self, file: str, place: int, reason: str) -> None:
        """Remember and log what is mended."""
        report(logging.WARNING, "%s/%s repaired at byte %d: %s", self.path, file, place, reason)
        self.repaired = self.repaired or (file, place, reason)

    # --- what is in it -----------------------------------------------------------------------------

    def records(self) -> Iterator[bytes]:
        """The records, read again piece by piece: the log is not held twice. Raises StorageError, WalDamaged."""
        file = self.directory.new_file()
        opened = 0
        buffer = Buffer()
        try:
            for segment, position, length in self.pieces:
                if segment != opened:
                    file.py_take(self.directory.open_file(segment_name(segment), readonly=True))
                    opened = segment
                    if file.identity() != self.walked[segment]:
                        raise WalDamaged(f"{self._file(segment)} was replaced while it was read: {UNTOUCHED}")
                code = file.py_read_at(buffer, length, position)
                if code:
                    raise OSError(-code, f"cannot read {self._file(segment)}: {os.strerror(-code)}")
                if len(buffer) < length:
                    raise WalDamaged(f"{self._file(segment)} became shorter while it was read: {UNTOUCHED}")
                yield buffer.tobytes()
        except OSError as error:
            # Whoever reads them does so when the opening is over, and knows the errors of storages alone.
            raise StorageError(f"cannot read the log in {self.path}: {error}") from error
        finally:
            file.close()
