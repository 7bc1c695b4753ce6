"""What stands in the log: a letter for the kind of command, and the bytes of its message. Values only."""

from __future__ import annotations

from . import messages as m
from . import wire
from .messages import Message, Type

PUT = b"p"
DELETE = b"d"
TXN = b"t"
COMPACT = b"c"
GRANT = b"g"
REVOKE = b"r"
KEEP = b"k"
EXPIRE = b"e"
#: a member says how it is called, and where clients reach it
MEMBER = b"m"

TYPES: dict[bytes, Type] = {
    PUT: m.PUT_ONE,
    DELETE: m.DELETE_RANGE,
    TXN: m.TXN,
    COMPACT: m.COMPACT,
    GRANT: m.GRANT,
    REVOKE: m.LEASE_ID,
    KEEP: m.LEASE_ID,
    EXPIRE: m.EXPIRE,
    MEMBER: m.MEMBER,
}


def encode(kind: bytes, message: Message) -> bytes:
    """A command as bytes."""
    return kind + wire.encode(TYPES[kind], message)


def decode(data: bytes) -> tuple[bytes, Message] | None:
    """The command of an entry; None: it is none."""
    kind = data[:1]
    of = TYPES.get(kind)
    if of is None:
        return None
    try:
        return kind, wire.decode(of, data[1:])
    except wire.WireError:
        return None
