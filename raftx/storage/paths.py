"""What a caller gives as a path, checked before anything is done with it. No file is changed here."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FOUNDING = "founding"  # the file that makes a directory a member's
MAGIC = b"RAFTXFND"  # how it begins


def check_path(given: object, name: str, what: str, error: type[Exception]) -> str:
    """The path as text. Raises ``error``, which calls it ``name``, for what the system cannot take as one.

    what: what it leads to, "a directory" or "a file".
    """
    try:
        path = os.fspath(given) if isinstance(given, (str, os.PathLike)) else b""
    except TypeError:  # it gives something else
        path = b""
    if not isinstance(path, str) or not path:
        raise error(f"{name} must be the path of {what}, a str or a pathlib.Path, not {given!r}")
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError as refused:
        raise error(
            f"{name} must be text that a file name can hold, without lone surrogates ({refused.reason}), not {given!r}"
        ) from refused
    if b"\0" in encoded:
        raise error(f"{name} must not have a NUL in it, as no file name has, not {given!r}")
    return path


def check_foreign(path: str | os.PathLike[str], name: str, error: type[Exception]) -> None:
    """Raise ``error``, which calls it ``name``, for a file that is to be written into the directory of a member.

    What stands there is the member's: a file in place of one of its own destroys it, and one under a name that means
    something there keeps it from starting.
    """
    parent = Path(os.path.abspath(path)).parent
    if os.path.lexists(parent / FOUNDING):
        raise error(
            f"{name} must not be in the directory of a member, as {parent} is, where only its node writes: choose "
            f"another directory, not {os.fspath(path)!r}"
        )


def check_apart(path: str | os.PathLike[str], name: str, error: type[Exception]) -> None:
    """Raise ``error``, which calls it ``name``, for a directory somewhere within that of a member.

    Whatever is done with that one, as it is set aside or removed, would be done with this one.
    """
    for parent in Path(os.path.abspath(path)).parents:
        begins = b""
        with contextlib.suppress(OSError):
            if (parent / FOUNDING).is_file():
                with open(parent / FOUNDING, "rb") as file:
                    begins = file.read(len(MAGIC))
        if begins == MAGIC:
            raise error(
                f"{name} must not be within the directory of a member, as {parent} is: what is done with that one, to "
                f"rebuild it say, would be done with this one; choose another directory, not {os.fspath(path)!r}"
            )
