"""FileStorage: one node's directory: whose it is, and how long.

Reads happen at ``open`` only, in recovery.py; writing is the Wal's. Nothing is guessed: what is neither
whole nor visibly torn raises WalDamaged, because a node that forgot what it acknowledged could take
part in electing a leader that lacks it.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .._native.files import Directory
from .._native.memory import Spans
from .._native.outbox import snapshot_record
from ..config import cluster_code, cluster_id, cluster_name
from ..errors import (
    AlreadyFounded,
    ConfigError,
    NotFounded,
    StorageError,
    StorageFailed,
    UsageError,
    WalDamaged,
    WrongDirectory,
)
from ..report import report
from ..types import DEFAULT_CLUSTER, ConfState, HardState, is_id
from . import book
from . import founding as founding_file
from . import lives as lives_file
from . import skips as skips_file
from .book import Book
from .disk import Disk
from .founding import NAME as FOUNDING
from .founding import SEGMENT_BYTES, Founding, check_segment_bytes, joiner, origin_of, planned
from .in_use import Use, as_node
from .ledger import Ledger
from .lives import NAME as LIVES
from .lives import Lives, new_life, words_of
from .membership import ALONE_REMEDY, is_alone
from .paths import check_apart, check_path
from .protocol import Loaded, Met, check_append, check_base, check_owner
from .recovery import NOTHING, Recovery, left_by_a_member, make_mark, remove_begun
from .snapshot_copy import copy_snapshot, snapshot_file
from .snapshot_format import Descriptor
from .snapshot_receiver import SnapshotReceiver
from .snapshot_store import SnapshotStore
from .snapshots import SnapshotReader, SnapshotWriter, compressor
from .wal_format import (
    BATCH_IN_DOUBT,
    BLOCK,
    CLUSTER_BYTES,
    KIND_ENTRIES,
    KIND_OPEN,
    NOT_ALLOWED,
    STORE_BYTES,
    Head,
    Owner,
    describe,
    encode_head,
    failed_as,
)
from .wal_writer import Wal

#: what to do about damage, wherever it is
REMEDY = (
    "Nothing was changed. Look for what happened to the disk; then put back the files of this directory as they were "
    "when the member ran last, or rebuild the member (raftx wal rebuild). Do not start it with an older copy or an "
    "empty directory: it would have forgotten what it acknowledged, and the group could lose that"
)
NO_ROOM = ". Make room on the disk, or give it more, and start the member again; nothing is lost"
# what a disk is asked for
_DISK = (
    "exists", "make_directory", "remove_directory", "rename_directory", "copy_owner", "sync_directory",
    "open_directory", "random",
)  # fmt: skip


#: what to do where there is no member
NOT_FOUNDED = (
    "If the member was there before, look whether its disk is mounted: it must not start without what it acknowledged. "
    "If that disk is lost for good, rebuild the member (raftx wal rebuild). If the member is new, found it once with "
    "FileStorage.create"
)


class FileStorage:
    """A directory that holds one node's hard state and log, durably. It is founded once, by ``create``.

    path: the directory. segment_bytes: length of one file of the log from now on, 64 KiB..1 TiB; None: as the
    directory was founded. Up to two files more than are in use are kept on disk. accept_loss: start as if nothing
    were missing where the disk cannot tell whether the newest acknowledged entries are (the mark is gone): for a
    sole voter, or when most members are in doubt at once. Damage that shows is refused all the same.
    disk: where the directory is, the operating system's files unless something else is given (for simulations).
    snapshot_level: compress snapshots with zstandard at this level, 1..22 (the extra ``zstd``); None: as they are.
    Raises ConfigError. Everything else happens in ``open``.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        segment_bytes: int | None = None,
        accept_loss: bool = False,
        snapshot_level: int | None = None,
        disk: Disk | None = None,
    ) -> None:
        self.path = Path(check_path(path, "path", "a directory", ConfigError))
        if segment_bytes is not None:
            check_segment_bytes(segment_bytes)
        if not isinstance(accept_loss, bool):
            raise ConfigError(f"accept_loss must be True or False, not {accept_loss!r}")
        self._segment_bytes = segment_bytes
        self._accept_loss = accept_loss
        if snapshot_level is not None:
            if not is_id(snapshot_level) or snapshot_level > 22:
                raise ConfigError(f"snapshot_level must be None or an integer in 1..22, not {snapshot_level!r}")
            try:
                compressor(snapshot_level)
            except UsageError as error:
                raise ConfigError(f"snapshot_level must be None here: {error}") from error
        self._snapshot_level = snapshot_level
        #: its snapshots; None while closed
        self._store: SnapshotStore | None = None
        missing = [name for name in _DISK if disk is not None and not callable(getattr(disk, name, None))]
        if missing or isinstance(disk, type):
            raise ConfigError(f"disk must be None or have the methods of raftx.storage.disk.Disk, not {disk!r}")
        self._disk = Disk() if disk is None else disk
        self._directory: Directory | None = None
        #: whether a node has it: its owner may change nothing then
        self._use = Use()
        self._state = HardState()
        #: the last entry that was taken, on disk or not
        self._last = 0
        self._spans = Spans()
        #: the writing end; None while closed
        self.wal: Wal | None = None
        #: what it knows of lives; None while closed
        self.ledger: Ledger | None = None
        #: a header for what was found when this was opened, and the newest base that was asked for
        self._head: Head | None = None
        self._base = self._base_term = 0
        #: behind which the log begins anew with the next ``sync``; 0: it does not
        self._behind = 0
        #: of compactions, which any thread may ask for
        self._lock = threading.Lock()
        #: what the last ``open`` mended first: (file, place, reason), or None
        self.repaired: tuple[str, int, str] | None = None
        #: the cluster that it was founded for, once this object has founded or opened it
        self.cluster: bytes | None = None
        #: whether the directory says anything of addresses
        self._tells = False
        #: why the last ``open`` started this member in doubt (HardState.in_doubt); "" when it did not
        self.doubt = ""

    def __repr__(self) -> str:
        wal, head = self.wal, self._head
        if wal is None or head is None:
            return f"<raftx.FileStorage {str(self.path)!r}, closed>"
        state = f"open, base {self._base}, last {wal.last_index}"
        return f"<raftx.FileStorage {str(self.path)!r} of node {head.id}, {state}>"

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        *,
        id: int,
        members: Mapping[int, str] | Iterable[int] | None = None,
        learners: Mapping[int, str] | Iterable[int] = (),
        join: Iterable[str] | None = None,
        cluster: bytes | str = DEFAULT_CLUSTER,
        segment_bytes: int = SEGMENT_BYTES,
        accept_loss: bool = False,
        snapshot_level: int | None = None,
        disk: Disk | None = None,
    ) -> FileStorage:
        """Found member ``id`` in a directory that holds none, and return its storage, not opened.

        members: the first voters of a new cluster, the same for each of them: ids, or their addresses by id. learners:
        likewise. join, in place of both: addresses of some members of a cluster that is there, for the record. The new
        one waits until it is added on one of them (``Node.add_voter``, ``Node.add_learner``); whoever leads then
        contacts it, and it learns everything from there.
        cluster: as Config.cluster, text or up to 16 bytes. The rest is as for ``FileStorage``; segment_bytes is kept.
        The directory is made (mode 0700) if it does not exist. What a founding has left that did not end is no
        obstacle.

        Raises AlreadyFounded when the directory holds a member, ConfigError, WrongDirectory when it is in use,
        StorageError. A founded member must not be founded again: it would have forgotten what it acknowledged. So call
        this when a machine is set up, and never because a directory looks empty.
        """
        storage = cls(
            path,
            segment_bytes=segment_bytes,
            accept_loss=accept_loss,
            snapshot_level=snapshot_level,
            disk=disk,
        )
        check_apart(storage.path, "path", ConfigError)
        store = storage._disk.random(STORE_BYTES)
        if (members is None) == (join is None) or (join is not None and learners):
            raise ConfigError("give members (and learners), to begin a new cluster, or join, to be added to one")
        name = cluster_id(cluster)
        if join is not None:
            storage._found(joiner(store, id, join, name, segment_bytes))
        else:
            storage._found(planned(store, id, members or (), learners, name, segment_bytes))
        return storage

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        file: str | os.PathLike[str],
        *,
        id: int,
        members: Mapping[int, str] | Iterable[int],
        learners: Mapping[int, str] | Iterable[int] = (),
        cluster: bytes | str | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        snapshot_level: int | None = None,
        disk: Disk | None = None,
    ) -> FileStorage:
        """Found member ``id`` of a new cluster that begins with the state in a snapshot ``file``; as ``create``.

        The file is one of ``Node.backup``, or of a node's directory; it is verified first. Every member of the new
        cluster begins with the same file, members, learners and cluster. cluster: as Config.cluster; None: drawn at
        random, and in ``cluster`` of what is returned, for Config.cluster and for the other members. Members of the
        cluster that the file is from do not take part: its name has to be another one.

        Raises what ``create`` raises; SnapshotDamaged; StorageError for a compressed file without the extra zstd, too.
        """
        storage = cls(path, segment_bytes=segment_bytes, snapshot_level=snapshot_level, disk=disk)
        check_apart(storage.path, "path", ConfigError)
        store = storage._disk.random(STORE_BYTES)
        new = storage._disk.random(CLUSTER_BYTES) if cluster is None else cluster_id(cluster)
        founding = planned(store, id, members, learners, new, segment_bytes)
        with snapshot_file(file, "file") as reader:
            found = reader.verify()
        if found.cluster == new:
            raise ConfigError(
                f"cluster must be another one than that of the snapshot, {cluster_name(found.cluster)!r}: its members "
                "would take part in the new one with what they have"
            )
        conf_state, addresses = founding.conf_state, founding.addresses
        made = replace(found, cluster=new, conf_state=conf_state, addresses=addresses, joined={})
        founding = replace(
            founding, base=found.index, base_term=found.term, restored=True,
            origin=origin_of(conf_state, found.cluster, found.index, found.term),
        )  # fmt: skip
        storage._found(founding, lambda directory: copy_snapshot(file, directory, made, snapshot_level))
        return storage

    def _found(
        self,
        founding: Founding,
        fill: Callable[[Directory], object] | None = None,
        met: Mapping[int, Met] | None = None,
    ) -> None:
        """Found the directory. fill: brings what it is founded with, which counts once it is founded. met: others."""
        directory = None
        try:
            self._make_directory()
            directory = self._disk.open_directory(Path(os.path.abspath(self.path)))
            names = directory.names()
            if FOUNDING in names:
                raise AlreadyFounded(f"{self.path} holds a member already: open it with FileStorage(path)")
            if left := left_by_a_member(directory):
                raise AlreadyFounded(f"{self.path} holds {left} of a member, and not the file {FOUNDING}. {REMEDY}")
            remove_begun(directory, names)
            # From here on the mark says that nothing was written: what is in the directory is of this founding.
            make_mark(directory, NOTHING, Owner(founding.cluster, founding.id, founding.store))
            if fill is not None:
                fill(directory)
            lives_file.make(directory, Lives(founding.store, count=founding.opened, met=met or {}))
            founding_file.write(directory, founding)
            self.cluster = founding.cluster
        except OSError as error:
            raise StorageError(f"cannot found a member in {self.path}: {error}") from error
        except StorageError as error:
            raise self._named(error) from error.__cause__
        finally:
            if directory is not None:
                directory.close()

    def founders(self) -> tuple[ConfState, Mapping[int, str]] | None:
        """The first members, and their addresses as far as it was founded with some; None once a node has opened it.

        Also None where that cannot be read, which ``open`` then explains. Nothing is changed.
        """
        if type(self._disk) is not Disk or self._directory is not None:
            return None
        try:
            directory = Directory(Path(os.path.abspath(self.path)), locked=False)
        except OSError:
            return None
        try:
            founding = founding_file.read(directory)
            if founding is None or founding.joining or founding.base or founding.rebuilt:
                return None
            if lives_file.read(directory, founding.store).count > founding.opened:
                return None
            return founding.conf_state, founding.addresses
        except (OSError, StorageError):
            return None
        finally:
            directory.close()

    # --- the protocol of storages ----------------------------------------------------------------

    def open(self, id: int, cluster: bytes) -> Loaded:
        """Lock, check, repair a torn tail, sync, and begin a new incarnation. See Storage.open.

        Raises NotFounded (it holds no member), WrongDirectory (in use, or another node's or cluster's), WalDamaged,
        MemoryLost, StorageFailed, StorageError, UsageError (no id, or no cluster).
        """
        check_owner(id, cluster)
        if self._directory is not None:
            raise WrongDirectory(f"{self.path} is open already")
        self.repaired = None
        self.doubt = ""
        try:
            path = Path(os.path.abspath(self.path))
            if not self._disk.exists(path):
                raise NotFounded(f"{self.path} does not exist. {NOT_FOUNDED}")
            # Its name, should it have been moved here since it was founded.
            self._sync_level(path.parent)
            if type(self._disk) is Disk and not path.is_dir():
                raise StorageError(f"{self.path} is no directory: give the directory of the member")
            if type(self._disk) is Disk and not os.access(path, os.W_OK | os.X_OK):
                raise StorageError(f"{self.path} cannot be written by this process. {NOT_ALLOWED}")
            self._directory = self._disk.open_directory(path)
            loaded = self._open(self._directory, id, cluster)
            self._use.begin()
            return loaded
        except OSError as error:
            self.close()
            raise StorageError(f"cannot open {self.path}: {error}") from error
        except StorageError as error:
            self.close()
            raise self._named(error) from error.__cause__
        except BaseException:
            self.close()
            raise

    def _named(self, error: StorageError) -> StorageError:
        """An error of a version says where that is, too: what reads the bytes does not know it. Others do already."""
        named = str(error).startswith(str(self.path))
        return StorageError(f"{self.path}: {error}") if type(error) is StorageError and not named else error

    def append(self, hard_state: HardState, records: Sequence[bytes | memoryview]) -> None:
        """Take the hard state and then the records; written by the next ``sync``.

        Raises UsageError, and takes nothing, while a node uses it, and for what could not be opened again: records that
        are not whole, an index that leaves a gap, a term that goes back, a commit index that is not in the log.
        """
        self._use.check("append")
        if self.wal is None:
            raise StorageError(f"{self.path} is closed")
        pieces = [bytes(piece) for piece in records]
        self._last = check_append(self._state, self._last, hard_state, pieces, self._least(self.wal))
        self._state = hard_state
        for piece in pieces:
            self._spans.py_push(piece)

    def sync(self) -> None:
        """Write what was appended, as one batch, and return when it is durable.

        Raises StorageFailed; UsageError while a node uses it.
        """
        self._use.check("sync")
        if self.wal is None:
            raise StorageError(f"{self.path} is closed")
        state = self._state
        flags = BATCH_IN_DOUBT if state.in_doubt else 0
        code = self.wal.py_write(KIND_ENTRIES, state.term, state.vote, state.commit, self._spans, flags)
        self._spans.py_clear()
        if code:
            raise StorageFailed(f"{self.path}: {failed_as(code)}")
        if self._behind and self._store is not None:
            self._behind = 0
            self._store.settle()

    def compact(self, index: int, term: int, conf_state: ConfState) -> None:
        """Entries up to ``index`` are not needed any more. See Storage.compact; any thread.

        The header of the next segment says so, and then the segments that have no entry behind ``index`` are removed.
        Until that header is written an opening finds the base of before. Raises StorageError when it is closed;
        UsageError for an index above the last one on disk, no index or term at all, 1..2^63-1, a term below that of the
        base before, or no membership with voters, and while a node uses it: ``Node.compact`` asks the node.
        """
        self._use.check("compact")
        with self._lock:
            wal, head = self.wal, self._head
            if wal is None or head is None:
                raise StorageError(f"{self.path} is closed")
            check_base(index, term, conf_state, wal.last_index)
            if index <= max(self._base, wal.base):
                return
            if term < self._base_term:
                raise UsageError(f"term must be at least {self._base_term}, that of entry {self._base}, not {term}")
            if wal.py_compact(index, encode_head(head._replace(base=index, base_term=term, conf_state=conf_state))):
                self._base, self._base_term = index, term

    def begin_behind(self, index: int, term: int, conf_state: ConfState) -> None:
        """The log begins anew behind a snapshot that was received: durable with the next ``sync``. See protocol.py.

        Raises StorageError when it is closed; UsageError without that snapshot, for one before the base or the commit
        index, and while a node uses it.
        """
        self._use.check("begin_behind")
        store, wal = self._store, self.wal
        if store is None or wal is None:
            raise StorageError(f"{self.path} is closed")
        snapshot = store.check_behind(index, term, conf_state).snapshot()
        least = max(self._least(wal), self._state.commit)
        if index < least:
            raise UsageError(f"index must be at least {least}, what the log is known to have, not {index}")
        self._spans.py_push(snapshot_record(snapshot))
        self._last = self._behind = index

    def keep_addresses(self, index: int, addresses: Mapping[int, str], joined: Mapping[int, int]) -> None:
        """What the entries up to ``index`` say of the members, before they are forgotten. See protocol.py.

        Raises StorageError when it is closed, and when it cannot be kept; UsageError while a node uses it.
        """
        self._use.check("keep_addresses")
        directory, head = self._directory, self._head
        if directory is None or head is None:
            raise StorageError(f"{self.path} is closed")
        if not addresses and not joined and not self._tells:
            return  # as without the file
        try:
            self._tells = True
            book.write(directory, head.store, Book(index, dict(addresses), dict(joined)))
        except OSError as error:
            raise StorageError(f"{self.path}: {error}") from error

    def remember(self, id: int, met: Met) -> bool:
        """Another member was met: durable when it returns True. See protocol.py.

        Raises StorageError when it is closed, StorageFailed; UsageError while a node uses it.
        """
        self._use.check("remember")
        ledger = self._open_ledger()
        ledger.py_put(id, met.life, *words_of(met.store), met.joined)
        return self._write_ledger(ledger)

    def forgotten(self, life: int) -> None:
        """Others have met this life of its member, which began elsewhere. See protocol.py.

        Raises StorageError when it is closed, StorageFailed; UsageError while a node uses it.
        """
        self._use.check("forgotten")
        ledger = self._open_ledger()
        ledger.lost = life
        self._write_ledger(ledger)

    def _open_ledger(self) -> Ledger:
        if self.ledger is None:
            raise StorageError(f"{self.path} is closed")
        return self.ledger

    def _write_ledger(self, ledger: Ledger) -> bool:
        try:
            lives_file.check_written(ledger.py_write_both())
        except OSError as error:
            raise StorageFailed(f"{self.path}: {error}") from error
        return True

    def begin_snapshot(self, descriptor: Descriptor) -> SnapshotWriter:
        """A snapshot that is to be written and finished. See protocol.py; any thread, one at a time.

        When it is finished, the newest two stay, and the log begins behind the older one of them. Raises UsageError
        while a node uses it: ``Node.snapshot`` asks the node.
        """
        self._use.check("begin_snapshot")
        store, wal = self._store, self.wal
        if store is None or wal is None:
            raise StorageError(f"{self.path} is closed")
        return store.begin(descriptor, wal.last_index, as_node(self.compact))

    def open_snapshot(self, index: int = 0) -> SnapshotReader:
        """The snapshot of that entry, to be read; 0: the newest. The newest two are there.

        One that was received counts from when the log begins behind it. Raises StorageError, SnapshotDamaged;
        UsageError when there is none.
        """
        if self._store is None:
            raise StorageError(f"{self.path} is closed")
        return self._store.open(index)

    def receive_snapshot(self, descriptor: Descriptor) -> SnapshotReceiver:
        """A snapshot of another member, to be taken chunk by chunk. See protocol.py; any thread, one at a time.

        What an earlier life received of the same is there already. Raises UsageError while a node uses it.
        """
        self._use.check("receive_snapshot")
        if self._store is None:
            raise StorageError(f"{self.path} is closed")
        return self._store.receive(descriptor)

    def space(self) -> tuple[int, int] | None:
        """Bytes that the directory takes on disk, and that are free there; None where it cannot be told. Any thread."""
        return self._disk.space(Path(os.path.abspath(self.path)))

    def _least(self, wal: Wal) -> int:
        """Where the log begins, as far as anybody has said so."""
        return max(self._base, self._behind, wal.base)

    def close(self) -> None:
        """Sync the mark, release files and lock. May be called twice. Raises UsageError while a node uses it."""
        self._use.check("close")
        self._use.end()
        wal, self.wal = self.wal, None
        self._store = None
        ledger, self.ledger = self.ledger, None
        if ledger is not None:
            ledger.close()
        directory, self._directory = self._directory, None
        if wal is not None:
            # A forked child has no directory any more, and writes nothing.
            if directory is not None and directory.is_open() and wal.failed == 0 and wal.py_settle():
                report(logging.WARNING, "%s: %s", self.path, describe(wal.failed))
            wal.file.close()
            wal.mark.close()
            wal.reserve.close()
        if directory is not None:
            directory.close()
        self._spans.py_clear()

    # --- opening ---------------------------------------------------------------------------------

    def _make_directory(self) -> None:
        """Make the directory and what leads to it; each name is durable in its parent before there is more in it."""
        disk = self._disk
        path = Path(os.path.abspath(self.path))
        missing = [level for level in (path, *path.parents) if not disk.exists(level)]
        for level in reversed(missing):
            disk.make_directory(level, 0o700 if level == path else 0o777)
            try:
                disk.sync_directory(level.parent)
            except BaseException:
                # So that the next start tries again, instead of finding a directory.
                with contextlib.suppress(OSError):
                    disk.remove_directory(level)
                raise
        # The directory's own name, and those above it, which another founding may have made.
        for parent in path.parents:
            self._sync_level(parent)

    def _sync_level(self, level: Path) -> None:
        """Make what is in a directory durable. One that may not be read or synced here was not made here either."""
        try:
            self._disk.sync_directory(level)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EROFS):
                raise

    def _open(self, directory: Directory, id: int, cluster: bytes) -> Loaded:
        try:
            founding = founding_file.read(directory)
        except WalDamaged as error:
            raise WalDamaged(f"{self.path}: {error}. {REMEDY}") from error
        if founding is None:
            if left := left_by_a_member(directory):
                raise WalDamaged(f"{self.path} holds {left} of a member, and not the file {FOUNDING}. {REMEDY}")
            raise NotFounded(f"{self.path} holds no member. {NOT_FOUNDED}")
        if founding.cluster != cluster:
            raise WrongDirectory(
                f"{self.path} belongs to another cluster, {cluster_name(founding.cluster)!r}, not to "
                f"{cluster_name(cluster)!r}: give Config(cluster={cluster_code(founding.cluster)}), or the directory "
                "of the other one"
            )
        if founding.id != id:
            raise WrongDirectory(f"{self.path} belongs to node {founding.id}, not {id}")
        try:
            lives = lives_file.read(directory, founding.store)
        except WalDamaged as error:
            raise WalDamaged(f"{self.path}: {error}. {REMEDY}") from error
        if not founding.rebuilt:
            lives_file.check(lives.lost, str(self.path), id)
        try:
            skips = skips_file.read(directory, founding.store)
        except WalDamaged as error:
            raise WalDamaged(f"{self.path}: {error}") from error
        recovery = Recovery(directory, founding, (self._segment_bytes or founding.segment_bytes) // BLOCK * BLOCK)
        try:
            try:
                recovery.examine()
            except WalDamaged as error:
                raise WalDamaged(f"{error}. {REMEDY}") from error.__cause__
            self.doubt = self._doubt_of(recovery, id)
            if lives_file.is_behind(lives, founding.rebuilt, bool(self.doubt)):
                lives = lives_file.above(lives)
            lives_file.check(lives.lost, str(self.path), id)
            store = SnapshotStore(str(self.path), directory, cluster, self._snapshot_level)
            store.find(recovery.base, recovery.reader.last_index, recovery.term_at, recovery.needs_snapshot())
            recovery.lived = lives.count
            wal = recovery.mend()
            if lives.unread >= 0:
                recovery.repair(LIVES, lives.unread, lives_file.UNREAD)
            base = recovery.base  # alone: what was examined is not to be kept
            store.follow(lambda: max(base, wal.restored))
            self.repaired = recovery.repaired
            reader = recovery.reader
            self._state = HardState(reader.term, reader.vote, reader.commit, bool(self.doubt))
            flags = BATCH_IN_DOUBT if self.doubt else 0
            code = wal.py_write(KIND_OPEN, reader.term, reader.vote, reader.commit, self._spans, flags)
            if code:
                text = failed_as(code) + (NO_ROOM if wal.reserve.py_is_full(code) else "")
                raise StorageFailed(f"{self.path}: {text}")
            recovery.begin_marking(wal)
            # Before anybody hears of this life: no later one has its number, whatever becomes of the end of the log.
            self.ledger = ledger = lives.ledger(directory.open_file(LIVES))
            ledger.py_begin(wal.incarnation)
            lives_file.check_written(ledger.py_write_both())
        except BaseException:
            recovery.close()
            raise
        self.wal = wal
        self.cluster = cluster
        self._store = store
        self._head = recovery.head
        self._base, self._base_term = recovery.base, recovery.base_term
        self._last = wal.last_index
        self._behind = 0
        newest = store.newest()
        if skips != (needed := skips_file.needed(skips, self._base)):
            with contextlib.suppress(OSError):  # the next opening does it
                skips_file.write(directory, founding.store, needed)
        addresses, joined = self._addresses(directory, founding, recovery.base)
        self._tells = bool(addresses or joined or founding.addresses)
        return Loaded(
            self._state,
            recovery.conf_state,
            wal.incarnation,
            recovery.records(),
            base_index=recovery.base,
            base_term=recovery.base_term,
            current_conf_state=recovery.current,
            snapshot=newest.snapshot() if newest else None,
            life=new_life(wal.incarnation, self._disk.random(4)),
            store=founding.store,
            rebuilt=founding.rebuilt,
            met=lives.met,
            skips=needed,
            addresses=addresses,
            joined=joined,
            founded=founding.addresses,
            joining=founding.joining,
            origin=founding.origin,
            origin_index=founding.base,
        )

    def _addresses(
        self, directory: Directory, founding: Founding, base: int
    ) -> tuple[Mapping[int, str], Mapping[int, int]]:
        """What is known of the members at the base, beside the snapshots. Raises WalDamaged."""
        try:
            kept = book.read(directory, founding.store)
        except WalDamaged as error:
            raise WalDamaged(f"{self.path}: {error}. {REMEDY}") from error
        if kept is not None and kept.index >= base:
            return kept.addresses, kept.joined
        return {} if founding.joining else founding.addresses, {}

    def _doubt_of(self, recovery: Recovery, id: int) -> str:
        """Why this member starts in doubt, or "". Raises WalDamaged where nobody else could help it out."""
        doubt = recovery.doubt
        if not doubt and recovery.reader.in_doubt:
            doubt = "it was in doubt before, and no leader has brought it up to date since"
        if not doubt:
            return ""
        text = f"{self.path}: {doubt}: something that was acknowledged may be missing at the end of the log"
        if self._accept_loss:
            report(logging.WARNING, "%s; it is used as it is, because accept_loss is set", text)
            return ""
        if is_alone(recovery.current, id):
            raise WalDamaged(f"{text}. {ALONE_REMEDY}")
        if recovery.founding.joining and recovery.reader.last_index == 0:
            return doubt  # it has nothing that could be missing
        report(
            logging.WARNING,
            "%s; this member starts in doubt: it does not vote before a leader has brought it up to date",
            text,
        )
        return doubt
