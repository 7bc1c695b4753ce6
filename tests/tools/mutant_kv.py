"""Mistakes in the key-value server. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

AUTH = "raftx/kv/auth.py"
CHORES = "raftx/kv/chores.py"
HTTP = "raftx/kv/http.py"
LEASE = "raftx/kv/leases.py"
MACHINE = "raftx/kv/machine.py"
SERVER = "raftx/kv/server.py"
SERVICE = "raftx/kv/service.py"
SNAPSHOTS = "raftx/kv/snapshots.py"
STORE = "raftx/kv/store.py"
TXN = "raftx/kv/txn.py"
WATCHES = "raftx/kv/watches.py"
WEB = "raftx/web.py"

ANSWERS = "kv/test_etcd_answers.py"
FACE = "kv/test_kv_http.py"
HOSTILE = "kv/test_kv_hostile.py"
SERVED = "kv/test_kv_serve.py"
STORED = "kv/test_kv_store.py"

MUTANTS = (
    Mutant(
        "lease-ends-by-an-old-renewal",
        0,
        "a lease ends although it was renewed since its end was proposed",
        STORED,
        (Edit(LEASE, "if lease is None or lease.renewed != renewed:", "if lease is None:"),),
    ),
    Mutant(
        "lease-ends-before-its-time",
        0,
        "a lease ends before its time has passed by the times of the entries",
        STORED,
        (
            Edit(
                LEASE,
                "return lease.since == 0 or now == 0 or now - lease.since >= lease.ttl * SECOND",
                "return True",
            ),
        ),
    ),
    Mutant(
        "lease-is-due-by-an-older-renewal",
        0,
        "a leader takes a lease for run out by the clock of a renewal before the last one",
        STORED,
        (Edit(LEASE, "lease.renewed == renewed and lease.seen + lease.ttl * SECOND <= now", "True"),),
    ),
    Mutant(
        "leases-do-not-begin-anew",
        0,
        "a new leader ends leases whose holders could not renew them while there was none",
        SERVED,
        (Edit(CHORES, "                    leases.restart(self._election_ns)\n", "                    pass\n"),),
    ),
    Mutant(
        "everybody-ends-leases",
        0,
        "a member that does not lead proposes the end of leases",
        SERVED,
        (
            Edit(
                CHORES, "            if not node.is_leader:\n                self._led = 0\n", "            if False:\n"
            ),
            Edit(CHORES, "                if not node.is_leader:\n                    continue\n", ""),
        ),
    ),
    Mutant(
        "compaction-takes-what-is-read",
        0,
        "the version that a key has at the compacted revision goes with the older ones",
        STORED,
        (Edit(STORE, "        if not history[keep].version:\n            keep += 1\n", "        keep += 1\n"),),
    ),
    Mutant(
        "version-goes-on-after-a-deletion",
        0,
        "a key that was deleted and put again goes on with its old version",
        STORED,
        (Edit(STORE, "    return there if there.version else None\n", "    return there\n"),),
    ),
    Mutant(
        "snapshot-has-what-came-later",
        0,
        "a snapshot has versions that were put after its moment",
        STORED,
        (Edit(SNAPSHOTS, "if each.mod > self._revision:", "if False:"),),
    ),
    Mutant(
        "compares-see-what-is-there",
        0,
        "a compare of the value of a key that is not there holds where it is to differ",
        ANSWERS,
        (
            Edit(
                TXN,
                'return compare.get("target", 0) != m.C_VALUE and _compare(compare, None)',
                "return _compare(compare, None)",
            ),
        ),
    ),
    Mutant(
        "counts-what-is-left",
        0,
        "a range counts what its bounds leave, and not what there is",
        ANSWERS,
        (
            Edit(
                TXN,
                "            versions = [each for each in versions if within(each, bound)]\n",
                "            versions = [each for each in versions if within(each, bound)]\n"
                "            count = len(versions)\n",
            ),
        ),
    ),
    Mutant(
        "put-meets-a-deletion",
        0,
        "a transaction puts a key that it deletes",
        ANSWERS,
        (Edit(TXN, "        if any(first <= key < end for first, end in self.deletes):", "        if False:"),),
    ),
    Mutant(
        "watch-begins-one-late",
        0,
        "a watch from a past revision begins behind it",
        FACE,
        (
            Edit(
                WATCHES,
                "            watch.next = watch.start\n        if",
                "            watch.next = watch.start + 1\n        if",
            ),
        ),
    ),
    Mutant(
        "watch-skips-what-is-compacted",
        0,
        "a watch whose place was compacted goes on as if nothing were missing",
        FACE,
        (Edit(WATCHES, "            if watch.next < store.compacted:", "            if False:"),),
    ),
    Mutant(
        "term-of-a-candidate",
        0,
        "a server tells of the term of a candidacy",
        FACE,
        (
            Edit(
                SERVICE,
                "return max(self.led_term, self.machine.term)",
                "return max(self.led_term, self.machine.term, self.node.term)",
            ),
        ),
    ),
    Mutant(
        "mistakes-are-500",
        0,
        "what went wrong in the server is told as 500, which clients do not try again",
        FACE,
        (
            Edit(
                HTTP,
                "    return TIMED_OUT()\n",
                "    return KvError(UNKNOWN, 'x')\n",
            ),
        ),
    ),
    Mutant(
        "documents-share-a-chunk",
        0,
        "a document of a stream is held back for the next one",
        FACE,
        (
            Edit(
                HTTP,
                '        body = js.text_of({"result": js.encode(type, message)}) + b"\\n"\n',
                '        body = js.text_of({"result": js.encode(type, message)})\n',
            ),
        ),
    ),
    Mutant(
        "limit-of-any-size",
        0,
        "a limit that is larger than any list ends the state machine, on every member",
        HOSTILE,
        (Edit(TXN, 'min(request.get("limit", 0), len(self.store.keys))', 'request.get("limit", 0)'),),
    ),
    Mutant(
        "watch-of-a-server-that-ends",
        0,
        "a watch that comes when all were closed is never closed",
        HOSTILE,
        (Edit(WATCHES, "            raise SERVER_STOPPED\n", "            pass\n"),),
    ),
    Mutant(
        "answers-without-an-end",
        0,
        "answers that a client does not read are kept, however many there are",
        HOSTILE,
        (Edit(WATCHES, "while len(self._answers) >= ANSWERS_MAX and", "while False and"),),
    ),
    Mutant(
        "watch-misses-what-was-written-without-any",
        0,
        "a watch that comes after writes of which nobody was to be told takes its place for one to come",
        HOSTILE,
        (Edit(WATCHES, "            self._look()  # nothing is gathered while there is none\n", ""),),
    ),
    Mutant(
        "watch-has-the-loop-for-itself",
        0,
        "a long history without anything for a watch holds up all requests",
        HOSTILE,
        (Edit(WATCHES, "                await asyncio.sleep(0)  # a long", "                # a long"),),
    ),
    Mutant(
        "token-outlives-a-password",
        0,
        "a token of a user whose password was changed is taken",
        HOSTILE,
        (Edit(AUTH, 'f"{said}\\0{stored}".encode()', "said.encode()"),),
    ),
    Mutant(
        "names-are-told-by-time",
        0,
        "a name that is not known is refused sooner, or later, than one that is",
        HOSTILE,
        (
            Edit(
                AUTH,
                "        if hashed is stored:\n",
                "        if name not in self._users:\n            scrypt_of(password)\n        if hashed is stored:\n",
            ),
        ),
    ),
    Mutant(
        "heads-without-an-end",
        0,
        "a head is read for as long as it comes",
        HOSTILE,
        (Edit(WEB, "if self._unfinished > HEAD_MAX and", "if False and"),),
    ),
    Mutant(
        "waits-although-it-is-alone",
        0,
        "a member that nobody else could be elected beside waits for an election timeout",
        SERVED,
        (Edit(SERVER, "                self._campaign_alone()\n", ""),),
    ),
    Mutant(
        "memory-without-an-end",
        0,
        "a client may put until there is no memory left, on every member",
        HOSTILE,
        (Edit(SERVICE, "> self.settings.quota_bytes and", "> 1 << 60 and"),),
    ),
    Mutant(
        "cut-off-requests-are-500",
        0,
        "a request that a server that stops can wait for no longer is told as 500",
        HOSTILE,
        (Edit(HTTP, "            await _fail(send, SERVER_STOPPED())  # it stops", "            raise  # it stops"),),
    ),
    Mutant(
        "clients-take-all-descriptors",
        0,
        "clients may take the descriptors that files and members need",
        HOSTILE,
        (Edit(WEB, "if len(self.connections) < most:", "if True:"),),
    ),
    Mutant(
        "restoring-holds-everybody-up",
        0,
        "requests wait while a snapshot is read",
        HOSTILE,
        (
            Edit(
                MACHINE,
                "        read = snapshots.read(reader)\n        with self.lock:\n",
                "        with self.lock:\n            read = snapshots.read(reader)\n",
            ),
        ),
    ),
)
