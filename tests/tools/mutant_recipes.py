"""Mistakes in recipes. A part of the list for mutants.py."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

HUB = "raftx/recipes/hub.py"
HELD = "raftx/recipes/held.py"
LEASE = "raftx/recipes/leases.py"
LINE = "raftx/recipes/lines.py"
MACHINE = "raftx/recipes/machine.py"
STORES = "raftx/recipes/stores.py"

CLIENTS = "recipes/test_clients.py"
LEASES = "recipes/test_leases.py"
LIMITERS = "recipes/test_rate_limiters.py"
MACHINES = "recipes/test_machine.py"
OWN = "recipes/test_own_machine.py"

MUTANTS = (
    Mutant(
        "tokens-come-again",
        0,
        "a fencing token is given a second time, to a later holder",
        MACHINES,
        (Edit(MACHINE, "        self.counted += 1\n", "        self.counted = len(self.fences) + 1\n"),),
    ),
    Mutant(
        "released-token-is-in-force",
        0,
        "who has released a lock may write with its token",
        MACHINES,
        (
            Edit(
                MACHINE,
                '            return ("gone",)\n        self.fences.pop(token, None)\n',
                '            return ("gone",)\n',
            ),
        ),
    ),
    Mutant(
        "lost-token-is-in-force",
        0,
        "whose lease has run out may write with its token",
        LEASES,
        (
            Edit(
                MACHINE,
                "                self.fences.pop(there.drop((id, claim)), None)\n",
                "                there.drop((id, claim))\n",
            ),
        ),
    ),
    Mutant(
        "readers-overtake",
        0,
        "who comes later gets what is free before the one who waits for more",
        MACHINES,
        (
            Edit(
                LINE,
                "        if not self.waiters and self.taken + weight <= self.limit:\n",
                "        if self.taken + weight <= self.limit:\n",
            ),
        ),
    ),
    Mutant(
        "standing-time-counts",
        0,
        "a lease that was renewed while a new leader did not know the time runs out with the jump of time",
        LEASES,
        (
            Edit(
                LEASE,
                "        self.sure = later and term == self.term and time > 0\n",
                "        self.sure = time > 0\n",
            ),
        ),
    ),
    Mutant(
        "leases-run-out-in-any-order",
        0,
        "of several leases that are over, the one that was opened first goes first",
        LEASES,
        (
            Edit(
                LEASE,
                "                return id, self.by_id.pop(id)\n",
                "                those = self.by_id.items()\n"
                "                id = min([id, *[i for i, e in those if 0 < e.used < self.now - e.ttl]])\n"
                "                return id, self.by_id.pop(id)\n",
            ),
        ),
    ),
    Mutant(
        "half-an-update",
        0,
        "an update changes what is in front of the key whose version differs",
        MACHINES,
        (
            Edit(
                STORES,
                '                return "version", key, found\n        for key, value, _ in changes:\n'
                "            self._change(key, value)\n",
                '                return "version", key, found\n            self._change(key, _)\n',
            ),
        ),
    ),
    Mutant(
        "revisions-begin-anew",
        0,
        "a dict without keys is forgotten, and its versions come again",
        MACHINES,
        (Edit(STORES, "        return self.revision == 0\n", "        return not self.values\n"),),
    ),
    Mutant(
        "late-acknowledgement-counts",
        0,
        "who had an item before acknowledges it for whoever works on it now",
        MACHINES,
        (
            Edit(
                STORES,
                "        if flying is None or flying[1] != token:\n",
                "        flying = flying or next(iter(self.flying.values()), None)\n        if flying is None:\n",
            ),
            Edit(
                STORES,
                "        del self.flying[key]\n        del self.items",
                "        self.flying.pop(key, None)\n        del self.items",
            ),
        ),
    ),
    Mutant(
        "item-dies-with-its-worker",
        0,
        "an item is nobody's when who worked on it is gone",
        MACHINES,
        (
            Edit(
                STORES,
                "            heapq.heappush(self.ready, flying[0])\n            return flying[1]\n",
                "            return flying[1]\n",
            ),
        ),
    ),
    Mutant(
        "what-is-lent-is-not-counted",
        0,
        "a rate limiter forgets what it has lent",
        MACHINES,
        (
            Edit(
                STORES,
                "        self.full_at = max(self.full_at, now) + count * period\n",
                "        self.full_at = min(max(self.full_at, now) + count * period, now + burst * period)\n",
            ),
        ),
    ),
    Mutant(
        "a-request-takes-twice",
        0,
        "a request of a limiter that comes again takes its tokens again",
        LIMITERS,
        (Edit(MACHINE, "        known = self.answers.get(key, now)\n", "        known = None\n"),),
    ),
    Mutant(
        "requests-are-forgotten-too-early",
        0,
        "what a request has taken is known from when it was asked, and not from when it has fallen in",
        LIMITERS,
        (
            Edit(
                MACHINE,
                "self.answers.keep(key, Answer(count, result[2], now + result[1]))\n",
                "self.answers.keep(key, Answer(count, result[2], now))\n",
            ),
        ),
    ),
    Mutant(
        "requests-are-not-in-snapshots",
        0,
        "a member that was restored takes tokens again for requests that came before",
        LIMITERS,
        (
            Edit(
                MACHINE,
                "            return records + [(ANSWER, *each) for each in self.answers.records()]\n",
                "            return records\n",
            ),
        ),
    ),
    Mutant(
        "restored-members-forget-at-another-time",
        0,
        "which requests are forgotten depends on what the member has gone through since its start",
        LIMITERS,
        (
            Edit(
                STORES,
                "                del self.known[key]\n                most -= 1\n",
                "                del self.known[key]\n            most -= 1\n",
            ),
        ),
    ),
    Mutant(
        "refusals-stay",
        0,
        "a request that was refused is remembered as one that was allowed",
        LIMITERS,
        (
            Edit(
                MACHINE,
                '        if result[0] == "ok":\n            self.answers.keep(',
                '        if result[0] in ("ok", "later"):\n            self.answers.keep(',
            ),
        ),
    ),
    Mutant(
        "tokens-begin-anew-behind-a-snapshot",
        0,
        "a member that was restored gives tokens that were given before",
        OWN,
        (
            Edit(
                MACHINE,
                "            self.leases.now, self.leases.term, self.counted = rest\n",
                "            self.leases.now, self.leases.term, _ = rest\n",
            ),
        ),
    ),
    Mutant(
        "order-of-a-lease-is-not-kept",
        0,
        "what a lease had is given to others in the order in which it came, which a snapshot does not have",
        OWN,
        (Edit(MACHINE, "in sorted(lease.held):\n", "in lease.held:\n"),),
    ),
    Mutant(
        "time-stands-within-a-batch",
        0,
        "a state machine of the user's own sees in a batch what was in force behind it",
        OWN,
        (Edit(MACHINE, "            if self.leases.changes_at(entry.time):\n                flush()\n", ""),),
    ),
    Mutant(
        "holder-learns-too-late",
        0,
        "a client relies on its lease for longer than the cluster does",
        CLIENTS,
        (Edit(HUB, "sent + self.ttl * 2 // 3)\n", "sent + self.ttl * 2)\n"),),
    ),
    Mutant(
        "nobody-brings-the-time",
        0,
        "who waits relies on others to propose something",
        CLIENTS,
        (
            Edit(
                HUB,
                "        if not self._waiting:\n            return None\n        machine",
                "        return None\n        machine",
            ),
        ),
    ),
    Mutant(
        "claims-are-left-behind",
        0,
        "one that stops waiting keeps its place in the line",
        CLIENTS,
        (
            Edit(
                HELD,
                "            self.hub.abandon(holding)\n            raise\n        if not token:",
                "            self.hub.drop(holding)\n            raise\n        if not token:",
            ),
        ),
    ),
    Mutant(
        "watch-skips",
        0,
        "a watch leaves out the first change behind its revision",
        CLIENTS,
        (
            Edit(
                STORES,
                "        first = max(0, len(self.history) - (self.revision - revision))\n",
                "        first = max(0, len(self.history) - (self.revision - revision) + 1)\n",
            ),
        ),
    ),
)
