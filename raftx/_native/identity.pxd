# C types of who a certificate names. identity.py is the twin in plain Python.
import cython
from libc.stdint cimport uint64_t

cdef enum:
    NAMES = 64                            # members with a name of their own

cdef struct IdentityState:
    const char* prefix                    # what stands before a member's id; NULL: only names count
    int count
    uint64_t ids[NAMES]
    const char* names[NAMES]              # lower case

# The member that these texts name, ended by NULL; 0: nobody, or more than one.
cdef uint64_t _identified(const IdentityState* s, char** texts) noexcept nogil

# Callbacks of NNG read ``state``, whose texts are those of ``kept``, as long as there is a connection. In garbage that
# is collected as a whole, a collector would empty ``kept`` first. It holds nothing but bytes: no cycle goes through it.
@cython.final
@cython.no_gc
cdef class Identities:
    """Whom certificates name. Never changes."""
    cdef IdentityState state
    cdef tuple kept
