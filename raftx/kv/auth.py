"""Users and passwords, and the tokens that stand for them. Knows no HTTP.

A token says whose it is and how long it lasts, and is signed with what all servers have: so each accepts what another
has given. Passwords may stand in the configuration as they are, or as their scrypt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import time
from collections.abc import Mapping

from .errors import AUTH_FAILED, AUTH_NOT_ENABLED, INVALID_TOKEN, USER_EMPTY

SCHEME = "scrypt"
_COST = {"n": 1 << 14, "r": 8, "p": 1}
NOBODY = f"{SCHEME}$AAAAAAAAAAAAAAAAAAAAAA==$AAAA"


def scrypt_of(password: str, salt: bytes | None = None) -> str:
    """A password as it may stand in the configuration: scrypt$SALT$HASH."""
    salt = os.urandom(16) if salt is None else salt
    digest = hashlib.scrypt(password.encode(), salt=salt, dklen=32, **_COST)
    return f"{SCHEME}${_text(salt)}${_text(digest)}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


class Users:
    """Who may ask."""

    def __init__(self, users: Mapping[str, str], secret: str, seconds: float) -> None:
        self._users = dict(users)
        kept = secret or "\n".join([f"{name}\0{password}" for name, password in sorted(users.items())])
        self._key = hashlib.sha256(b"raftx kv tokens\0" + kept.encode()).digest()
        self._seconds = seconds

    @property
    def enabled(self) -> bool:
        """Whether anybody is asked who he is."""
        return bool(self._users)

    def authenticate(self, name: str, password: str) -> str:
        """A token. Takes some 50 ms. Raises AUTH_NOT_ENABLED, AUTH_FAILED."""
        if not self.enabled:
            raise AUTH_NOT_ENABLED
        stored = self._users.get(name, NOBODY)
        if stored.startswith(SCHEME + "$"):
            salt = base64.b64decode(stored.split("$")[1])
            right = hmac.compare_digest(scrypt_of(password, salt), stored)
        else:
            right = hmac.compare_digest(password.encode(), stored.encode())
        if not right or name not in self._users:
            raise AUTH_FAILED
        return self.token(name)

    def token(self, name: str) -> str:
        """One that lasts from now on."""
        said = f"{base64.urlsafe_b64encode(name.encode()).decode('ascii')}.{int(time.time() + self._seconds)}"
        return f"{said}.{self._signed(said)}"

    def _signed(self, said: str) -> str:
        return hmac.new(self._key, said.encode(), hashlib.sha256).hexdigest()

    def check(self, token: str) -> None:
        """Raise USER_EMPTY where there is no token, INVALID_TOKEN where it is not one of ours, or over."""
        if not self.enabled:
            return
        if not token:
            raise USER_EMPTY
        said, _, signed = token.rpartition(".")
        if not hmac.compare_digest(self._signed(said).encode(), signed.encode("utf-8", "replace")):
            raise INVALID_TOKEN
        name, _, until = said.partition(".")
        if int(until) < time.time() or base64.urlsafe_b64decode(name).decode() not in self._users:
            raise INVALID_TOKEN
