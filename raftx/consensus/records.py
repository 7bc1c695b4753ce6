"""Entry records read where they lie, without the GIL and without objects: docs/wire-format.md describes them.

Functions over bytes that the caller owns: nothing is kept and nothing is written. A function that takes no ``end``
leaves it to the caller that the bytes are there.
"""

from __future__ import annotations

from collections.abc import Sequence

from .._native.layout import ENTRY_HEADER

RECORD_LENGTH = 4
RECORD_INDEX = 8
RECORD_TERM = 16
RECORD_KIND = 24
DATA_MAX = 2**31


def u32(body: Sequence[int], at: int) -> int:
    """The little-endian number in four bytes."""
    value = 0
    for place in range(at + 4, at, -1):
        value = value * 256 + body[place - 1]
    return value


def u64(body: Sequence[int], at: int) -> int:
    """The little-endian number in eight bytes."""
    value = 0
    for place in range(at + 8, at, -1):
        value = value * 256 + body[place - 1]
    return value


def record_size(body: Sequence[int], at: int, end: int) -> int:
    """Size of the record that begins at ``at``; 0 when no whole one stands there before ``end``."""
    if at > end or end - at < ENTRY_HEADER:
        return 0
    length = u32(body, at + RECORD_LENGTH)
    return ENTRY_HEADER + length if length <= DATA_MAX and length <= end - at - ENTRY_HEADER else 0
