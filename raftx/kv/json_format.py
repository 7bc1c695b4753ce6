"""Messages as JSON, as etcd's gateway reads and writes it. Knows the tables of messages.py; decides nothing.

Written: the names of the proto, integers of 64 bits as decimal strings, bytes in base64, enums by name, nothing that is
zero. Read: names of the proto or in lowerCamelCase, integers as numbers or strings, enums as names or numbers; null is
as if it were not there, and what is not known is ignored.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any

from .messages import BOOL, BYTES, ENUM, INT64, MESSAGE, STRING, UINT64, Field, Message, Type

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_SPACE = " \t\r\n"
_LIMITS = {INT64: (-(1 << 63), (1 << 63) - 1), UINT64: (0, (1 << 64) - 1), ENUM: (-(1 << 31), (1 << 31) - 1)}


class JsonError(ValueError):
    """What is no JSON, or not of that message."""


class Ends(JsonError):
    """The text ends within a document."""


# --- reading -------------------------------------------------------------------------------------


def _refused(text: str) -> None:
    raise JsonError(f"invalid character '{text[:1]}' looking for beginning of value")


# An integer is kept as it is written, so that 1.0 and 1e3 are told from 1.
_DECODER = json.JSONDecoder(parse_constant=_refused, parse_float=lambda text: _Float(text))


class _Float(str):
    """A number with a point or an exponent, as it is written."""


def document(text: str, at: int = 0) -> tuple[Any, int]:
    """The next JSON document of a text, and where it ends; at the end of the text: (None, -1). Raises JsonError."""
    while at < len(text) and text[at] in _SPACE:
        at += 1
    if at == len(text):
        return None, -1
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        if _is_cut(text, at, error):
            raise Ends("unexpected EOF") from error
        raise JsonError(f"invalid character {text[error.pos : error.pos + 1]!r}: {error.msg}") from error
    except JsonError:
        raise
    except RecursionError as error:
        raise JsonError("nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise JsonError("a number of too many digits") from error


def _is_cut(text: str, at: int, error: json.JSONDecodeError) -> bool:
    """Whether more text could make it a document."""
    rest = text[error.pos :].strip(_SPACE)
    if not rest or error.msg.startswith("Unterminated string"):
        return True
    if "\\" in error.msg and len(text) - error.pos < 8:
        return True
    return any(word.startswith(rest) for word in ("true", "false", "null")) or rest == "-"


def decode(type: Type, found: Any) -> Message:
    """The message of a JSON document; of none at all (None), the empty one. Raises JsonError."""
    try:
        return _decode(type, found)
    except RecursionError as error:
        raise JsonError("nested too deeply") from error


def _decode(type: Type, found: Any) -> Message:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise JsonError(f"json: cannot unmarshal {_kind_of(found)} into Go value of type map[string]json.RawMessage")
    message: Message = {}
    by_name = type.by_name
    for name, value in found.items():
        field = by_name.get(name)
        if field is None or value is None:
            continue
        if not field.repeated:
            value = _READ[field.kind](field, value)
            if value or field.kind == MESSAGE:
                message[field.name] = value
            else:
                message.pop(field.name, None)
            continue
        if not isinstance(value, list):
            raise JsonError(f"json: cannot unmarshal {_kind_of(value)} into Go value of type []json.RawMessage")
        read = _READ[field.kind]
        empty = _EMPTY.get(field.kind, 0)
        message[field.name] = [read(field, empty if each is None else each) for each in value]
    return message


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, _Float)):
        return "number"
    names: dict[Any, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def _wrong(field: Field, value: Any) -> JsonError:
    return JsonError(f"json: cannot unmarshal {_kind_of(value)} into Go value of field {field.name}")


def _text_in(field: Field, value: Any) -> str:
    """A string, and no number that was kept as it is written."""
    if not isinstance(value, str) or isinstance(value, _Float):
        raise _wrong(field, value)
    return value


def _read_bytes(field: Field, value: Any) -> bytes:
    text = _text_in(field, value).replace("\r", "").replace("\n", "")
    if not _BASE64.fullmatch(text):
        raise JsonError("illegal base64 data")
    return binascii.a2b_base64(text)


def _read_string(field: Field, value: Any) -> str:
    text = _text_in(field, value)
    # A lone half of a character is nothing that UTF-8 could write.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _read_integer(field: Field, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or isinstance(value, _Float):
        raise _wrong(field, value)
    if isinstance(value, str):
        if not _INTEGER.fullmatch(value) or len(value) > 20:
            raise JsonError(f"json: cannot unmarshal {value[:40]!r} into Go value of field {field.name}")
        value = int(value)
    low, high = _LIMITS[field.kind]
    if not low <= value <= high:
        raise JsonError(f"json: cannot unmarshal number {value} into Go value of field {field.name}")
    return int(value)


def _read_bool(field: Field, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _wrong(field, value)
    return value


def _read_enum(field: Field, value: Any) -> int:
    if isinstance(value, str) and not isinstance(value, _Float):
        number = field.numbers.get(value)
        if number is None:
            raise JsonError(f"unknown value {value[:40]!r} for enum of field {field.name}")
        return number
    return _read_integer(field, value)


def _read_message(field: Field, value: Any) -> Message:
    assert field.type is not None
    return _decode(field.type, value)


_READ: dict[int, Callable[[Field, Any], Any]] = {
    BYTES: _read_bytes,
    STRING: _read_string,
    INT64: _read_integer,
    UINT64: _read_integer,
    BOOL: _read_bool,
    ENUM: _read_enum,
    MESSAGE: _read_message,
}

#: what null is in a list, as JSON has it
_EMPTY: dict[int, Any] = {BYTES: "", STRING: "", BOOL: False, MESSAGE: {}}

# --- writing -------------------------------------------------------------------------------------


def encode(type: Type, message: Message) -> dict[str, Any]:
    """What JSON is made of."""
    by_name = type.by_name
    out: dict[str, Any] = {}
    for name, value in message.items():
        field = by_name[name]
        if field.repeated:
            if value:
                write = _WRITE[field.kind]
                out[name] = [write(field, each) for each in value]
        elif value or field.kind == MESSAGE:
            out[name] = _WRITE[field.kind](field, value)
    return out


def _write_bytes(field: Field, value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _write_integer(field: Field, value: int) -> str:
    return str(value)


def _write_itself(field: Field, value: Any) -> Any:
    return value


def _write_enum(field: Field, value: int) -> Any:
    return field.values.get(value, value)


def _write_message(field: Field, value: Message) -> dict[str, Any]:
    assert field.type is not None
    return encode(field.type, value)


_WRITE: dict[int, Callable[[Field, Any], Any]] = {
    BYTES: _write_bytes,
    STRING: _write_itself,
    INT64: _write_integer,
    UINT64: _write_integer,
    BOOL: _write_itself,
    ENUM: _write_enum,
    MESSAGE: _write_message,
}

_dump = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def text_of(value: Any) -> bytes:
    """JSON of what ``encode`` has made, without spaces."""
    return _dump(value).encode()
