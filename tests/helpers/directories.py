"""Directories of members with logs and snapshots, and what is in them byte by byte. Not a test."""

from tests.helpers.implementations import module
from tests.helpers.wal import CLUSTER, SMALL, records, segment

URLS = {1: "tcp://127.0.0.1:5601", 2: "tcp://127.0.0.1:5602", 3: "tcp://127.0.0.1:5603"}


def descriptor(impl, index, term=1, cluster=CLUSTER, voters=(1, 2, 3), version=2):
    """What a snapshot after an entry is of."""
    made = module(impl, "storage.snapshot_format").Descriptor
    return made(index, term, impl.ConfState(voters=voters), URLS, cluster, incarnation=1, version=version)


def state(index):
    """The state after an entry."""
    return b"".join(b"entry %d\n" % each for each in range(1, index + 1))


def member(impl, path, entries=40, size=3000, snapshots=(), members=URLS, id=1, **settings):
    """A directory of a member that has written so many entries, a batch each, and these snapshots. It is closed."""
    settings = {"segment_bytes": SMALL, "cluster": CLUSTER, **settings}
    storage = impl.FileStorage.create(path, id=id, members=members, **settings)
    storage.open(id, CLUSTER)
    for index in range(1, entries + 1):
        storage.append(impl.HardState(1, id, index - 1), [records(impl, index, [(1, b"%d." % index + b"x" * size)])])
        storage.sync()
        if index in snapshots:
            save(impl, storage, index)
    storage.close()
    return path


def save(impl, storage, index, term=1):
    """A snapshot after an entry."""
    writer = storage.begin_snapshot(descriptor(impl, index, term))
    writer.write(state(index))
    return writer.finish()


def picture(path):
    """Everything of a directory that a look must not change: names, bytes, times, modes."""
    found = {}
    for each in [path, *sorted(path.rglob("*"))]:
        status = each.stat()
        data = each.read_bytes() if each.is_file() else b""
        found[each.relative_to(path).as_posix()] = (data, status.st_mtime_ns, status.st_ctime_ns, status.st_mode)
    return found


def contents_behind(impl, loaded):
    """The entries, wherever the log begins."""
    entries = {}
    for piece in loaded.records:
        for entry in impl.Entry.decode_all(bytes(piece)):
            entries = {index: each for index, each in entries.items() if index < entry.index}
            entries[entry.index] = (entry.index, entry.term, entry.data)
    return list(entries.values())


def damage(path, at=4096 + 40):
    """A bit of the first batch is turned over."""
    data = bytearray(segment(path).read_bytes())
    data[at] ^= 1
    segment(path).write_bytes(data)


def asides(path):
    """What lies beside a directory."""
    return sorted(each.name for each in path.parent.iterdir() if each.name != path.name)


def recover(impl, path, **settings):
    """Make the log of a survivor that of a new cluster."""
    return module(impl, "storage.recover").recover(path, **settings)
