"""The driver: writes, what is held for them, and what the state machine is handed.

Its methods are C functions in the compiled package: there the tests of nodes, of RawNode and of the measuring loops
show them.
"""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest

from raftx.types import (
    MSG_APP,
    MSG_APP_RESP,
    MSG_HEARTBEAT,
    MSG_HEARTBEAT_RESP,
    MSG_HUP,
    MSG_STORAGE_APPEND_RESP,
    MSG_VOTE,
    MSG_VOTE_RESP,
)
from tests.helpers.implementations import IMPLEMENTATIONS, module


def core_of(impl: ModuleType, **settings: Any) -> Any:
    """A voter of three without a past."""
    config = impl.Config(id=1, pre_vote=False, check_quorum=False, seed=7, **settings)
    return impl.RawNode(config, conf_state=impl.ConfState(voters=(1, 2, 3))).core


def kinds(messages: list[Any]) -> list[int]:
    return [m.kind for m in messages]


def test_messages_are_held_until_their_write_is_durable() -> None:
    impl = IMPLEMENTATIONS["pure"]
    core = core_of(impl)
    driver = module(impl, "consensus.driver").Driver(core)
    spans = module(impl, "_native.memory").Spans()
    out, held = driver.out, driver.held

    def step(kind: int, **fields: Any) -> None:
        core.step(impl.Message(kind, sender=2, **fields))

    step(MSG_APP, term=1, entries=[impl.Entry(1, 1, b"a")])
    assert driver.next_write(spans, True) and driver.number == 1
    assert (driver.write_term, driver.write_low, driver.write_high, spans.count) == (1, 1, 1, 1)
    step(MSG_HEARTBEAT, term=1)
    core.step_local(MSG_HUP)
    assert driver.next_write(spans, True) and driver.number == 2
    assert (driver.write_term, driver.write_vote) == (2, 1) and driver.write_low > driver.write_high
    assert not driver.next_write(spans, True)
    assert kinds(out.messages()) == [MSG_HEARTBEAT_RESP]
    own = [MSG_APP_RESP, MSG_STORAGE_APPEND_RESP, MSG_VOTE, MSG_VOTE, MSG_VOTE_RESP, MSG_STORAGE_APPEND_RESP]
    assert kinds(held.messages()) == own
    assert core.messages.length() == core.after_append.length() == 0

    driver.write_done(0)
    assert kinds(held.messages()) == own
    driver.write_done(1)
    assert kinds(out.messages()) == [MSG_HEARTBEAT_RESP, MSG_APP_RESP]
    # It has campaigned meanwhile: the response of the earlier term says nothing.
    assert core.stable == 0 and core.tracker.votes_granted == 0
    driver.write_done(2)
    assert kinds(out.messages())[2:] == [MSG_VOTE, MSG_VOTE]
    assert core.stable == 1 and core.tracker.votes_granted == 0b1
    assert held.length() == 0 and not driver.settle()
    # All is durable: a write that was without entries brings no further answer.
    step(MSG_HEARTBEAT, term=3)
    assert driver.next_write(spans, True)
    assert MSG_STORAGE_APPEND_RESP not in kinds(held.messages())


def test_what_has_no_room_at_the_disk_waits_for_the_write_to_come() -> None:
    impl = IMPLEMENTATIONS["pure"]
    core = core_of(impl)
    driver = module(impl, "consensus.driver").Driver(core)
    spans = module(impl, "_native.memory").Spans()

    core.step(impl.Message(MSG_APP, sender=2, term=1, entries=[impl.Entry(1, 1, b"a")]))
    assert driver.next_write(spans, True) and driver.number == 1
    core.step(impl.Message(MSG_APP, sender=2, term=1, index=1, log_term=1, entries=[impl.Entry(2, 1, b"b")]))
    core.step(impl.Message(MSG_HEARTBEAT, sender=2, term=1))
    for _ in range(2):
        assert not driver.next_write(spans, False) and driver.number == 1
        assert core.messages.length() == core.after_append.length() == 0
    assert kinds(driver.out.messages()) == [MSG_HEARTBEAT_RESP]
    driver.write_done(1)
    assert [m.index for m in driver.out.messages() if m.kind == MSG_APP_RESP] == [1]
    spans.clear()
    assert driver.next_write(spans, True) and (driver.number, driver.write_low, driver.write_high) == (2, 2, 2)
    assert core.stable == 1
    driver.write_done(2)
    assert [m.index for m in driver.out.messages() if m.kind == MSG_APP_RESP] == [1, 2]
    assert core.stable == 2


def test_what_becomes_due_behind_a_durable_write_is_released_at_once() -> None:
    impl = IMPLEMENTATIONS["pure"]
    core = core_of(impl)
    driver = module(impl, "consensus.driver").Driver(core)
    spans = module(impl, "_native.memory").Spans()
    core.step(impl.Message(MSG_APP, sender=2, term=1, entries=[impl.Entry(1, 1, b"a")]))
    assert driver.next_write(spans, True)
    driver.write_done(1)
    # An acknowledgement of what is durable already waits for the last write, which is.
    core.step(impl.Message(MSG_APP, sender=2, term=1, entries=[impl.Entry(1, 1, b"a")]))
    assert not driver.next_write(spans, True) and kinds(driver.held.messages()) == [MSG_APP_RESP]
    assert not driver.settle()
    assert kinds(driver.out.messages()) == [MSG_APP_RESP, MSG_APP_RESP]


def test_batches_for_the_state_machine_keep_to_one_budget() -> None:
    """What is handed over and not applied counts, whatever has been taken of it: in bytes and in batches."""
    impl = IMPLEMENTATIONS["pure"]
    drivers = module(impl, "consensus.driver")
    core, spans = core_of(impl, max_apply_bytes=3 * (32 + 10)), module(impl, "_native.memory").Spans()
    driver = drivers.Driver(core)

    def append(index: int, data: bytes) -> None:
        previous = index - 1
        entries = [impl.Entry(index, 1, data)]
        m = impl.Message(MSG_APP, sender=2, term=1, index=previous, log_term=min(previous, 1), entries=entries)
        m.commit = index
        core.step(m)
        driver.next_write(spans, True)
        driver.write_done(driver.number)
        spans.clear()

    for index in range(1, 6):
        append(index, bytes(10))
    assert driver.next_apply(spans) and (driver.apply_low, driver.apply_high) == (1, 3)
    assert core.applying_bytes == 3 * 42 and not driver.next_apply(spans)
    driver.apply_done(2)  # not the end of a batch
    assert core.applied == 2 and core.applying_bytes == 3 * 42
    driver.apply_done(3)
    assert core.applying_bytes == 0
    assert driver.next_apply(spans) and (driver.apply_low, driver.apply_high) == (4, 5)
    driver.apply_done(5)
    driver.apply_done(5)
    assert (core.applied, core.applying_bytes) == (5, 0)
    core.max_apply_bytes = 1 << 30
    index = 5
    while True:
        append(index + 1, b"")
        index += 1
        if not driver.next_apply(spans):
            break
    assert index == 5 + drivers.APPLIES + 1
    driver.apply_done(6)
    assert driver.next_apply(spans) and (driver.apply_low, driver.apply_high) == (index, index)


@pytest.mark.parametrize("seed", range(40))
def test_both_ways_to_hand_over_what_is_committed_are_one_rule(seed: int) -> None:
    """``next_apply``, in one step for a node, and ``plan_apply`` with ``accept_apply``, as a Ready does it."""
    impl = IMPLEMENTATIONS["pure"]
    drivers, rng = module(impl, "consensus.driver"), random.Random(seed)
    budget = rng.choice((1, 100, 400, 1 << 20))
    spans = module(impl, "_native.memory").Spans()
    cores = [core_of(impl, max_apply_bytes=budget) for _ in range(2)]
    node, ready = [drivers.Driver(core) for core in cores]
    batches: list[tuple[int, int, int]] = []
    for _ in range(200):
        match rng.randrange(4):
            case 0:
                last = cores[0].log.last
                entries = [
                    impl.Entry(last + 1 + n, 1, bytes(rng.choice((0, 1, 60, 300)))) for n in range(rng.randrange(5))
                ]
                m = impl.Message(MSG_APP, sender=2, term=1, index=last, log_term=min(last, 1), entries=entries)
                m.commit = rng.randint(cores[0].committed, last + len(entries))
                for core in cores:
                    core.step(m)
            case 1:
                for driver in (node, ready):
                    driver.next_write(spans, True)
                    spans.clear()
                if rng.random() < 0.8:
                    node.write_done(node.number)
                    ready.write_done(ready.number)
            case 2:
                found = node.next_apply(spans)
                size = spans.size
                spans.clear()
                assert found == ready.plan_apply(False)
                if found:
                    ready.accept_apply(False)
                    assert (node.apply_low, node.apply_high) == (ready.apply_low, ready.apply_high)
                    assert size == ready.apply_bytes
                    batches.append((node.apply_high, size, node.apply_high + 1 - node.apply_low))
            case 3 if batches:
                high, size, count = batches.pop(0)
                node.apply_done(high)
                cores[1].apply_done(high, size, count)
        marks = [
            (core.applying, core.applied, core.applying_bytes, core.apply_paused, core.uncommitted_bytes)
            for core in cores
        ]
        assert marks[0] == marks[1]
    assert cores[0].applied > 0
