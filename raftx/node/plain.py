"""Values of dataclasses as what JSON has, and back. Knows no dataclass; what it reads may come from anybody."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

NUMBER_MAX = 2**64  # what a count of raftx may be


def to_plain(value: Any) -> Any:
    """Dicts, lists, strings, numbers, booleans and None. Keys of mappings become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        own = getattr(value, "plain", None)
        if own is not None:
            return to_plain(own())
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    return value


def from_plain(kind: type[T], found: object) -> T:
    """A dataclass of what ``to_plain`` made of one, perhaps in another version of it.

    What is missing has its default, and what is not known is left out. Raises ValueError, which names the field.
    """
    return typing.cast("T", _read(kind, found, kind.__name__))


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _read(kind: Any, found: object, where: str) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return None if found is None else _read(next(each for each in parts if each is not type(None)), found, where)
    if dataclasses.is_dataclass(kind):
        values = _mapping(found, where)
        known = {field.name: _hints(typing.cast("type", kind))[field.name] for field in dataclasses.fields(kind)}
        given = {name: _read(known[name], values[name], f"{where}.{name}") for name in known if name in values}
        try:
            return typing.cast("Any", kind)(**given)
        except TypeError:
            raise ValueError(f"{where} lacks a field") from None
    if origin is tuple:
        if not isinstance(found, list):
            raise ValueError(f"{where} must be a list, not {type(found).__name__}")
        return tuple([_read(parts[0], each, where) for each in found])
    if origin is not None:
        key, each = parts
        return {_key(key, name, where): _read(each, value, where) for name, value in _mapping(found, where).items()}
    return _single(kind, found, where)


def _mapping(found: object, where: str) -> dict[str, object]:
    if not isinstance(found, dict):
        raise ValueError(f"{where} must be an object, not {type(found).__name__}")
    return found


def _key(kind: type, name: str, where: str) -> Any:
    if kind is not int:
        return name
    if not name.isascii() or not name.isdigit() or len(name) > 20:
        raise ValueError(f"{where} must have numbers as keys")
    return int(name)


def _single(kind: type, found: object, where: str) -> Any:
    if kind is float and isinstance(found, int) and not isinstance(found, bool) and abs(found) <= NUMBER_MAX:
        return float(found)
    if type(found) is not kind or (kind is int and not -NUMBER_MAX <= typing.cast("int", found) <= NUMBER_MAX):
        raise ValueError(f"{where} must be of type {kind.__name__}, not {type(found).__name__}")
    if kind is float and not math.isfinite(typing.cast("float", found)):
        raise ValueError(f"{where} must be a finite number")
    return found
