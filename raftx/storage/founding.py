"""What a directory was founded as: whose it is, with whom, and an identity that no other directory has.

The file is written once, as the last step of a founding, and its name appears in one step: a directory that has it was
founded, another one was not. Every byte is described in docs/wal-format.md.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .._native.files import Directory
from ..errors import ConfChangeError, ConfigError, StorageError, UsageError, WalDamaged
from ..types import MEMBERS_MAX, ConfState, is_id
from .paths import FOUNDING, MAGIC
from .protocol import first_membership
from .snapshot_format import URL_MAX, check_address, decode_members, encode_members
from .wal_format import BLOCK, CLUSTER_BYTES, STORE_BYTES
from .whole import read_whole, write_whole

NAME = FOUNDING
NEW = "founding.new"  # one that is being made, before it has its name
VERSION = 3
FLAG_REBUILT = 1
FLAG_IN_DOUBT = 2
FLAG_RESTORED = 4
FLAG_JOINING = 8
FLAGS = FLAG_REBUILT | FLAG_IN_DOUBT | FLAG_RESTORED | FLAG_JOINING
SEGMENT_BYTES = 16 << 20  # unless somebody says another number. A member has two from the start: one, and the next
SEGMENT_BYTES_MIN = 64 << 10
SEGMENT_BYTES_MAX = 1 << 40
SIZE_MAX = 1 << 17  # bytes: room for all addresses that there can be
_HEAD = struct.Struct("<8sIIII")  # magic, version, crc of all behind it, bytes used, version again
_CRC_FROM = 16
# cluster, store, id, segment_bytes; flags, origin, how often it was opened before, base, its term
_FIXED = struct.Struct(f"<{CLUSTER_BYTES}s{STORE_BYTES}sQQIIQQQ")
_ORIGIN = struct.Struct(f"<{CLUSTER_BYTES}sQQ")  # cluster, index, term
_MEMBERS_AT = _HEAD.size + _FIXED.size


@dataclass(frozen=True)
class Founding:
    """What a directory was founded as. It never changes."""

    cluster: bytes
    #: drawn when the directory was founded: no other one has it
    store: bytes
    id: int
    segment_bytes: int
    #: the first membership, and how each of its members was reached, as far as that was said
    conf_state: ConfState
    addresses: Mapping[int, str]
    #: its member has another directory behind it, and what that one held is not in here
    rebuilt: bool = False
    #: it begins in doubt (HardState.in_doubt): its member may have promised what is not in here
    in_doubt: bool = False
    #: how often its member has opened a storage before, as far as that is known: its incarnations begin above
    opened: int = 0
    #: the log begins behind this entry, which has this term; 0 and 0: with its first entry
    base: int = 0
    base_term: int = 0
    #: a snapshot of that entry, or of a later one, was there before the directory was founded
    restored: bool = False
    #: it is to be added to a cluster that is there: it has no membership, and ``addresses`` are those of some members,
    #: by numbers from 1 on that are nobody's id
    joining: bool = False
    #: tells whether two first members of a cluster were founded alike, see ``origin_of``; 0: this is no word on it
    origin: int = 0

    def encode(self) -> bytes:
        """The bytes of the file."""
        data = bytearray(_MEMBERS_AT) + encode_members(self.conf_state, self.addresses, {})
        flags = FLAG_REBUILT * self.rebuilt | FLAG_IN_DOUBT * self.in_doubt | FLAG_RESTORED * self.restored
        flags |= FLAG_JOINING * self.joining
        _FIXED.pack_into(
            data, _HEAD.size, self.cluster, self.store, self.id, self.segment_bytes, flags, self.origin,
            self.opened, self.base, self.base_term,
        )  # fmt: skip
        _HEAD.pack_into(data, 0, MAGIC, VERSION, 0, len(data), VERSION)
        _HEAD.pack_into(data, 0, MAGIC, VERSION, zlib.crc32(bytes(data[_CRC_FROM:])), len(data), VERSION)
        return bytes(data)


def check_segment_bytes(given: int) -> None:
    """Raise ConfigError for what is no length of a segment."""
    if not is_id(given) or not SEGMENT_BYTES_MIN <= given <= SEGMENT_BYTES_MAX:
        raise ConfigError(
            f"segment_bytes must be an integer in {SEGMENT_BYTES_MIN}..{SEGMENT_BYTES_MAX}, not {given!r}"
        )


def check_founder(id: int, cluster: bytes, segment_bytes: int) -> None:
    """Raise ConfigError, which names the field, for what no directory can be founded with."""
    check_segment_bytes(segment_bytes)
    if not is_id(id):
        raise ConfigError(f"id must be an integer in 1..2^63-1, not {id!r}")
    if not isinstance(cluster, bytes) or len(cluster) != CLUSTER_BYTES:
        raise ConfigError(f"cluster must be {CLUSTER_BYTES} bytes, the same for all members, not {cluster!r}")


def check_distinct(given: Mapping[str, str]) -> None:
    """Raise ConfigError for addresses that cannot be of members of one cluster. given: by what errors call each.

    What an address looks like is the transport's to say, which is not known here. But two members are not at the same
    place, and a transport that takes urls takes nothing else.
    """
    first: dict[str, str] = {}
    for name, url in given.items():
        if not url:
            continue  # where the member is found in another way
        if url in first:
            raise ConfigError(
                f"{name} must be an address of its own, not {url!r}, which is {first[url]}, too: give the place where "
                "that member listens"
            )
        first[url] = name
    with_scheme = next((url for url in first if "://" in url), "")
    for url, name in first.items():
        if with_scheme and "://" not in url:
            scheme = with_scheme.partition("://")[0]
            raise ConfigError(
                f"{name} must have a scheme, as {first[with_scheme]} has, {with_scheme!r}, and is {url!r}: begin it "
                f"with {scheme}://"
            )


def joiner(store: bytes, id: int, join: Iterable[str], cluster: bytes, segment_bytes: int) -> Founding:
    """What is to be founded for a member that waits to be added. Raises ConfigError, which names a field.

    It begins in doubt: another member may have had its id before, and have voted.
    """
    check_founder(id, cluster, segment_bytes)
    urls = [] if isinstance(join, (str, bytes)) or not isinstance(join, Iterable) else list(join)
    if not urls or not all(isinstance(url, str) and url and len(url.encode()) <= URL_MAX for url in urls):
        raise ConfigError(f"join must be addresses of members, such as ['tcp://10.0.0.1:5601'], not {join!r}")
    if len(urls) > MEMBERS_MAX:
        raise ConfigError(f"join must be at most {MEMBERS_MAX} addresses, not {len(urls)}")
    check_distinct({f"join[{number}]": url for number, url in enumerate(urls)})
    addresses = dict(enumerate(urls, 1))
    return Founding(
        cluster, store, id, segment_bytes // BLOCK * BLOCK, ConfState(), addresses, in_doubt=True, joining=True
    )


def planned(
    store: bytes,
    id: int,
    members: Mapping[int, str] | Iterable[int],
    learners: Mapping[int, str] | Iterable[int],
    cluster: bytes,
    segment_bytes: int,
) -> Founding:
    """What is to be founded; members and learners: ids, or addresses by id. Raises ConfigError, which names a field."""
    check_founder(id, cluster, segment_bytes)
    conf_state = first_membership(members, learners, "members")
    if not conf_state.voters:
        raise ConfigError("members must name at least one member")
    if id not in conf_state.voters + conf_state.learners:
        raise ConfigError(f"id must be one of the members and learners, not {id}")
    addresses: dict[int, str] = {}
    named: dict[str, str] = {}
    for name, given in (("members", members), ("learners", learners)):
        for member, url in given.items() if isinstance(given, Mapping) else ():
            try:
                check_address(member, url)
            except UsageError as error:
                raise ConfigError(f"{name}: {error}") from error
            addresses[member] = url
            named[f"{name}[{member}]"] = url
    check_distinct(named)
    return Founding(
        cluster, store, id, segment_bytes // BLOCK * BLOCK, conf_state, addresses, origin=origin_of(conf_state)
    )


def origin_of(conf_state: ConfState, cluster: bytes = b"", index: int = 0, term: int = 0) -> int:
    """What the first members of a cluster must have in common, in 32 bits: their ids, and the state they begin with.

    That is known by the cluster it is from and by its last entry: two backups of the same entry hold the same state,
    though not the same bytes. Addresses may differ, as each member may reach the others by other ones.
    """
    return zlib.crc32(_ORIGIN.pack(cluster, index, term) + conf_state.encode()) or 1


def decode(data: bytes) -> Founding:
    """The other way. Raises WalDamaged, or StorageError for one of another version."""
    if len(data) < _MEMBERS_AT or not data.startswith(MAGIC):
        raise WalDamaged(f"the file {NAME} is damaged")
    _, version, crc, used, again = _HEAD.unpack_from(data)
    if used != len(data) or version != again or crc != zlib.crc32(data[_CRC_FROM:]):
        raise WalDamaged(f"the file {NAME} is damaged")
    if version != VERSION:
        raise StorageError(
            f"the directory has format version {version}; this raftx reads version {VERSION} alone and converts no "
            "other: use the raftx that wrote it, or begin a new cluster in new directories"
        )
    cluster, store, id, segment_bytes, flags, origin, opened, base, base_term = _FIXED.unpack_from(data, _HEAD.size)
    if flags & ~FLAGS:
        raise WalDamaged(f"the file {NAME} has flags that this raftx does not know")
    try:
        conf_state, addresses, _ = decode_members(data[_MEMBERS_AT:])
    except (ConfChangeError, UnicodeDecodeError, struct.error) as error:
        raise WalDamaged(f"the file {NAME} is damaged: {error}") from error
    return Founding(
        cluster, store, id, segment_bytes, conf_state, addresses, bool(flags & FLAG_REBUILT),
        bool(flags & FLAG_IN_DOUBT), opened, base, base_term, bool(flags & FLAG_RESTORED),
        bool(flags & FLAG_JOINING), origin,
    )  # fmt: skip


def read(directory: Directory) -> Founding | None:
    """What a directory was founded as; None when it was not. Raises what ``decode`` raises, OSError."""
    data = read_whole(directory, NAME, SIZE_MAX)
    return None if data is None else decode(data)


def write(directory: Directory, founding: Founding) -> None:
    """Found the directory: the file is whole, and durable with its name, or there is none. Raises OSError."""
    code = write_whole(directory, NAME, NEW, founding.encode())
    if code:
        raise OSError(-code, f"cannot write the file {NAME}: {os.strerror(-code)}")
