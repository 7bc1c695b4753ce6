"""What a caller gives as a path, checked before anything is done with it. No file is touched here."""

from __future__ import annotations

import os


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
