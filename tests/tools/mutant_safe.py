"""Mistakes in who may speak: certificates, seals, where a member listens. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

IDENTITY = "raftx/_native/identity.py"
SEAL = "raftx/_native/seal.py"
CODEC = "raftx/_twins/codec.py"
PYTHON = "raftx/transport/python.py"
NNG = "raftx/transport/nng.py"
SEALED = "raftx/transport/sealed.py"
SOCKETS = "raftx/transport/sockets.py"
SILENT = "raftx/transport/silent.py"
TLS = "raftx/transport/tls.py"
FILE = "raftx/cluster_file.py"
ADMISSION = "raftx/consensus/admission.py"
HOSTILE = "node/test_hostile.py"
SEALS = "native/test_seal.py"
KEYED = "transport/test_cluster_key.py"
MUTUAL = "transport/test_tls.py"

MUTANTS = (
    Mutant(
        "ended-unnoticed-stays",
        0,
        "a connection with TLS whose end NNG has not noticed is counted, and keeps its descriptor, for good",
        "transport/test_tls.py",
        (
            Edit(
                "raftx/transport/nng.py",
                "            pynng.lib.nng_pipe_close(pipe[0])\n        self._ended",
                "            pass\n        self._ended",
            ),
        ),
    ),
    Mutant(
        "copies-hide-who-is-silent",
        0,
        "a connection that says nothing stays when another node of the process looks at it in the same moment",
        "transport/test_silent.py",
        (Edit(SILENT, "    for fd in fds:\n", "    for fd in fds[:1]:\n"),),
    ),
    Mutant(
        "sender-not-its-connections",
        0,
        "a frame may name another sender than the member whose connection it came over",
        HOSTILE,
        (Edit(CODEC, "(self.connection not in (0, sender), _IDENTITY)", "(self.connection < 0, _IDENTITY)"),),
    ),
    Mutant(
        "name-with-a-tail",
        0,
        "a certificate's name may go on behind the member's id",
        MUTUAL,
        (
            Edit(
                IDENTITY,
                "NUMBER.fullmatch(digits) and int(digits)",
                "NUMBER.match(digits) and int(digits.split(b'/')[0])",
            ),
        ),
    ),
    Mutant(
        "two-names",
        0,
        "a certificate that names two members is the first one's",
        MUTUAL,
        (
            Edit(
                IDENTITY,
                "            if id and found and id != found:\n",
                "            if id and found and id == -1:\n",
            ),
        ),
    ),
    Mutant(
        "no-name-let-in",
        0,
        "a certificate of the same authority that names no member is let in",
        MUTUAL,
        (
            Edit(
                PYTHON,
                "            if member == 0:\n                self.arrivals",
                "            if member < 0:\n                self.arrivals",
            ),
        ),
    ),
    Mutant(
        "key-of-others",
        0,
        "a key that others can read is taken",
        MUTUAL,
        (Edit(TLS, "stat.S_IMODE(at.st_mode) & 0o077:", "stat.S_IMODE(at.st_mode) & 0:"),),
    ),
    Mutant(
        "own-name-not-looked-at",
        0,
        "a member starts with another one's certificate",
        MUTUAL,
        (Edit(TLS, "        self._check_name(own[0])\n", ""),),
    ),
    Mutant(
        "old-files-for-ever",
        0,
        "files that change are not read again",
        MUTUAL,
        (Edit(TLS, "if stamps not in (self.keys.stamp, self._tried):", "if not stamps:"),),
    ),
    Mutant(
        "warned-every-time",
        0,
        "that a certificate ends is said each second",
        MUTUAL,
        (Edit(TLS, "        self.warned = (end, min(due))\n", ""),),
    ),
    Mutant(
        "silent-for-ever",
        0,
        "connections that never come through their handshake are kept",
        MUTUAL,
        (Edit(SILENT, "made.shutdown(socket.SHUT_RDWR)", "made.fileno()"),),
    ),
    Mutant(
        "seal-of-the-header",
        0,
        "the records of a frame are not sealed",
        SEALS,
        (
            Edit(
                SEAL,
                "mac = hmac.new(self._keys[0], out[: size + SEAL_BYTES - _MAC_BYTES]",
                "mac = hmac.new(self._keys[0], out[: FRAME_HEADER]",
            ),
        ),
    ),
    Mutant(
        "seal-not-compared",
        0,
        "a frame needs the name of the key and not the key",
        SEALS,
        (Edit(SEAL, "if not hmac.compare_digest(mac[:_MAC_BYTES], code):", "if len(mac) < _MAC_BYTES:"),),
    ),
    Mutant(
        "frame-twice",
        0,
        "a frame that was taken may come again",
        SEALS,
        (Edit(SEAL, "if behind >= _WINDOW or seen >> behind & 1:", "if behind >= _WINDOW:"),),
    ),
    Mutant(
        "old-life-counts-anew",
        0,
        "frames of a life that is over let those of the present one come again",
        SEALS,
        (Edit(SEAL, "or incarnation > life:", "or incarnation != life:"),),
    ),
    Mutant(
        "refused-and-looked-at",
        0,
        "a frame without a seal is looked at all the same",
        KEYED,
        (
            Edit(SEALED, "        return self.refused\n", "        return 0\n"),
            Edit(SEALED, " if self.refused == 0 else 0", ""),
        ),
    ),
    Mutant(
        "open-to-all",
        0,
        "a member listens where others reach it, without a word",
        KEYED,
        (
            Edit(
                SOCKETS,
                "    return at.scheme in NAMED or is_loopback(at.host)",
                "    return at.host != 'x'",
            ),
        ),
    ),
    Mutant(
        "transfer-unasked",
        0,
        "votes that no transfer asked for depose a leader",
        HOSTILE,
        (
            Edit(
                "raftx/node/leases.py",
                "            return m.sender == self.core.transferee\n",
                "            return True\n",
            ),
        ),
    ),
    Mutant(
        "transfer-asks-first",
        0,
        "a pre-vote may override the lease",
        "consensus/test_admission.py",
        (
            Edit(
                ADMISSION,
                "            return REQUEST  # a transfer does not ask first\n",
                "            return ADMITTED\n",
            ),
        ),
    ),
    Mutant(
        "seals-of-others-count",
        0,
        "a frame that is passed on to a member that it is not for makes what is for it come late",
        "native/test_seal.py",
        (Edit("raftx/_native/seal.py", "        if self._id and (\n", "        if self._id < 0 and (\n"),),
    ),
)
