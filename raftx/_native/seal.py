"""Twin of seal.pyx in plain Python: a seal behind each frame, by a key that all members have."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import final

from ..errors import ConfigError
from .layout import (
    FRAME_CLUSTER,
    FRAME_CLUSTER_BYTES,
    FRAME_HEADER,
    FRAME_INCARNATION,
    FRAME_RECIPIENT,
    FRAME_SENDER,
)
from .memory import Bytes

SEAL_BYTES = 32  # behind a frame
KEY_BYTES = 32
KEY_NAME = b"raftx key name"  # no frame begins like this
SENDERS = 256  # whose numbers are remembered
_SEAL = struct.Struct("<Q4s4x16s")  # the number, which key it is, the code
_U64 = struct.Struct("<Q")
_MAC_BYTES = 16
_KEYS = 2  # at once
_WINDOW = 64  # how far behind the highest number one may come
_REFUSED_SEAL, _REFUSED_REPLAY = 14, 15  # as the codec counts them


@final
class Seal:
    """Seals with the first key, and takes frames that any of them has sealed. For one thread.

    keys: one or two, of 32 bytes. A number is taken once for each sender's life, and so are the 63 before the highest.
    cluster, id: whose it is; frames for others are left to the codec, and their numbers are not taken. 0: everybody's.
    Raises ConfigError.
    """

    __slots__ = ("_cluster", "_id", "_keys", "_names", "_number", "_senders")

    def __init__(self, keys: list[bytes], cluster: bytes = bytes(FRAME_CLUSTER_BYTES), id: int = 0) -> None:
        if not 1 <= len(keys) <= _KEYS or any(type(key) is not bytes or len(key) != KEY_BYTES for key in keys):
            raise ConfigError("cluster_key must be 32 bytes, or two such keys")
        if len(cluster) != FRAME_CLUSTER_BYTES:
            raise ConfigError(f"cluster must be {FRAME_CLUSTER_BYTES} bytes, not {len(cluster)}")
        self._cluster, self._id = cluster, id
        self._keys = list(keys)
        self._names = [hmac.new(key, KEY_NAME, hashlib.sha256).digest()[:4] for key in keys]
        self._number = 0
        #: by sender: its life, the highest number, and which of those before it have come
        self._senders: dict[int, tuple[int, int, int]] = {}

    def __repr__(self) -> str:
        return f"<raftx seal with {len(self._keys)} keys>"

    def close(self, frame: bytearray | memoryview, size: int) -> int:
        """Write the seal behind a frame, where there is room for it; 0, or 1 when it could not be made."""
        self._number += 1
        out = memoryview(frame)
        _SEAL.pack_into(out, size, self._number, self._names[0], bytes(_MAC_BYTES))
        mac = hmac.new(self._keys[0], out[: size + SEAL_BYTES - _MAC_BYTES], hashlib.sha256).digest()
        out[size + SEAL_BYTES - _MAC_BYTES : size + SEAL_BYTES] = mac[:_MAC_BYTES]
        return 0

    def open(self, data: Bytes, size: int) -> int:
        """0 for a frame of somebody who has the key that comes the first time, with its seal; else the reason."""
        if size < FRAME_HEADER + SEAL_BYTES:
            return _REFUSED_SEAL
        frame = memoryview(data)[:size]
        number, name, code = _SEAL.unpack_from(frame, size - SEAL_BYTES)
        fitting = [key for key, its in zip(self._keys, self._names) if hmac.compare_digest(name, its)]
        if not fitting:
            return _REFUSED_SEAL
        mac = hmac.new(fitting[0], frame[: size - _MAC_BYTES], hashlib.sha256).digest()
        if not hmac.compare_digest(mac[:_MAC_BYTES], code):
            return _REFUSED_SEAL
        if self._id and (
            _U64.unpack_from(frame, FRAME_RECIPIENT)[0] != self._id
            or frame[FRAME_CLUSTER : FRAME_CLUSTER + FRAME_CLUSTER_BYTES] != self._cluster
        ):
            return 0  # whoever sends it here may not be its sender, so it must not move what that one is held against
        sender, life = _U64.unpack_from(frame, FRAME_SENDER)[0], _U64.unpack_from(frame, FRAME_INCARNATION)[0]
        return 0 if self._is_new(sender, life, number) else _REFUSED_REPLAY

    def _is_new(self, sender: int, incarnation: int, number: int) -> bool:
        """Only what somebody with the key has sealed comes here: so nobody else makes room for himself."""
        if number == 0 or sender == 0:
            return False
        if sender not in self._senders and len(self._senders) >= SENDERS:
            self._senders.pop(next(iter(self._senders)))
        life, highest, seen = self._senders.get(sender, (0, 0, 0))
        if sender not in self._senders or incarnation > life:
            self._senders[sender] = (incarnation, number, 1)
            return True
        if incarnation < life:
            # Of a life that is over: the node knows that, too, and takes nothing from it.
            return True
        if number > highest:
            ahead = number - highest
            self._senders[sender] = (life, number, (seen << ahead | 1) & 2**64 - 1 if ahead < _WINDOW else 1)
            return True
        behind = highest - number
        if behind >= _WINDOW or seen >> behind & 1:
            return False
        self._senders[sender] = (life, highest, seen | 1 << behind)
        return True

    def py_close(self, frame: bytes) -> bytes:
        """The frame with its seal. Raises ConfigError when OpenSSL fails."""
        made = bytearray(frame + bytes(SEAL_BYTES))
        self.close(made, len(frame))
        return bytes(made)

    def py_open(self, data: bytes) -> int:
        """0 when it may be looked at, or why not, as the codec counts it."""
        return self.open(data, len(data))
