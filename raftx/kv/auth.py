"""Users and passwords, and the tokens that stand for them. Knows no HTTP.

A token says whose it is and how long it lasts, and is signed with what all servers have: so each accepts what another
has given. Passwords may stand in the configuration as they are, or as their scrypt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import time
from collections.abc import Mapping

from .errors import AUTH_FAILED, AUTH_NOT_ENABLED, INVALID_TOKEN, USER_EMPTY

SCHEME = "scrypt"
DIGEST_BYTES = 32
_COST = {"n": 1 << 14, "r": 8, "p": 1}
_FORM = re.compile(
    re.escape(SCHEME) + r"\$(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\$[A-Za-z0-9+/]{43}=",
    re.ASCII,
)
NOBODY = f"{SCHEME}${base64.b64encode(bytes(16)).decode('ascii')}$"


def scrypt_of(password: str, salt: bytes | None = None) -> str:
    """A password as it may stand in the configuration: scrypt$SALT$HASH."""
    salt = os.urandom(16) if salt is None else salt
    return f"{SCHEME}${_text(salt)}${_text(_slowly(password.encode(), salt))}"


def _slowly(data: bytes, salt: bytes) -> bytes:
    """A digest that nobody computes for many guesses: some 50 ms of a processor, and 16 MiB."""
    return hashlib.scrypt(data, salt=salt, dklen=DIGEST_BYTES, **_COST)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def is_hashed(stored: str) -> bool:
    """Whether a password of the configuration is a scrypt. Raises ValueError for one that only begins like it."""
    if not stored.startswith(SCHEME + "$"):
        return False
    if _FORM.fullmatch(stored) is None:
        raise ValueError(f"a password that begins with {SCHEME}$ must be {SCHEME}$SALT$HASH, both in base64")
    return True


class Users:
    """Who may ask."""

    def __init__(self, users: Mapping[str, str], secret: str, seconds: float) -> None:
        self._users = dict(users)
        self._secret = secret
        self._key = b""
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
        hashed = stored if stored.startswith(SCHEME + "$") else NOBODY
        # Always, so that the time it takes does not tell which names there are.
        found = scrypt_of(password, base64.b64decode(hashed.split("$")[1]))
        if hashed is stored:
            right = hmac.compare_digest(found, stored)
        else:
            right = hmac.compare_digest(_digest(password), _digest(stored))
        if not right or name not in self._users:
            raise AUTH_FAILED
        return self.token(name)

    def token(self, name: str) -> str:
        """One that lasts from now on. Raises KeyError for who is not there."""
        said = f"{base64.urlsafe_b64encode(name.encode()).decode('ascii')}.{int(time.time() + self._seconds)}"
        return f"{said}.{self._signed(said, self._users[name])}"

    def _signed(self, said: str, stored: str) -> str:
        """A token is over when the password is another one, too."""
        if not self._key:
            # Who has a token could else try passwords of others against it, as fast as a machine can.
            kept = self._secret or "\n".join([f"{name}\0{each}" for name, each in sorted(self._users.items())])
            self._key = _slowly(kept.encode(), b"raftx kv tokens")
        return hmac.new(self._key, f"{said}\0{stored}".encode(), hashlib.sha256).hexdigest()

    def check(self, token: str | None) -> None:
        """Raise USER_EMPTY where there is no token (None), INVALID_TOKEN where it is not one of ours, or over.

        The first one takes some 50 ms.
        """
        if not self.enabled:
            return
        if token is None:
            raise USER_EMPTY
        said, _, signed = token.rpartition(".")
        name, _, until = said.partition(".")
        try:
            stored = self._users.get(base64.urlsafe_b64decode(name).decode())
        except ValueError:
            stored = None
        if stored is None or not hmac.compare_digest(
            self._signed(said, stored).encode(), signed.encode("utf-8", "replace")
        ):
            raise INVALID_TOKEN
        if int(until) < time.time():
            raise INVALID_TOKEN


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
