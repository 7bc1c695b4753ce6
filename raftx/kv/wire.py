"""Messages as bytes in the encoding of protocol buffers. Knows the tables of messages.py; decides nothing.

What is zero is not written, as in proto3; fields that are not known are skipped.
"""

from __future__ import annotations

from typing import Any

from .messages import BOOL, ENUM, INT64, MESSAGE, STRING, UINT64, Field, Message, Type

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_MASK = (1 << 64) - 1
DEPTH_MAX = 270  # of messages in messages: a transaction of 128 operations may nest as deep


class WireError(ValueError):
    """Bytes that are no message."""


def encode(type: Type, message: Message) -> bytes:
    """The bytes of a message."""
    out = bytearray()
    _encode(type, message, out)
    return bytes(out)


def _encode(type: Type, message: Message, out: bytearray) -> None:
    for name, value in message.items():
        field = type.by_name[name]
        if field.repeated:
            for each in value:
                _put(field, each, out)
        elif value or field.kind == MESSAGE:
            _put(field, value, out)


def _put(field: Field, value: Any, out: bytearray) -> None:
    kind = field.kind
    if kind in (INT64, UINT64, BOOL, ENUM):
        _varint(field.number << 3, out)
        _varint(int(value) & _MASK, out)
        return
    if kind == MESSAGE:
        assert field.type is not None
        value = encode(field.type, value)
    elif kind == STRING:
        value = value.encode()
    _varint(field.number << 3 | LENGTH, out)
    _varint(len(value), out)
    out += value


def _varint(value: int, out: bytearray) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def decode(type: Type, data: bytes) -> Message:
    """The message of these bytes. Raises WireError."""
    return _decode(type, data, 0, len(data), 0)


def _decode(type: Type, data: bytes, at: int, end: int, depth: int) -> Message:
    if depth > DEPTH_MAX:
        raise WireError("nested too deeply")
    message: Message = {}
    while at < end:
        tag, at = _number(data, at, end)
        form = tag & 7
        start = at
        number = 0
        if form == VARINT:
            number, at = _number(data, at, end)
        elif form == LENGTH:
            size, start = _number(data, at, end)
            at = start + size
        elif form == FIXED64:
            at += 8
        elif form == FIXED32:
            at += 4
        else:
            raise WireError(f"a field in a form that is not known, {form}")
        if at > end:
            raise WireError("it ends too early")
        field = type.by_number.get(tag >> 3)
        if field is None:
            continue
        if (form == VARINT) != (field.kind in (INT64, UINT64, BOOL, ENUM)) or form not in (VARINT, LENGTH):
            raise WireError(f"{field.name} is in the wrong form")
        value: Any
        if form == VARINT:
            value = _valued(field.kind, number)
        elif field.kind == MESSAGE:
            assert field.type is not None
            value = _decode(field.type, data, start, at, depth + 1)
        else:
            value = data[start:at]
            if field.kind == STRING:
                value = _text(value)
        if field.repeated:
            message.setdefault(field.name, []).append(value)
        else:
            message[field.name] = value
    return message


def _valued(kind: int, number: int) -> int | bool:
    if kind == UINT64:
        return number
    if kind == BOOL:
        return number != 0
    return number - (1 << 64) if number >> 63 else number


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise WireError("text that is not UTF-8") from error


def _number(data: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, at
        shift += 7
        if shift > 63:
            raise WireError("a number of too many bytes")
    raise WireError("it ends within a number")
