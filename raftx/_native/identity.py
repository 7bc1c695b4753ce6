"""Twin of identity.pyx in plain Python: which member a certificate names, by its subject alternative names."""

from __future__ import annotations

import re
from typing import final

NAMES = 64  # members with a name of their own
NUMBER = re.compile(rb"[1-9][0-9]{0,18}")
_NUMBER_END = 1 << 63


@final
class Identities:
    """Whom certificates name: ``prefix`` and an id after it, or with ``names`` the member whose name it is.

    Names are compared without regard to case. A certificate that names two members names nobody. Raises ValueError for
    more than 64 names, and for texts that hold a NUL.
    """

    __slots__ = ("_names", "_prefix")

    def __init__(self, prefix: bytes, names: dict[int, bytes]) -> None:
        if len(names) > NAMES:
            raise ValueError("at most 64 names")
        if b"\0" in prefix or any(b"\0" in name for name in names.values()):
            raise ValueError("a name must have no NUL")
        self._prefix = None if names else prefix
        self._names = {name.lower(): id for id, name in names.items()}

    def py_member(self, texts: list[bytes]) -> int:
        """The member that these texts name, as C has them: each ends at a NUL; 0 for nobody, or more than one."""
        found = 0
        for each in texts:
            text = each.split(b"\0", 1)[0]
            id = self._names.get(text.lower(), 0)
            if self._prefix is not None and text.startswith(self._prefix):
                digits = text[len(self._prefix) :]
                id = int(digits) if NUMBER.fullmatch(digits) and int(digits) < _NUMBER_END else 0
                if id == 0:
                    return 0
            if id and found and id != found:
                return 0
            found = id or found
        return found
