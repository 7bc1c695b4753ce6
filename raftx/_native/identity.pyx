"""Which member a certificate names, by its subject alternative names. Reads no certificate and knows no sockets.

identity.py is the twin in plain Python. The names are texts here: of what type each was in the certificate the
library that verified it does not say, so one that has the form of a member's name was vouched for as a whole.
"""
import cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdlib cimport calloc, free

cdef uint64_t NUMBER_END = <uint64_t>1 << 63


cdef uint64_t _number(const char* digits) noexcept nogil:
    # 1..2^63-1 without a zero in front and with nothing behind; else 0.
    cdef uint64_t number = 0
    cdef int i = 0
    if digits[0] == c"0":
        return 0
    while digits[i] != 0:
        if not c"0" <= digits[i] <= c"9" or i == 19:
            return 0
        number = number * 10 + <uint64_t>(digits[i] - c"0")
        i += 1
    return number if number < NUMBER_END else 0


cdef bint _same(const char* name, const char* text) noexcept nogil:
    # The name is in lower case already.
    cdef int i = 0
    cdef char c
    while True:
        c = text[i]
        if c"A" <= c <= c"Z":
            c += 32
        if c != name[i]:
            return False
        if c == 0:
            return True
        i += 1


cdef uint64_t _identified(const IdentityState* s, char** texts) noexcept nogil:
    cdef uint64_t found = 0, id
    cdef int i = 0, j
    while texts[i] != NULL:
        id = 0
        if s.prefix != NULL:
            j = 0
            while s.prefix[j] != 0 and s.prefix[j] == texts[i][j]:
                j += 1
            if s.prefix[j] == 0:
                id = _number(texts[i] + j)
                if id == 0:
                    return 0
        for j in range(s.count):
            if _same(s.names[j], texts[i]):
                id = s.ids[j]
        if id and found and id != found:
            return 0
        if id:
            found = id
        i += 1
    return found


@cython.no_gc
cdef class Identities:
    """Whom certificates name: ``prefix`` and an id after it, or with ``names`` the member whose name it is.

    Names are compared without regard to case. A certificate that names two members names nobody. Raises ValueError for
    more than 64 names, and for texts that hold a NUL.
    """

    def __cinit__(self, bytes prefix not None, dict names not None):
        if len(names) > NAMES:
            raise ValueError("at most 64 names")
        if b"\0" in prefix or any(b"\0" in name for name in names.values()):
            raise ValueError("a name must have no NUL")
        kept = [prefix]
        self.state.prefix = NULL if names else PyBytes_AS_STRING(prefix)
        for id, name in names.items():
            name = name.lower()
            kept.append(name)
            self.state.ids[self.state.count] = id
            self.state.names[self.state.count] = PyBytes_AS_STRING(name)
            self.state.count += 1
        self.kept = tuple(kept)

    def py_member(self, list texts not None):
        """The member that these texts name, as C has them: each ends at a NUL; 0 for nobody, or more than one."""
        cdef uint64_t found
        cdef int i
        cdef char** made = <char**>calloc(len(texts) + 1, sizeof(char*))
        held = [bytes(text) for text in texts]
        if made == NULL:
            raise MemoryError()
        for i in range(len(held)):
            made[i] = PyBytes_AS_STRING(held[i])
        found = _identified(&self.state, made)
        free(made)
        return found
