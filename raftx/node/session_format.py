"""What sessions put into entries, and results as bytes: docs/wire-format.md has the header. Values only."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

from ..errors import UsageError

#: in front of the data: id of the session, its opening, sequence, acknowledged, what it is
HEADER = struct.Struct("<16sQQQB7x")
ID_BYTES = 16
COMMAND = 0
OPEN = 1
CLOSE = 2
#: the data of an OPEN: the token of who opens it, and its time-to-live in milliseconds
OPENING = struct.Struct("<16sQ")

RESULT_MAX = 64 << 10  # bytes of a result that is kept
DEPTH_MAX = 16  # of lists in lists

_U32 = struct.Struct("<I")
_F64 = struct.Struct("<d")


def id_of(name: str | bytes) -> bytes:
    """The id of the session of that name. Raises UsageError for what can be no name."""
    bare = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else name
    if not isinstance(bare, bytes) or not bare:
        raise UsageError(f"name must be a str or bytes, and not empty, or None for a session without one, not {name!r}")
    return hashlib.sha256(b"raftx session " + bare).digest()[:ID_BYTES]


class _Unfit(Exception):
    """What is no such value."""


def encode_value(value: Any, most: int = RESULT_MAX) -> bytes | None:
    """A result as bytes; None for what cannot be kept: of another type, too deep, or more than ``most`` bytes.

    Of exactly these types: None, bool, int, float, bytes, str, and tuples, lists and dicts of them.
    """
    out = bytearray()
    try:
        _put(out, value, 0, most)
    except (_Unfit, UnicodeEncodeError, OverflowError):
        return None
    return bytes(out)


def _put(out: bytearray, value: Any, depth: int, most: int) -> None:
    kind = type(value)
    if value is None:
        out += b"N"
    elif kind is bool:
        out += b"T" if value else b"F"
    elif kind is int:
        _put_bytes(out, b"i", value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True), most)
    elif kind is float:
        out += b"d" + _F64.pack(value)
    elif kind is bytes:
        _put_bytes(out, b"b", value, most)
    elif kind is str:
        _put_bytes(out, b"s", value.encode(), most)
    elif kind in (list, tuple, dict) and depth < DEPTH_MAX:
        out += (b"l" if kind is list else b"t" if kind is tuple else b"m") + _U32.pack(len(value))
        for each in value.items() if kind is dict else value:
            for part in each if kind is dict else (each,):
                _put(out, part, depth + 1, most)
    else:
        raise _Unfit
    if len(out) > most:
        raise _Unfit


def _put_bytes(out: bytearray, tag: bytes, data: bytes, most: int) -> None:
    if len(data) > most:
        raise _Unfit
    out += tag + _U32.pack(len(data)) + data


def decode_value(data: bytes) -> Any:
    """The other way. Raises ValueError for what ``encode_value`` does not make."""
    try:
        value, at = _get(data, 0, 0)
    except (struct.error, TypeError, KeyError, IndexError) as error:
        raise ValueError("the bytes of a result are damaged") from error
    if at != len(data):
        raise ValueError("the bytes of a result are damaged")
    return value


def _get(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    tag, at = data[at : at + 1], at + 1
    if tag in _PLAIN:
        return _PLAIN[tag], at
    if tag == b"d":
        return _F64.unpack_from(data, at)[0], at + _F64.size
    (size,) = _U32.unpack_from(data, at)
    at += _U32.size
    if tag in _MADE:
        if at + size > len(data):
            raise ValueError("the bytes of a result are damaged")
        return _MADE[tag](data[at : at + size]), at + size
    if tag not in (b"l", b"t", b"m") or depth >= DEPTH_MAX:
        raise ValueError("the bytes of a result are damaged")
    parts: list[Any] = []
    for _ in range(size * 2 if tag == b"m" else size):
        part, at = _get(data, at, depth + 1)
        parts.append(part)
    if tag == b"m":
        return dict(zip(parts[::2], parts[1::2], strict=True)), at
    return parts if tag == b"l" else tuple(parts), at


_PLAIN: dict[bytes, Any] = {b"N": None, b"T": True, b"F": False}
_MADE: dict[bytes, Callable[[bytes], Any]] = {
    b"i": lambda data: int.from_bytes(data, "little", signed=True),
    b"b": bytes,
    b"s": lambda data: data.decode(),
}
