"""The file ``lives`` of a directory: how it is founded and read. What is written into it is ledger.py's."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .._native.files import Directory, File
from .._native.memory import Buffer
from ..errors import MemoryLost, Removed, WalDamaged, WrongDirectory
from .ledger import Ledger
from .protocol import Met
from .wal_format import (
    COUNT_SHIFT,
    EARLIER,
    LIVES_MAGIC,
    LIVES_VERSION,
    OTHER_STORE,
    REMOVED,
    REMOVED_LIFE,
    SLOT_BYTES,
    SLOT_CHECKED_FROM,
    SLOT_HEADER,
    SLOT_ROW,
    SLOTS,
    STORE_BYTES,
    TWIN,
)
from .whole import write_whole

NAME = "lives"
NEW = "lives.new"  # one that is being made, before it has its name
# magic, version, crc, which write this is, lives, the life that was met and is not known here, members, store
_HEAD = struct.Struct(f"<8sIIQQQQ{STORE_BYTES}s")
_ROW = struct.Struct(f"<QQ{STORE_BYTES}sQ")
_WORDS = struct.Struct("<QQ")

#: what is said of a slot that was written and cannot be read, and that the next opening writes again
UNREAD = "one of its two slots cannot be read: it is damaged, or a write did not end; the other one serves"
#: what is said of a member that was rebuilt and is in doubt, whom others have met in a later life
BEHIND = "others have met life {lost} of it: its lives are counted on above that"
#: what is wrong with a storage whose member has forgotten something, and what to do about it
GONE = "member {id} has lost its memory: others have met life {lost} of it, which is not known here"
GONE_REMEDY = (
    "Was it copied, set back to an older state, or founded a second time? It must not take part with what it has. Put "
    "back the directory that the member used last, or rebuild the member (raftx wal rebuild). Was it founded to take "
    "the place of a lost member, and started before that was removed? Delete it, found it again (raftx join), and "
    "start it after raftx replace"
)
#: why a life cannot be the present one: what is said of another member, and what a member is told of its own
EARLIER_LIFE = "which is not over for all they know: this storage was set back to an older state, or copied"
WHY = {
    OTHER_STORE: "on another storage: this one was founded anew, though the member was there before",
    EARLIER: f"{EARLIER_LIFE}; or that is over, and what it said then comes late",
    TWIN: "which has the same number: this storage was set back by a life, or copied",
    REMOVED: "which was removed from the cluster: this is its storage still",
}
OWN_WHY = {**WHY, EARLIER: EARLIER_LIFE}


@dataclass(frozen=True)
class Lives:
    """What the file says."""

    #: whose it is: as in the file ``founding``
    store: bytes
    #: which write it is
    number: int = 0
    #: how often the member has lived
    count: int = 0
    #: a life of this member that others have met, and that began elsewhere; 0: there is none
    lost: int = 0
    met: Mapping[int, Met] = field(default_factory=dict)
    #: where a slot begins that was written and cannot be read; -1: there is none
    unread: int = -1

    def ledger(self, file: File | None) -> Ledger:
        """The same, to be written on into ``file``; None: nowhere."""
        ledger = Ledger(file, *words_of(self.store), self.number, self.count, self.lost)
        for id, each in self.met.items():
            ledger.py_put(id, each.life, *words_of(each.store), each.joined)
        return ledger


def words_of(store: bytes) -> tuple[int, int]:
    """A store's name as two words; those of zeros where a storage does not say."""
    first, second = _WORDS.unpack(store.ljust(STORE_BYTES, b"\0")[:STORE_BYTES])
    return first, second


def decode(slot: bytes) -> Lives | None:
    """What a slot says; None where it is not whole."""
    if len(slot) < SLOT_HEADER or not slot.startswith(LIVES_MAGIC):
        return None
    _, version, crc, number, count, lost, rows, whose = _HEAD.unpack_from(slot)
    end = SLOT_HEADER + rows * SLOT_ROW
    if version != LIVES_VERSION or end > len(slot) or crc != zlib.crc32(slot[SLOT_CHECKED_FROM:end]):
        return None
    met = {id: Met(life, on, joined) for id, life, on, joined in _ROW.iter_unpack(slot[SLOT_HEADER:end])}
    return Lives(whose, number, count, lost, met)


def make(directory: Directory, lives: Lives) -> None:
    """Found a directory with this memory. Raises OSError."""
    slot = lives.ledger(None).py_slot()
    code = write_whole(directory, NAME, NEW, (slot.ljust(SLOT_BYTES, b"\0")).ljust(SLOTS * SLOT_BYTES, b"\0"))
    if code:
        raise OSError(-code, f"cannot write the file {NAME}: {os.strerror(-code)}")


def read(directory: Directory, store: bytes) -> Lives:
    """What the directory of that store remembers, by the newest slot that is whole.

    Raises WalDamaged where none is, WrongDirectory, OSError.
    """
    if NAME not in directory.names():
        raise WalDamaged(f"the file {NAME} is missing")
    file = directory.open_file(NAME, readonly=True)
    try:
        buffer = Buffer()
        slots = []
        for slot in range(SLOTS):
            code = file.py_read_at(buffer, SLOT_BYTES, slot * SLOT_BYTES)
            if code:
                raise OSError(-code, f"cannot read the file {NAME}: {os.strerror(-code)}")
            slots.append(buffer.tobytes())
    finally:
        file.close()
    found = [decode(each) for each in slots]
    # A slot holds every other write: what is in the wrong one is none of it.
    whole = [each for slot, each in enumerate(found) if each is not None and each.number % SLOTS == slot]
    if not whole:
        raise WalDamaged(f"the file {NAME} is damaged")
    if any(each.store != store for each in whole):
        raise WrongDirectory(f"{os.fsdecode(directory.path)}/{NAME} is not of this directory")
    newest = max(whole, key=lambda each: each.number)
    if len(whole) == SLOTS:
        return newest
    other = (newest.number + 1) % SLOTS
    # The founding has written one slot, and zeros.
    untouched = newest.number == 0 and slots[other] == bytes(SLOT_BYTES)
    return newest if untouched else replace(newest, unread=other * SLOT_BYTES)


def check(lost: int, where: str, id: int) -> None:
    """Raise MemoryLost for a storage of which others have said that it has forgotten something: this life.

    Raises Removed where its member was removed from the cluster.
    """
    if lost == REMOVED_LIFE:
        raise Removed(f"{where}: {removed(id)}")
    if lost:
        raise MemoryLost(f"{where}: {GONE.format(id=id, lost=named(lost))}. {GONE_REMEDY}")


def removed(id: int) -> str:
    """What a member that was removed is told."""
    return (
        f"member {id} was removed from its cluster: it takes part no more, and its directory can be deleted. If it is "
        "to come back, found it anew in an empty directory (FileStorage.create with join) and add it"
    )


def is_behind(lives: Lives, rebuilt: bool, in_doubt: bool) -> bool:
    """Whether the member goes on above a life that others have met, instead of not at all: see ``above``."""
    return bool(lives.lost) and lives.lost != REMOVED_LIFE and rebuilt and in_doubt


def above(lives: Lives) -> Lives:
    """The same, counted on from the life that others have met: for a member that was rebuilt and is in doubt.

    Such a member holds nothing that it could rely on, and knows it: only its number was too low (a rebuild of a
    directory that is gone cannot know how often the member has lived). As any other, its next life has to be met.
    """
    return replace(lives, count=max(lives.count, lives.lost >> COUNT_SHIFT), lost=0)


def check_written(code: int) -> None:
    """Raise OSError for what ``Ledger.py_write`` says."""
    if code:
        raise OSError(-code, f"cannot write the file {NAME}: {os.strerror(-code)}")


def named(life: int) -> str:
    """A life for people: which it is, and what tells it from another one of that number."""
    return f"{life >> COUNT_SHIFT} ({life & 0xFFFFFFFF:08x})"


def new_life(count: int, random: bytes) -> int:
    """The number of the life that begins: the ``count``-th, with four random bytes."""
    return count << COUNT_SHIFT | int.from_bytes(random[:4], "little")
