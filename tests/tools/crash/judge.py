"""Opens what a power cut has left, and holds it against what was promised."""

from __future__ import annotations

import random
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any

from tests.helpers.implementations import module
from tests.tools.crash.runs import CLUSTER, PATH, Log, Promise, conf, data, descriptor, state
from tests.tools.crash.states import Image


class Wrong(Exception):
    """A state that breaks a promise; the text says which."""


def disk_of(impl: ModuleType, image: Image, seed: object = 0) -> Any:
    """A simulated disk that holds this, all of it durable."""
    made = module(impl, "testing.disk").SimDisk(random.Random(f"{seed}"))
    platter = module(impl, "testing.platter")
    nodes: dict[int, Any] = {0: made.platter.root}
    numbers = {number for each in image.names.values() for number in each.values()}
    for number in numbers - {0}:
        if number in image.files:
            nodes[number] = platter.Content(number, made.platter)
            # Both are written in the same way, so one copy is enough.
            nodes[number].image = nodes[number].durable = bytearray(image.files[number])
        else:
            nodes[number] = platter.Folder(number, made.platter)
    for folder, names in image.names.items():
        if folder in nodes:
            nodes[folder].names = {name: nodes[number] for name, number in names.items()}
            nodes[folder].durable = dict(nodes[folder].names)
    made.platter.made = max([0, *image.files, *image.names])
    return made


def opened(
    impl: ModuleType, disk: Any, promise: Promise, lenient: bool = False, doubtful: bool = False
) -> tuple[Any, Any, Log | None]:
    """(storage, what it loaded, which of the logs that is); the last is None where nothing is, and nothing need be.

    lenient: a sector is half written, which disks do not do: it may be refused, too, or be in doubt. doubtful: it may
    be in doubt. Raises Wrong.
    """
    storage = impl.FileStorage(PATH, disk=disk)
    try:
        loaded = storage.open(1, CLUSTER)
    except impl.NotFounded as error:
        if promise.founded:
            raise Wrong(f"a member that was founded is not there: {error}") from error
        return storage, None, None
    except impl.StorageError as error:
        if lenient and isinstance(error, impl.WalDamaged):
            return storage, None, None
        raise Wrong(f"it does not open: {type(error).__name__}: {error}") from error
    except Exception as error:
        raise Wrong(f"it breaks down: {type(error).__name__}: {error}") from error
    if disk.error is not None:
        raise disk.error
    if storage.doubt and not lenient and not doubtful:
        raise Wrong(f"it is in doubt: {storage.doubt}")
    return storage, loaded, found(impl, storage, loaded, promise)


def found(impl: ModuleType, storage: Any, loaded: Any, promise: Promise) -> Log:
    """Which of the logs was loaded. Raises Wrong."""
    base = loaded.base_index
    if base not in promise.bases or base < promise.least:
        raise Wrong(f"the log begins behind {base}, not one of {sorted(promise.bases)}, at least {promise.least}")
    if loaded.incarnation <= promise.incarnation:
        raise Wrong(f"incarnation {loaded.incarnation} was there before")
    if loaded.conf_state != conf(impl, base):
        raise Wrong(f"the membership at {base} is {loaded.conf_state}")
    entries = module(impl, "_core").EntryLog()
    if base:
        entries.py_restore(base, loaded.base_term)
    for piece in loaded.records:
        entries.py_extend(piece)
    rows = {}
    for entry in entries.entries(entries.first, entries.last):
        rows[entry.index] = (entry.term, len(entry.data))
        if bytes(entry.data) != data(entry.index, entry.term, len(entry.data)):
            raise Wrong(f"entry {entry.index} of term {entry.term} is not what was written")
    hard = loaded.hard_state
    for log in promise.logs:
        wanted = {index: row for index, row in log.rows.items() if index > base}
        if rows != wanted or (hard.term, hard.vote, hard.commit) != (log.term, log.vote, log.commit):
            continue
        if base < log.base:
            continue
        term = log.base_term if base == log.base else log.rows.get(base, (0, 0))[0]
        if loaded.base_term != term:
            raise Wrong(f"the log begins behind {base} with term {loaded.base_term}, not {term}")
        look_at_snapshots(impl, storage, loaded, log, promise)
        return log
    raise Wrong(
        f"the log is none that was written: {hard}, {base + 1}..{max(rows, default=base)}; acknowledged was "
        f"{promise.logs[0][:3]}, {promise.logs[0].base + 1}..{max(promise.logs[0].rows, default=0)}"
    )


def look_at_snapshots(impl: ModuleType, storage: Any, loaded: Any, log: Log, promise: Promise) -> None:
    """What the log relies on is there, and is what was made. Raises Wrong."""
    names = storage._disk.files(PATH)
    ends = (".new",) if promise.aside else (".new", ".damaged")
    left = [name for name in names if name.startswith("snapshot") and name.endswith(ends)]
    if left:
        raise Wrong(f"{left} is left")
    snapshot = loaded.snapshot
    newest = snapshot.index if snapshot else 0
    if newest < log.snapshot:
        raise Wrong(f"the newest snapshot is of {newest}, and one of {log.snapshot} was finished")
    if snapshot is None:
        return
    if (newest, snapshot.term) not in promise.snapshots:
        raise Wrong(f"there is a snapshot of {newest} in term {snapshot.term}, which nobody made")
    if newest != loaded.base_index and log.rows.get(newest, (0, 0))[0] != snapshot.term:
        raise Wrong(f"the snapshot of {newest} in term {snapshot.term} is not of this log")
    with storage.open_snapshot() as reader:
        if (reader.index, reader.term, reader.read()) != (newest, snapshot.term, state(newest, snapshot.term)):
            raise Wrong(f"the snapshot of {newest} is not what was made")


def go_on(impl: ModuleType, disk: Any, loaded: Any, log: Log, promise: Promise, doubtful: bool = False) -> None:
    """It works: it opens once more, entries go behind the others, over a rotation, and are there after a kill."""
    disk.kill()
    again = promise._replace(logs=(log,), founded=True, incarnation=loaded.incarnation, least=loaded.base_index)
    storage, loaded, _ = opened(impl, disk, again, doubtful=doubtful)
    hard = loaded.hard_state
    last = max([loaded.base_index, *log.rows])
    rows = dict(log.rows)
    log_of = module(impl, "_core").EntryLog
    later = impl.HardState(hard.term + 1, 3, last)
    for index in range(last + 1, last + 4):
        entries = log_of()
        if index > 1:
            entries.py_restore(index - 1, 1)
        rows[index] = (hard.term + 1, 25_000)
        entries.py_append(hard.term + 1, data(index, *rows[index]))
        storage.append(later, [bytes(entries.records(index, index))])
        storage.sync()
    disk.kill()
    now = log._replace(term=later.term, vote=3, commit=last, rows=rows, snapshot=0)
    again = again._replace(logs=(now,), incarnation=loaded.incarnation)
    storage, loaded, _ = opened(impl, disk, again)
    for index, term in sorted(promise.snapshots):
        if index > max(last, loaded.base_index):
            resume(impl, storage, index, term)
    storage.close()


def resume(impl: ModuleType, storage: Any, index: int, term: int, whole: bool = False) -> None:
    """What was received of a snapshot is no obstacle for receiving it. whole: all of it is to be there already."""
    folder = module(impl, "storage.memory_folder").MemoryFolder()
    snapshots = module(impl, "storage.snapshots")
    writer = snapshots.SnapshotWriter(folder, descriptor(impl, index, term))
    writer.write(state(index, term))
    with snapshots.SnapshotReader(folder, writer.finish().name) as source:
        receiver = storage.receive_snapshot(source.descriptor)
        if whole and receiver.missing() < source.descriptor.chunks:
            raise Wrong(f"the snapshot of {index}, which was received, is not there")
        for number in range(receiver.missing(), source.descriptor.chunks):
            receiver.put(number, source.chunk(number))
        made = receiver.finish()
    with snapshots.SnapshotReader(storage._directory, made.name) as reader:
        if reader.read() != state(index, term):
            raise Wrong(f"the snapshot of {index} that was received is not what was sent")


def folder_of(image: Image) -> dict[str, int]:
    """The names in the member's directory, with the numbers of their files."""
    folder = 0
    for part in PurePosixPath(PATH).parts[1:]:
        folder = image.names.get(folder, {}).get(part, 0)
        if not folder:
            return {}
    return image.names.get(folder, {})


def spare_of(image: Image) -> bytes | None:
    """What the file that was set aside holds."""
    number = folder_of(image).get("wal.spare")
    return None if number is None else image.files[number]


def is_lenient(image: Image, within: frozenset[int]) -> bool:
    """Whether a file of the log was torn within a sector, which its format takes for impossible."""
    names = folder_of(image)
    return any([number in within and (name == "wal.mark" or name.endswith(".log")) for name, number in names.items()])
