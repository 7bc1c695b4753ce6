"""Recipes under schedules of simulated nodes: commands at random, and a ledger of what must come of them. Not a test.

The ledger stands beside recipes as the user's own state machine would, so it goes through snapshots with them. It knows
what was acknowledged, and raises AssertionError where the objects say otherwise.
"""

from __future__ import annotations

import collections
import json

from tests.helpers.implementations import module
from tests.helpers.recipe_machine import judge

LEASES = [bytes([number]) * 16 for number in range(1, 5)]
TTLS = (100, 200, 500, 3000)  # milliseconds: a schedule lasts some seconds
PERIOD, BURST = 20_000_000, 3
EVERYBODY = 2**62
LIVE = 2**62  # in an ack: the token that whoever asks has, if there is one
#: kind, weights and limit of what is claimed
CLAIMS = (("lock", (1,), 1), ("rwlock", (1, 1, EVERYBODY), EVERYBODY), ("semaphore", (1,), 2), ("election", (1,), 1))
CLAIMS += (("party", (1,), EVERYBODY), ("lock", (1,), 1))


class Ledger:
    """What was acknowledged."""

    def __init__(self):
        self.counters = collections.Counter()
        self.put, self.acked = set(), set()
        self.values, self.revision = {}, 0
        self.token = 0
        #: when each lease was renewed, and for how long
        self.renewed = {}
        #: when what a rate limiter has allowed may begin
        self.begun = []
        #: what each request has taken from another one: how many, and when they begin
        self.requests = {}
        self.counts = collections.Counter()
        self.own = 0

    def apply(self, entry):
        self.own += 1
        return self.own

    def snapshot(self):
        renewed = {id.hex(): times for id, times in self.renewed.items()}
        parts = [dict(self.counters), sorted(self.put), sorted(self.acked), self.token, renewed, self.begun, self.own]
        return json.dumps([*parts, self.values, self.revision, self.requests]).encode()

    def restore(self, reader):
        counters, put, acked, self.token, renewed, self.begun, self.own, *rest = json.loads(reader.read())
        self.values, self.revision, self.requests = rest
        self.counters, self.put, self.acked = collections.Counter(counters), set(put), set(acked)
        self.renewed = {bytes.fromhex(id): times for id, times in renewed.items()}

    def digest(self):
        return self.snapshot()

    def note(self, machine, command, result, time):
        """A command has come to this."""
        do, code = command[0], result[0]
        self.counts[do, code] += 1
        if code == "ok":
            getattr(self, f"note_{do}", lambda *_: None)(command[1:], result, time)
        for token in machine.fences.keys() - set(range(self.token + 1)):
            assert token > self.token
        assert machine.counted >= self.token, "tokens go back"
        self.token = machine.counted

    def leases(self, machine, ended, time):
        """Those that are gone were not renewed for their time."""
        for id, (since, ttl) in list(self.renewed.items()):
            if id not in machine.leases.by_id:
                assert id == ended or time - since > ttl, f"a lease of {ttl} ns ran out after {time - since}"
                self.counts["lease", "ended" if id == ended else "expired"] += 1
                del self.renewed[id]

    def note_open(self, arguments, result, time):
        id, ttl = arguments
        before = self.renewed.get(id)
        self.renewed[id] = [time, before[1] if before else ttl * 1_000_000]

    def note_keep(self, arguments, result, time):
        self.renewed[arguments[0]][0] = time

    def note_add(self, arguments, result, time):
        self.counters[arguments[0]] += arguments[1]
        assert result[1] == self.counters[arguments[0]], "a counter is not the sum of what was added"

    def note_update(self, arguments, result, time):
        for key, value, expected in arguments[1]:
            version = self.values.get(key, (None, 0))[1]
            assert expected is None or expected == version, "an update was done whose versions differ"
            if value is not None:
                self.revision += 1
                self.values[key] = [value.hex(), self.revision]
            elif self.values.pop(key, None) is not None:
                self.revision += 1
        assert result[1] == self.revision

    def note_push(self, arguments, result, time):
        assert result[1] not in self.put, "two items have one number"
        self.put.add(result[1])

    def note_take(self, arguments, result, time):
        self.begun += [time + result[1]] * arguments[3]
        self.begun = self.begun[-40:]
        assert self.begun == sorted(self.begun), "whoever came later was served earlier"
        for first in range(len(self.begun) - BURST):
            spell = self.begun[-1] - self.begun[first]
            assert len(self.begun) - first <= BURST + spell / PERIOD + 1e-6, "a rate limiter is above its rate"

    def note_once(self, arguments, result, time):
        # A schedule is shorter than requests are known.
        count, request, begins = arguments[3], arguments[5], time + result[1]
        if request in self.requests:
            self.counts["once", "again"] += 1
            before, then = self.requests[request]
            assert (count, begins) == (before, max(then, time)), "a request has taken tokens twice"
        else:
            self.requests[request] = [count, begins]
        taken = sum(count for count, _ in self.requests.values())
        first = min(begins for _, begins in self.requests.values())
        last = max(begins for _, begins in self.requests.values())
        assert taken <= BURST + (last - first) / PERIOD + 1e-6, "requests are above their rate"


class Judged:
    """The state machine of a simulated node. A command has some of recipes, each behind its length, and a tag."""

    def __init__(self, impl):
        self.entry_of = impl.Entry
        commands = module(impl, "recipes.commands")
        self.encode, self.decode = commands.encode, commands.decode
        self.ledger = Ledger()
        self.recipes = module(impl, "recipes").Recipes(self.ledger)
        self.snapshot, self.restore = self.recipes.snapshot, self.recipes.restore
        self.version = self.recipes.version

    def apply(self, entry):
        """Several commands at the same time, each as an entry of its own would be."""
        data, results = entry.data.rpartition(b"#")[0], []
        while data:
            size = int.from_bytes(data[:2], "little")
            results.append(self.apply_one(self.entry_of(entry.index, entry.term, data[2 : 2 + size], time=entry.time)))
            data = data[2 + size :]
        return results

    def apply_one(self, entry):
        command = self.decode(entry.data)
        machine, ledger = self.recipes, self.ledger
        if command[0] == "ack" and command[4] == LIVE:
            token = machine.find("queue", "q").holds(command[2:4]) or 1
            command = (*command[:4], token)
            entry = self.entry_of(entry.index, entry.term, self.encode(*command), time=entry.time)
        flying = self.flying()
        result = machine.apply(entry)
        judge(machine)
        ended = None
        if isinstance(command, tuple):
            if command[0] == "end" and result == ("ok",):
                ended = command[1]
            if command[0] == "ack" and result == ("ok",):
                number = flying[command[2], command[3]]
                assert number not in ledger.acked, "an item was acknowledged twice"
                ledger.acked.add(number)
            self.leases_then(command, result, ended, entry.time)
        values = machine.find("dict", "d").values
        assert {key: [value.hex(), version] for key, (value, version) in values.items()} == ledger.values
        items = machine.find("queue", "q").items
        assert ledger.put - ledger.acked == set(items), "an item is lost, or came back"
        return result

    def leases_then(self, command, result, ended, time):
        # A lease that ran out and was opened again in the same entry is a new one.
        if command[0] == "open" and result == ("ok",):
            since, ttl = self.ledger.renewed.get(command[1], (0, 0))
            if self.ledger.renewed and self.recipes.leases.by_id[command[1]].ttl != ttl:
                assert not since or time - since > ttl
                self.ledger.renewed.pop(command[1], None)
        self.ledger.note(self.recipes, command, result, time)
        self.ledger.leases(self.recipes, ended, time)

    def flying(self):
        return {key: number for key, (number, _) in self.recipes.find("queue", "q").flying.items()}

    def digest(self):
        return self.recipes.digest()


def command_of(impl):
    """Makes commands for ``Application``."""
    commands = module(impl, "recipes.commands")

    def command(rng, tag, size):
        those = [draw(rng, commands) for _ in range(rng.randint(1, 12))]
        return b"".join(len(each).to_bytes(2, "little") + each for each in those) + b"#" + tag

    return command


def draw(rng, commands):
    encode, id, claim = commands.encode, rng.choice(LEASES), rng.randint(1, 3)
    token = rng.choice((None, None, rng.randint(1, 60)))
    kind = rng.random()
    if kind < 0.18:
        return encode("open", id, rng.choice(TTLS))
    if kind < 0.26:
        return encode("keep", id)
    if kind < 0.28:
        return encode("end", id)
    if kind < 0.5:
        what, weights, limit = rng.choice(CLAIMS)
        limit = limit if rng.random() < 0.95 else limit + (limit < EVERYBODY)
        weight = rng.choice(weights)
        return encode("claim", what, rng.choice("xy"), id, claim, weight, limit, rng.random() < 0.8, b"N")
    if kind < 0.6:
        kinds = ("lock", "rwlock", "semaphore", "election", "party", "queue", "barrier")
        what = rng.choice(kinds)
        name = {"queue": "q", "barrier": rng.choice("bc")}.get(what) or rng.choice("xy")
        return encode(rng.choice(("leave", "cancel")), what, name, id, claim)
    if kind < 0.66:
        return encode("push", "q", rng.randbytes(rng.randint(0, 50)), 20, token)
    if kind < 0.76:
        return encode("pull", "q", id, claim, rng.random() < 0.5)
    if kind < 0.82:
        return encode("ack", "q", id, claim, rng.choice((LIVE, LIVE, rng.randint(1, 80))))
    if kind < 0.86:
        name, parties, double = rng.choice((("b", 2, True), ("c", 3, False)))
        if rng.random() < 0.6:
            return encode("arrive", name, id, claim, parties, double)
        return encode("depart", name, id, claim)
    if kind < 0.9:
        return encode("add", rng.choice("cd"), rng.randint(-5, 5), token)
    if kind < 0.94:
        changes = {rng.choice("abcd"): rng.choice((None, rng.randbytes(8))) for _ in range(rng.randint(1, 4))}
        expected = rng.choice((None, None, 0, rng.randint(1, 40)))
        return encode("update", "d", tuple((key, value, expected) for key, value in changes.items()), token)
    if kind < 0.96:
        return encode("take", "r", PERIOD, BURST, rng.randint(1, BURST), rng.choice((0, PERIOD, 10**12)))
    if kind < 0.98:
        # As many requests as come again now and then, and always the same number with one of them, or nearly.
        request = rng.randint(0, 20)
        count, patience = request % BURST + 1, rng.choice((0, PERIOD, 10**12))
        count = count if rng.random() < 0.9 else rng.randint(1, BURST)
        return encode("once", "o", PERIOD, BURST, count, patience, f"request {request}")
    return rng.choice((encode("tick"), commands.MAGIC + rng.randbytes(9), b"a command of the user's own"))
