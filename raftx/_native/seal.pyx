"""A seal behind each frame: HMAC-SHA-256 by a key that all members have, and a number that comes once. No Raft here.

seal.py is the twin in plain Python. The HMAC is OpenSSL's, of the library that Python itself uses, called without the
GIL; what it gives is held against Python's own before it is used. docs/wire-format.md has every byte.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uintptr_t
from libc.string cimport memcmp, memcpy, memset

from .checks cimport check_index
from .layout cimport (
    FRAME_CLUSTER, FRAME_CLUSTER_BYTES, FRAME_HEADER, FRAME_INCARNATION, FRAME_RECIPIENT, FRAME_SENDER
)

from ..errors import ConfigError

ctypedef void* (*context_new_t)() noexcept nogil
ctypedef void (*context_free_t)(void*) noexcept nogil
ctypedef const void* (*sha256_t)() noexcept nogil
ctypedef int (*init_t)(void*, const void*, int, const void*, void*) noexcept nogil
ctypedef int (*update_t)(void*, const uint8_t*, size_t) noexcept nogil
ctypedef int (*final_t)(void*, uint8_t*, unsigned int*) noexcept nogil
ctypedef int (*compare_t)(const void*, const void*, size_t) noexcept nogil

cdef context_new_t HMAC_CTX_new = NULL
cdef context_free_t HMAC_CTX_free = NULL
cdef sha256_t EVP_sha256 = NULL
cdef init_t HMAC_Init_ex = NULL
cdef update_t HMAC_Update = NULL
cdef final_t HMAC_Final = NULL
cdef compare_t CRYPTO_memcmp = NULL
_library = None

cdef enum:
    KEY_BYTES = 32
    NUMBER = 0          # in a seal: 8 bytes
    NAME = 8            # 4 bytes: which key it is
    MAC = 16            # 16 bytes; before it there are 4 that are 0
    MAC_BYTES = 16
    WINDOW = 64         # how far behind the highest number one may come
    # as the codec counts them
    REFUSED_SEAL = 14
    REFUSED_REPLAY = 15

KEY_NAME = b"raftx key name"    # no frame begins like this


cdef inline uint64_t _load(const uint8_t* p) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value * 256 + p[7 - i]
    return value


def _look_up():
    """OpenSSL's functions, once. Raises ConfigError."""
    global _library, HMAC_CTX_new, HMAC_CTX_free, EVP_sha256, HMAC_Init_ex, HMAC_Update, HMAC_Final, CRYPTO_memcmp
    if _library is not None:
        return
    import ctypes

    names = "HMAC_CTX_new HMAC_CTX_free EVP_sha256 HMAC_Init_ex HMAC_Update HMAC_Final CRYPTO_memcmp".split()
    for place in ("_hashlib", "_ssl", ""):
        try:
            # A module that is linked with OpenSSL finds its functions; a Python that has it within itself, those.
            found = ctypes.CDLL(__import__(place).__file__ if place else None)
            at = {name: ctypes.cast(getattr(found, name), ctypes.c_void_p).value for name in names}
        except (ImportError, AttributeError, OSError):
            continue
        HMAC_CTX_new = <context_new_t><uintptr_t>at["HMAC_CTX_new"]
        HMAC_CTX_free = <context_free_t><uintptr_t>at["HMAC_CTX_free"]
        EVP_sha256 = <sha256_t><uintptr_t>at["EVP_sha256"]
        HMAC_Init_ex = <init_t><uintptr_t>at["HMAC_Init_ex"]
        HMAC_Update = <update_t><uintptr_t>at["HMAC_Update"]
        HMAC_Final = <final_t><uintptr_t>at["HMAC_Final"]
        CRYPTO_memcmp = <compare_t><uintptr_t>at["CRYPTO_memcmp"]
        _library = found
        return
    raise ConfigError(
        "cluster_key needs the functions of OpenSSL, which this Python does not show: use tls, or a Python that is "
        "linked with the system's OpenSSL"
    )


cdef class Seal:
    """Seals with the first key, and takes frames that any of them has sealed. For one thread.

    keys: one or two, of 32 bytes. A number is taken once for each sender's life, and so are the 63 before the highest.
    cluster, id: whose it is; frames for others are left to the codec, and their numbers are not taken. 0: everybody's.
    Raises ConfigError.
    """

    def __cinit__(self, keys, bytes cluster=bytes(FRAME_CLUSTER_BYTES), uint64_t id=0):
        cdef int i
        cdef uint8_t mac[KEY_BYTES]
        if not 1 <= len(keys) <= SEAL_KEYS or any(type(key) is not bytes or len(key) != KEY_BYTES for key in keys):
            raise ConfigError("cluster_key must be 32 bytes, or two such keys")
        _look_up()
        import hashlib
        import hmac

        if PyBytes_GET_SIZE(cluster) != FRAME_CLUSTER_BYTES:
            raise ConfigError(f"cluster must be {FRAME_CLUSTER_BYTES} bytes, not {len(cluster)}")
        memcpy(self.cluster, PyBytes_AS_STRING(cluster), FRAME_CLUSTER_BYTES)
        self.id = id
        for key in keys:
            self.contexts[self.count] = HMAC_CTX_new()
            if self.contexts[self.count] == NULL:
                raise MemoryError()
            i = self.count
            self.count += 1
            if HMAC_Init_ex(self.contexts[i], PyBytes_AS_STRING(key), KEY_BYTES, EVP_sha256(), NULL) != 1:
                raise ConfigError("cluster_key: OpenSSL does not take it")
            name = hmac.new(key, KEY_NAME, hashlib.sha256).digest()
            if (not self._mac(i, <const uint8_t*>PyBytes_AS_STRING(KEY_NAME), PyBytes_GET_SIZE(KEY_NAME), mac)
                    or PyBytes_FromStringAndSize(<const char*>mac, KEY_BYTES) != name):
                raise ConfigError("cluster_key: what OpenSSL makes of it is not what Python makes of it")
            memcpy(&self.names[i], PyBytes_AS_STRING(name), 4)

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            HMAC_CTX_free(self.contexts[i])

    def __repr__(self):
        return f"<raftx seal with {self.count} keys>"

    cdef int _mac(self, int which, const uint8_t* data, size_t size, uint8_t* out) noexcept nogil:
        # 32 bytes; 0 when OpenSSL could not.
        cdef unsigned int length = 0
        check_index(which, SEAL_KEYS)
        if HMAC_Init_ex(self.contexts[which], NULL, 0, NULL, NULL) != 1:
            return 0
        if HMAC_Update(self.contexts[which], data, size) != 1:
            return 0
        return HMAC_Final(self.contexts[which], out, &length) == 1 and length == KEY_BYTES

    cdef int close(self, uint8_t* frame, size_t size) noexcept nogil:
        # Write the seal behind a frame, where there is room for it; 0, or 1 when it could not be made.
        cdef uint8_t mac[KEY_BYTES]
        cdef uint8_t* seal = frame + size
        cdef int i
        self.number += 1
        memset(seal, 0, SEAL_BYTES)
        for i in range(8):
            seal[NUMBER + i] = <uint8_t>(self.number >> (8 * i))
        memcpy(seal + NAME, &self.names[0], 4)
        if not self._mac(0, frame, size + MAC, mac):
            return 1
        memcpy(seal + MAC, mac, MAC_BYTES)
        return 0

    cdef int open(self, const uint8_t* data, size_t size) noexcept nogil:
        # 0 when what stands before the last 32 bytes is a frame of somebody who has the key, and comes the first time.
        cdef uint8_t mac[KEY_BYTES]
        cdef const uint8_t* seal
        cdef int i
        if size < FRAME_HEADER + SEAL_BYTES:
            return REFUSED_SEAL
        seal = data + size - SEAL_BYTES
        for i in range(self.count):
            if CRYPTO_memcmp(seal + NAME, &self.names[i], 4) == 0:
                break
        else:
            return REFUSED_SEAL
        if not self._mac(i, data, size - MAC_BYTES, mac) or CRYPTO_memcmp(seal + MAC, mac, MAC_BYTES):
            return REFUSED_SEAL
        if self.id and (_load(data + FRAME_RECIPIENT) != self.id
                        or memcmp(data + FRAME_CLUSTER, self.cluster, FRAME_CLUSTER_BYTES) != 0):
            return 0  # whoever sends it here may not be its sender, so it must not move what that one is held against
        if not self._is_new(_load(data + FRAME_SENDER), _load(data + FRAME_INCARNATION), _load(seal + NUMBER)):
            return REFUSED_REPLAY
        return 0

    cdef bint _is_new(self, uint64_t sender, uint64_t incarnation, uint64_t number) noexcept nogil:
        # Only what somebody with the key has sealed comes here: so nobody else makes room for himself.
        cdef Numbers* n = NULL
        cdef uint64_t behind
        cdef int i
        if number == 0 or sender == 0:
            return False
        for i in range(SENDERS):
            if self.senders[i].sender == sender or self.senders[i].sender == 0:
                n = &self.senders[i]
                break
        if n == NULL:
            n = &self.senders[self.turn]
            self.turn = (self.turn + 1) % SENDERS
            n.sender = 0
        if n.sender == 0 or incarnation > n.incarnation:
            n.sender = sender
            n.incarnation = incarnation
            n.highest = number
            n.seen = 1
            return True
        if incarnation < n.incarnation:
            # Of a life that is over: the node knows that, too, and takes nothing from it.
            return True
        if number > n.highest:
            behind = number - n.highest
            n.seen = (n.seen << behind if behind < WINDOW else 0) | 1
            n.highest = number
            return True
        behind = n.highest - number
        if behind >= WINDOW or n.seen >> behind & 1:
            return False
        n.seen |= <uint64_t>1 << behind
        return True

    def py_close(self, bytes frame not None):
        """The frame with its seal. Raises ConfigError when OpenSSL fails."""
        made = bytearray(frame + bytes(SEAL_BYTES))
        cdef uint8_t[::1] view = made
        if self.close(&view[0], len(frame)):
            raise ConfigError("cluster_key: OpenSSL has made no seal")
        return bytes(made)

    def py_open(self, bytes data not None):
        """0 when it may be looked at, or why not, as the codec counts it."""
        return self.open(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
