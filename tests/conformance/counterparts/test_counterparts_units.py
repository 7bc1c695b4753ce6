"""Windows, progress, quorums, memberships, messages, errors: counterparts of etcd's and raft-rs's unit tests of them.

A peer's transitions are functions that compiled code keeps to itself: they run in the interpreted mode, and in both
through a leader in test_tracker.py. Everything else runs in both.
"""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest

from interop import describe
from raftx import types
from raftx.types import (
    LOCAL_KINDS,
    MSG_APP,
    MSG_APP_RESP,
    PROBE,
    REPLICATE,
    RESPONSE_KINDS,
    SNAPSHOT,
    TRANSITION_AUTO,
    TRANSITION_EXPLICIT,
    TRANSITION_IMPLICIT,
)
from tests.helpers.core_log import RECORD, log_of
from tests.helpers.core_net import Member, leader
from tests.helpers.implementations import IMPLEMENTATIONS, module

PURE = IMPLEMENTATIONS["pure"]
SLOT = 1

# --- windows --------------------------------------------------------------------------------------


def window(impl: ModuleType, capacity: int = 10, max_bytes: int = 0, used: int = 0) -> Any:
    """A window; ``used`` appends went through it before, so that its ring begins elsewhere."""
    made = module(impl, "_core").Inflights(capacity, max_bytes)
    for index in range(used):
        made.py_add(SLOT, index, 1)
        made.py_free_to(SLOT, index)
    return made


def add(made: Any, low: int, high: int) -> None:
    """Appends that end at low .. high - 1, of 100 and more bytes."""
    for index in range(low, high):
        made.py_add(SLOT, index, 100 + index)


def holds(made: Any, low: int, high: int) -> bool:
    """Whether it holds the appends that end at low .. high - 1, and their bytes."""
    expected = [(index, 100 + index) for index in range(low, high)]
    totals = (len(expected), sum([size for _, size in expected]))
    return made.contents(SLOT) == expected and (made.count_of(SLOT), made.bytes_of(SLOT)) == totals


@pytest.mark.parametrize("used", [0, 5])
def test_inflights_add(impl: ModuleType, used: int) -> None:
    """InflightsAdd, inflight_add: oldest first, wherever its ring begins."""
    made = window(impl, used=used)
    add(made, 0, 5)
    assert holds(made, 0, 5)
    add(made, 5, 10)
    assert holds(made, 0, 10)
    assert made.py_full(SLOT)


def test_inflight_free_to(impl: ModuleType) -> None:
    """All up to an index are forgotten, also around the end of the ring."""
    made = window(impl)
    add(made, 0, 10)
    for index in (0, 4, 8):
        made.py_free_to(SLOT, index)
        assert holds(made, index + 1, 10)
    add(made, 10, 15)
    for index in (12, 14):
        made.py_free_to(SLOT, index)
        assert holds(made, index + 1, 15)


def test_inflight_free_first_one(impl: ModuleType) -> None:
    """The oldest alone goes by its own index; etcd and raftx have no function for that."""
    made = window(impl)
    add(made, 0, 10)
    made.py_free_to(SLOT, made.contents(SLOT)[0][0])
    assert holds(made, 1, 10)


@pytest.mark.parametrize(
    ("capacity", "max_bytes", "full_at", "free", "again_at"),
    [
        (0, 0, 0, 0, 0),
        (1, 0, 1, 1, 2),
        (1, 10, 1, 1, 2),
        (15, 0, 15, 6, 22),
        (8, 400, 4, 2, 7),
        (8, 406, 4, 3, 8),
        (15, 408, 5, 1, 6),
    ],
)
def test_inflights_full(
    impl: ModuleType, capacity: int, max_bytes: int, full_at: int, free: int, again_at: int
) -> None:
    """Full by the number of appends or by their bytes, which the last one may exceed; then nothing may be added."""
    made = window(impl, max(capacity, 1), max_bytes)
    made.set_capacity(SLOT, capacity)
    for low, high in ((0, full_at), (full_at, again_at)):
        for index in range(low, high):
            assert not made.py_full(SLOT)
            add(made, index, index + 1)
        assert made.py_full(SLOT)
        if low == 0:
            made.py_free_to(SLOT, free)
    with pytest.raises(impl.Corruption):
        made.py_add(SLOT, 100, 1024)


def test_inflights_reset(impl: ModuleType) -> None:
    """Emptied a hundred times, it has as much room as in the beginning: no bytes are left over."""
    made = window(impl, 10, 1000)
    index = 0
    for _ in range(100):
        made.py_reset(SLOT)
        for _ in range(5):
            assert not made.py_full(SLOT)
            index += 1
            made.py_add(SLOT, index, 16)
        made.py_free_to(SLOT, index - 2)
        assert not made.py_full(SLOT)
        assert (made.count_of(SLOT), made.bytes_of(SLOT)) == (2, 32)
    made.py_free_to(SLOT, index)
    assert (made.count_of(SLOT), made.bytes_of(SLOT)) == (0, 0)


@pytest.mark.parametrize("used", [16, 112, 120])
def test_inflights_set_cap(impl: ModuleType, used: int) -> None:
    """Another capacity keeps what is in flight. A smaller one lets nothing in until there is room in it again.

    raft-rs keeps the old one until its window is empty; here it holds at once.
    """
    made = window(impl, 128, used=used)
    add(made, 0, 16)
    made.set_capacity(SLOT, 1024)
    assert holds(made, 0, 16)
    add(made, 16, 1024)
    assert holds(made, 0, 1024) and made.py_full(SLOT)
    made.set_capacity(SLOT, 64)
    assert holds(made, 0, 1024) and made.py_full(SLOT)
    made.py_free_to(SLOT, 959)
    assert holds(made, 960, 1024) and made.py_full(SLOT)
    made.py_free_to(SLOT, 960)
    assert not made.py_full(SLOT)
    made.py_add(SLOT, 1024, 1)
    assert made.py_full(SLOT)
    made.py_free_to(SLOT, 1024)
    made.set_capacity(SLOT, 128)
    add(made, 0, 128)
    assert holds(made, 0, 128) and made.py_full(SLOT)


# --- progress -------------------------------------------------------------------------------------


def tracked(state: int, match: int, next: int, *, pending: int = 0, paused: bool = False) -> Any:
    """An interpreted Tracker of three; what it knows of the member in SLOT."""
    made = module(PURE, "consensus.tracker").Tracker(PURE.ConfState((1, 2, 3)), 256, 0)
    made.reset_progress(SLOT, match, match + 1)
    made.peers.next[SLOT] = next
    made.peers.state[SLOT] = state
    made.peers.pending_snapshot[SLOT] = pending
    made.peers.set_paused(SLOT, paused)
    return made


def place(made: Any) -> tuple[int, int, int]:
    """(state, match, next)"""
    return made.peers.state[SLOT], made.peers.match[SLOT], made.peers.next[SLOT]


@pytest.mark.once
def test_progress_string() -> None:
    """Everything about a member in one line."""
    text = describe.progress(
        1, 2, SNAPSHOT, learner=True, paused=True, pending_snapshot=123, recent_active=False, inflight=1, full=True
    )
    assert text == "StateSnapshot match=1 next=2 learner paused pendingSnap=123 inactive inflight=1[full]"


@pytest.mark.once
@pytest.mark.parametrize(
    ("state", "flag", "paused"),
    [
        (PROBE, False, False),
        (PROBE, True, True),
        (REPLICATE, False, False),
        (REPLICATE, True, True),
        (SNAPSHOT, False, True),
        (SNAPSHOT, True, True),
    ],
)
def test_progress_is_paused(state: int, flag: bool, paused: bool) -> None:
    """As in etcd, where the flag also says that the window is full; raft-rs looks at the window instead."""
    assert bool(tracked(state, 0, 1, paused=flag).is_paused(SLOT)) is paused


@pytest.mark.once
def test_progress_resume() -> None:
    """A refusal of the last probe and an acknowledgement both let the next append go."""
    made = tracked(PROBE, 0, 2, paused=True)
    assert made.maybe_decrease(SLOT, 1, 1) and not made.is_paused(SLOT)
    made.peers.set_paused(SLOT, True)
    assert made.maybe_update(SLOT, 2) and not made.is_paused(SLOT)


@pytest.mark.once
@pytest.mark.parametrize(("state", "pending", "next"), [(REPLICATE, 0, 2), (SNAPSHOT, 10, 11), (SNAPSHOT, 0, 2)])
def test_progress_become_probe(state: int, pending: int, next: int) -> None:
    """Probing begins behind what was acknowledged, and behind a snapshot that may have arrived."""
    made = tracked(state, 1, 5, pending=pending)
    made.become_probe(SLOT)
    assert place(made) == (PROBE, 1, next)


@pytest.mark.once
def test_progress_become_replicate() -> None:
    """The pipeline begins behind what was acknowledged."""
    made = tracked(PROBE, 1, 5)
    made.become_replicate(SLOT)
    assert place(made) == (REPLICATE, 1, 2)


@pytest.mark.once
def test_progress_become_snapshot() -> None:
    """What is on its way is noted, and what was acknowledged stays."""
    made = tracked(PROBE, 1, 5)
    made.become_snapshot(SLOT, 10)
    assert place(made) == (SNAPSHOT, 1, 11)
    assert made.peers.pending_snapshot[SLOT] == 10


@pytest.mark.once
@pytest.mark.parametrize(
    ("index", "match", "next", "news"), [(2, 3, 5, False), (3, 3, 5, False), (4, 4, 5, True), (5, 5, 6, True)]
)
def test_progress_update(index: int, match: int, next: int, news: bool) -> None:
    """An acknowledgement takes neither match nor next back."""
    made = tracked(PROBE, 3, 5)
    assert bool(made.maybe_update(SLOT, index)) is news
    assert place(made) == (PROBE, match, next)


@pytest.mark.once
@pytest.mark.parametrize(
    ("state", "match", "next", "rejected", "hint", "taken", "then"),
    [
        (REPLICATE, 5, 10, 5, 5, False, 10),
        (REPLICATE, 5, 10, 4, 4, False, 10),
        (REPLICATE, 5, 10, 9, 9, True, 6),
        (PROBE, 0, 0, 0, 0, False, 0),
        (PROBE, 0, 10, 5, 5, False, 10),
        (PROBE, 0, 10, 9, 9, True, 9),
        (PROBE, 0, 2, 1, 1, True, 1),
        (PROBE, 0, 1, 0, 0, True, 1),
        (PROBE, 0, 10, 9, 2, True, 3),
        (PROBE, 0, 10, 9, 0, True, 1),
    ],
)
def test_progress_maybe_decr(
    state: int, match: int, next: int, rejected: int, hint: int, taken: bool, then: int
) -> None:
    """A refusal that is not stale takes next back, to the hint at most and not behind what was acknowledged."""
    made = tracked(state, match, next)
    assert bool(made.maybe_decrease(SLOT, rejected, hint)) is taken
    assert place(made) == (state, match, then)


# --- quorums and memberships ----------------------------------------------------------------------


def test_quick_majority_committed_index(impl: ModuleType) -> None:
    """TestQuick: what a majority has, against counting who has at least each index."""
    committed = module(impl, "consensus.quorum").py_committed_index
    dice = random.Random(5)
    for _ in range(2000):
        voters = dice.sample(range(1, 19), dice.randrange(1, 10))
        matches = {id: dice.randrange(9) for id in range(1, 19)}
        indexes = {0, *matches.values()}
        need = len(voters) // 2 + 1
        most = max([at for at in indexes if at == 0 or sum([matches[id] >= at for id in voters]) >= need])
        assert committed(voters, [], matches)[0] == most


def as_values(result: tuple[Any, dict[int, Any]]) -> Any:
    """A configuration and its progress, for comparing."""
    conf, progress = result
    return conf, sorted([(id, each.match, each.next, each.learner) for id, each in progress.items()])


def test_conf_change_quick(impl: ModuleType) -> None:
    """Random changes in one joint step, left by itself or not, and one by one come to the same."""
    dice = random.Random(9)
    code, values = module(impl, "consensus.confchange"), module(impl, "types")
    for _ in range(300):
        state: tuple[Any, dict[int, Any]] = (values.ConfState(), {})
        for word in ["v1", *[f"v{dice.randint(1, 5)}" for _ in range(dice.randint(1, 5))]]:
            state = code.Changer(*state, 10).simple(values.ConfChange.parse(word).changes)
        words = [f"{dice.choice('vrul')}{dice.randint(2, 10)}" for _ in range(dice.randint(1, 9))]
        changes = values.ConfChange.parse(" ".join(words)).changes
        ends = []
        for auto_leave in (False, True):
            joint = code.Changer(*state, 10).enter_joint(auto_leave, changes)
            assert joint[0].auto_leave is auto_leave and joint[0].voters_outgoing == state[0].voters
            ends.append(as_values(code.Changer(*joint, 10).leave_joint()))
        for change in changes:
            state = code.Changer(*state, 10).simple((change,))
        assert ends == [as_values(state)] * 2, words


def some_membership(impl: ModuleType, dice: random.Random) -> Any:
    """Voters, learners, and perhaps the voters of before, some of whom are to be learners."""
    voters, learners, gone = dice.randint(1, 5), dice.randint(0, 4), dice.randint(0, 2)
    ids = dice.sample(range(1, 2 * (voters + learners + gone) + 1), voters + learners + gone)
    incoming, rest = ids[:voters], ids[voters:]
    outgoing = incoming[: dice.randint(0, voters)] + rest[learners:]
    staged = rest[learners : learners + dice.randint(0, gone)]
    sets = [tuple(sorted(each)) for each in (incoming, rest[:learners], outgoing, staged)]
    return impl.ConfState(*sets, auto_leave=bool(outgoing) and dice.random() < 0.5)


def test_restore_memberships(impl: ModuleType) -> None:
    """A node that begins with a membership has exactly that one, joint or not."""
    dice = random.Random(13)
    fixed = [
        impl.ConfState(),
        impl.ConfState((1, 2, 3)),
        impl.ConfState((1, 2, 3), (4, 5, 6)),
        impl.ConfState((1, 2, 3), (5,), (1, 2, 4, 6), (4,)),
    ]
    for conf in [*fixed, *[some_membership(impl, dice) for _ in range(300)]]:
        node = impl.RawNode(impl.Config(id=1), conf_state=conf)
        assert node.core.tracker.conf_state() == conf
        assert impl.ConfState.decode(conf.encode()) == (conf, b"")


@pytest.mark.parametrize(
    ("text", "transition", "leaves"),
    [
        ("", TRANSITION_AUTO, True),
        ("v1", TRANSITION_AUTO, False),
        ("v1 r2", TRANSITION_AUTO, False),
        ("", TRANSITION_IMPLICIT, False),
        ("", TRANSITION_EXPLICIT, False),
    ],
)
@pytest.mark.parametrize("context", [b"", b"some context"])
def test_leave_joint(impl: ModuleType, text: str, transition: int, leaves: bool, context: bytes) -> None:
    """A change of nothing ends a joint configuration, whatever its context, unless it asks for one."""
    changes = impl.ConfChange.parse(text).changes
    assert impl.ConfChange(changes, transition, context).leaves_joint is leaves


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (((1, 2, 3), (5, 4, 6), (9, 8, 7), (10, 20, 15)), ((1, 2, 3), (4, 5, 6), (7, 9, 8), (20, 10, 15)), True),
        (((),), (), True),
        (((1, 2, 3, 4),), ((2, 1, 3),), False),
        (((1, 4, 3),), ((2, 1, 3),), False),
        (((1, 2, 3), (4,)), ((1, 2, 3), (5,)), False),
        (((), (), (), (), True), (), False),
    ],
)
def test_conf_state_equivalent(impl: ModuleType, one: tuple[Any, ...], other: tuple[Any, ...], equal: bool) -> None:
    """ConfState_Equivalent: in whatever order the ids are given, a membership has one form when it is written."""
    assert (impl.ConfState(*one).encode() == impl.ConfState(*other).encode()) is equal


# --- entries and messages -------------------------------------------------------------------------


def test_describe_entry(impl: ModuleType) -> None:
    """Term, index, kind and data, with what cannot be printed escaped."""
    entry = impl.Entry(2, 1, b"hello\x00world")
    assert describe.entry(entry, impl.ConfChange.decode) == '1/2 EntryNormal "hello\\x00world"'


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        (2**40, 3),
        (0, 1),
        (2 * RECORD, 2),
        (2 * RECORD + RECORD // 2, 2),
        (3 * RECORD - 1, 2),
        (3 * RECORD, 3),
    ],
)
def test_limit_size(impl: ModuleType, limit: int, count: int) -> None:
    """As many entries as fit, and always the first."""
    log = log_of(impl, [4, 5, 6], 4, 3)
    assert log.py_limit(4, 6, limit) == 3 + count
    assert count == 1 or len(log.records(4, 3 + count)) <= limit


#: Of etcd's kinds: those that a member only sends itself, the answers, and the rest.
STORAGE_ANSWERS = "STORAGE_APPEND_RESP STORAGE_APPLY_RESP"
LOCAL = f"HUP BEAT UNREACHABLE SNAP_STATUS CHECK_QUORUM STORAGE_APPEND STORAGE_APPLY {STORAGE_ANSWERS}"
ANSWERS = f"UNREACHABLE APP_RESP VOTE_RESP HEARTBEAT_RESP READ_INDEX_RESP PRE_VOTE_RESP {STORAGE_ANSWERS}"
OTHERS = "TRANSFER_LEADER PROP APP VOTE SNAP HEARTBEAT TIMEOUT_NOW READ_INDEX PRE_VOTE"


def kind(name: str) -> int:
    """The number of a kind of message."""
    value: int = getattr(types, f"MSG_{name}")
    return value


@pytest.mark.parametrize("name", sorted({*LOCAL.split(), *ANSWERS.split(), *OTHERS.split()}))
def test_is_local_msg(impl: ModuleType, name: str) -> None:
    """What only the node itself may produce, and ``step`` refuses from anybody else."""
    local = name in LOCAL.split()
    assert (kind(name) in LOCAL_KINDS) is local
    member = Member(impl)
    before = member.node.status()
    message = impl.Message(kind(name), to=1, sender=2, term=0)
    if local:
        with pytest.raises(impl.StepLocalMessage):
            member.node.step(message)
        assert member.node.status() == before
    elif name not in ("PROP", "SNAP"):  # those want something in them
        member.node.step(message)


@pytest.mark.parametrize("name", sorted({*LOCAL.split(), *ANSWERS.split(), *OTHERS.split()}))
def test_is_response_msg(impl: ModuleType, name: str) -> None:
    """What answers something: from who is no member it is refused."""
    answer = name in ANSWERS.split()
    assert (kind(name) in RESPONSE_KINDS) is answer
    if answer and name not in LOCAL.split():
        with pytest.raises(impl.UnknownPeer):
            Member(impl).node.step(impl.Message(kind(name), to=1, sender=99, term=0))


def test_payload_size_of_empty_entry(impl: ModuleType) -> None:
    """The empty entry of a new leader takes nothing of the room for what is not committed."""
    assert log_of(PURE, [1, 1]).payload(1, 2) == 0
    member = leader(impl)
    assert member.log.last == 1
    assert member.uncommitted_bytes == 0
    member.propose(b"12345")
    assert member.uncommitted_bytes == 5


def test_entry_id(impl: ModuleType) -> None:
    """An entry is told apart by index and term, and its log knows both by its index."""
    entry = impl.Entry(10, 5, b"data")
    assert (entry.index, entry.term) == (10, 5)
    assert entry == impl.Entry(10, 5, b"data")
    assert entry != impl.Entry(10, 4, b"data") and entry != impl.Entry(9, 5, b"data")
    assert (impl.Entry(0, 0, b"").index, impl.Entry(0, 0, b"").term) == (0, 0)
    log = log_of(impl, [3, 10], 122, 1)
    assert (log.last, log.py_term(log.last)) == (123, 10)
    assert (log.entries(123, 123)[0].index, log.entries(123, 123)[0].term) == (123, 10)


def frame(impl: ModuleType, term: int, prev: tuple[int, int], entries: list[tuple[int, int]]) -> bytes:
    """A frame from 2 to 1 with an append of these (index, term) behind ``prev``."""
    found = [impl.Entry(index, its, b"") for index, its in entries]
    message = impl.Message(MSG_APP, term=term, index=prev[0], log_term=prev[1], entries=found)
    sent: bytes = impl._core.Codec(bytes(16), 2).encode(1, [message])
    return sent


@pytest.mark.parametrize(
    ("term", "prev", "entries", "last"),
    [
        (10, (123, 10), [], (123, 10)),
        (11, (123, 10), [], (123, 10)),
        (1, (0, 0), [(1, 1)], (1, 1)),
        (2, (0, 0), [(1, 1)], (1, 1)),
        (2, (1, 1), [(2, 1), (3, 1), (4, 2)], (4, 2)),
        (10, (123, 5), [(124, 6)], (124, 6)),
        (10, (12, 2), [(13, 2), (14, 3)], (14, 3)),
        # Of a term above the sender's.
        (0, (0, 0), [(1, 1)], None),
        (1, (1, 1), [(2, 1), (3, 1), (4, 2)], None),
        # Not behind what they are said to be behind.
        (2, (0, 0), [(2, 1), (3, 1), (4, 2)], None),
        (10, (123, 5), [(111, 5)], None),
        (10, (123, 5), [(124, 4)], None),
        (10, (123, 5), [(234, 6)], None),
        # Not behind each other.
        (10, (12, 2), [(13, 2), (12, 2)], None),
        (10, (12, 2), [(13, 2), (15, 2)], None),
        (10, (12, 2), [(13, 2), (14, 1)], None),
    ],
)
def test_log_slice(
    impl: ModuleType,
    term: int,
    prev: tuple[int, int],
    entries: list[tuple[int, int]],
    last: tuple[int, int] | None,
) -> None:
    """Entries that do not stand behind each other, or have terms that their sender cannot have, never get in."""
    codec = impl._core.Codec(bytes(16), 1)
    sent = frame(impl, term, prev, entries)
    if last is None:
        with pytest.raises(impl.FrameError):
            codec.decode(sent)
        return
    (message,) = codec.decode(sent)
    log = impl._core.EntryLog(prev[0] + 1, prev[1])
    node = impl.RawNode(impl.Config(id=1), log=log, conf_state=impl.ConfState((1, 2, 3)))
    node.step(message)
    (answer,) = node.core.after_append.messages()
    assert (answer.kind, answer.index, answer.reject) == (MSG_APP_RESP, last[0], False)
    assert (log.last, log.py_term(log.last)) == last


@pytest.mark.parametrize("term", [1, 9])
def test_log_slice_of_nothing_from_an_older_term(impl: ModuleType, term: int) -> None:
    """An empty one behind an entry of a later term than its sender's: who has that entry is in that later term."""
    log = impl._core.EntryLog(124, 10)
    node = impl.RawNode(
        impl.Config(id=1, pre_vote=False, check_quorum=False),
        log=log,
        hard_state=impl.HardState(10, 0, 123),
        conf_state=impl.ConfState((1, 2, 3)),
    )
    node.step(impl.Message(MSG_APP, to=1, sender=2, term=term, index=123, log_term=10))
    assert not node.has_ready()


# --- errors ---------------------------------------------------------------------------------------


def test_error_equal(impl: ModuleType) -> None:
    """Which errors are one and the same to who catches them: a class of its own each, and its reason.

    raft-rs compares values; in Python the class tells.
    """
    told_apart = [
        *(impl.StepLocalMessage, impl.UnknownPeer, impl.ConfigError, impl.ConfChangeError, impl.EntryTooLarge),
        *(impl.SnapshotRequestDropped, impl.ReadDropped, impl.Unknown, impl.Stopped, impl.TransportError),
    ]
    for one in told_apart:
        assert issubclass(one, impl.RaftError)
        assert [other for other in told_apart if issubclass(one, other)] == [one]
    assert impl.ProposalDropped("full").reason == impl.ProposalDropped("full").reason != "no leader"
    with pytest.raises(impl.ConfigError) as bad_id:
        impl.Config(id=0)
    with pytest.raises(impl.ConfigError) as bad_ticks:
        impl.Config(id=1, election_ticks=0)
    assert str(bad_id.value) != str(bad_ticks.value)


def test_storage_error_equal(impl: ModuleType) -> None:
    """Errors of a storage are told apart, and all are caught as one."""
    kinds = [impl.StorageFailed, impl.WalDamaged, impl.WrongDirectory]
    for one in kinds:
        assert issubclass(one, impl.StorageError)
        assert [other for other in kinds if issubclass(one, other)] == [one]
    # Damage is damage wherever it is found; a disk that fails is none.
    assert issubclass(impl.WalDamaged, impl.Corruption)
    assert not issubclass(impl.StorageFailed, impl.Corruption)
