"""ProposalQueue in both implementations: numbers, bounds, and many threads that hand over."""

import struct
import subprocess
import sys
import time

import pytest

import raftx
from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.paths import ROOT
from tests.helpers.threads import ends, start

HEADER = struct.Struct("<IIQQB7x")
ENVELOPE = struct.Struct("<QQQ")
SLACK = 4096  # what a ProposalQueue takes above its limit


def record(data, sequence, kind=0, origin=7, incarnation=3):
    """A proposal's record: no crc, index and term yet."""
    return HEADER.pack(0, 24 + len(data), 0, 0, kind) + ENVELOPE.pack(origin, incarnation, sequence) + data


@pytest.fixture
def intake(system):
    return system.ProposalQueue(system.Event(), 7, 3, 1 << 20)


def test_intake_numbers_and_bytes(intake):
    assert (intake.origin, intake.incarnation, intake.limit, intake.last_sequence) == (7, 3, 1 << 20, 0)
    assert not intake.py_waiting()
    assert not intake.py_take()
    assert intake.propose(b"a") == 1
    assert intake.propose(bytearray(b"bb"), 2) == 2
    assert intake.propose(memoryview(b"-ccc-")[1:4], kind=255) == 3
    assert intake.propose_many([b"", bytearray(b"d")]) == (4, 2)
    assert intake.last_sequence == 5
    assert intake.py_waiting()
    assert intake.py_take()
    expected = [record(b"a", 1), record(b"bb", 2, 2), record(b"ccc", 3, 255), record(b"", 4), record(b"d", 5)]
    assert intake.taken.tobytes() == b"".join(expected)
    assert (intake.offset, intake.taken_sequence) == (0, 1)


def test_intake_since(intake):
    before = time.monotonic_ns()
    intake.propose(b"a")
    between = time.monotonic_ns()
    intake.propose(b"b")
    intake.py_take()
    assert before <= intake.taken_since <= between


def test_intake_chunks(intake):
    for number in range(5):
        intake.propose(bytes(number))
    sizes = [56, 57, 58, 59, 60]
    intake.py_take()
    assert intake.py_chunk(0) == (record(b"", 1), 1)  # one record at least
    assert intake.py_chunk(56 + 57 - 1)[1] == 1
    data, count = intake.py_chunk(56 + 57)
    assert (data, count) == (record(b"", 1) + record(bytes(1), 2), 2)
    intake.py_consume(len(data), count)
    assert (intake.offset, intake.taken_sequence) == (113, 3)
    assert intake.py_waiting()
    assert intake.py_take()
    assert intake.offset == 113
    # What comes meanwhile is not in reach before the rest is consumed.
    assert intake.propose(b"later") == 6
    data, count = intake.py_chunk(2**64 - 1)
    assert (len(data), count) == (sum(sizes[2:]), 3)
    intake.py_consume(len(data), count)
    assert intake.py_chunk(1000) == (b"", 0)
    assert intake.py_waiting()
    assert intake.py_take()
    assert (intake.offset, intake.taken_sequence) == (0, 6)
    assert intake.py_chunk(1000) == (record(b"later", 6), 1)
    intake.py_consume(61, 1)
    assert not intake.py_waiting()
    assert not intake.py_take()


@pytest.mark.parametrize("limit", [0, 1000, 100_000])
def test_intake_limit(system, limit):
    intake = system.ProposalQueue(system.Event(), 1, 1, limit)
    most = limit + SLACK - 56
    assert intake.propose(bytes(most + 1)) == 0
    assert intake.propose(bytes(most)) == 1
    assert intake.propose(b"") == 0
    assert intake.propose_many([b"", b""]) == (0, 0)
    # Taken is not consumed: it counts until then.
    assert intake.py_take()
    assert intake.propose(b"") == 0
    data, count = intake.py_chunk(1)
    intake.py_consume(len(data), count)
    assert intake.propose(b"") == 2
    assert intake.last_sequence == 2
    assert intake.py_take()
    assert intake.taken_sequence == 2


def test_intake_counts_what_is_not_consumed(system):
    intake = system.ProposalQueue(system.Event(), 1, 1, 0)
    assert intake.propose_many([bytes(2048 - 56)] * 3) == (0, 0)
    assert intake.propose_many([bytes(2048 - 56)] * 2) == (1, 2)
    assert intake.py_take()
    intake.py_consume(2048, 1)
    assert intake.propose(bytes(2049 - 56)) == 0
    assert intake.propose(bytes(2048 - 56)) == 3
    intake.py_consume(2048, 1)
    assert intake.propose(bytes(2048 - 56)) == 4


def test_intake_takes_all_or_none(system):
    """There is no room for the last of them, and so for none."""
    intake = system.ProposalQueue(system.Event(), 1, 1, 0)
    assert intake.propose_many([bytes(1000 - 56)] * 5) == (0, 0)
    assert intake.last_sequence == 0
    assert not intake.py_waiting()
    assert intake.propose_many([bytes(1000 - 56)] * 4) == (1, 4)
    assert intake.last_sequence == 4
    assert intake.py_take()
    assert intake.py_chunk(1 << 20)[1] == 4


def test_intake_closed(intake):
    assert intake.propose(b"a") == 1
    intake.close()
    intake.close()
    assert intake.propose(b"b") == -1
    assert intake.propose_many([b"c", b"d"]) == (-1, 0)
    assert intake.propose_many([]) == (0, 0)
    assert intake.last_sequence == 1
    assert intake.py_take()
    assert intake.py_chunk(1000) == (record(b"a", 1), 1)


def test_intake_refuses_what_does_not_fit(system, intake):
    for wrong in ("text", None, 5, [1]):
        with pytest.raises(TypeError):
            intake.propose(wrong)
        with pytest.raises(TypeError):
            intake.propose_many([b"fine", wrong])
    for kind in (-1, 256, 2**31):
        with pytest.raises(OverflowError):
            intake.propose(b"", kind)
    with pytest.raises(TypeError):
        intake.propose(b"", "1")
    assert intake.last_sequence == 0
    assert not intake.py_waiting()
    event = system.Event()
    for arguments in ((event, -1, 0, 0), (event, 0, 2**64, 0), (event, 0, 0, -1)):
        with pytest.raises(OverflowError):
            system.ProposalQueue(*arguments)
    with pytest.raises(TypeError):
        system.ProposalQueue(None, 0, 0, 0)
    with pytest.raises(OverflowError):
        intake.py_consume(0, 2**32)


OFFERS_TOO_MUCH = """
import threading
from raftx.testing.pacer import Pacer
from raftx._native import threads

proposals = threads.ProposalQueue(threads.Event(), 1, 1, 2**63)
pacer = Pacer(proposals, 10, 10**9)
for size in (2**50, 2**62):
    try:
        pacer.try_offer(size)
    except MemoryError:
        print("no memory", flush=True)
    print(proposals.propose(b"x"), proposals.propose_many([b"y", b"z"]), flush=True)
"""


def test_proposals_without_memory_hold_nothing(tmp_path):
    """A caller without the GIL that finds no memory lets go of the queue before it raises. In a process of its own."""
    if raftx.COMPILED is False:
        pytest.skip("only compiled code allocates as much as it is told")
    done = subprocess.run(
        [sys.executable, "-c", OFFERS_TOO_MUCH], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.stdout.split("\n") == ["no memory", "1 (2, 2)", "no memory", "4 (5, 2)", ""], done.stderr


def test_intake_wakes_its_taker(intake):
    for propose in (lambda: intake.propose(b"x"), lambda: intake.propose_many([b"x", b"y"])):
        intake.event.py_prepare()
        thread = start(intake.event.py_wait)
        propose()
        assert ends(thread)


def test_intake_from_many_threads(intake):
    """Numbers are given once and in the order of the records; the taker sees them without a gap."""
    givers, rounds = 4, 300
    given = [[] for _ in range(givers)]
    seen = []

    def give(giver):
        for number in range(rounds):
            data = struct.pack("<QQ", giver, number)
            given[giver].append(intake.propose(data) if number % 2 else intake.propose_many([data])[0])

    def take():
        while len(seen) < givers * rounds:
            if not intake.py_take():
                intake.event.py_prepare()
                if intake.py_waiting():
                    intake.event.py_cancel()
                else:
                    intake.event.py_wait()
                continue
            data, count = intake.py_chunk(500)
            assert intake.taken_sequence == len(seen) + 1
            for at in range(0, len(data), 72):
                seen.append(struct.unpack_from("<QQQ", data, at + 48))
            intake.py_consume(len(data), count)

    assert ends(start(take), *(start(give, giver) for giver in range(givers)))
    assert [sequence for sequence, _, _ in seen] == list(range(1, givers * rounds + 1))
    for giver in range(givers):
        assert [sequence for sequence, who, _ in seen if who == giver] == given[giver]
        assert [number for _, who, number in seen if who == giver] == list(range(rounds))


@pytest.mark.once
def test_intake_is_the_same_in_both():
    """One script of calls, in both modes: the same answers and the same bytes."""
    if len(IMPLEMENTATIONS) < 2:
        pytest.skip("this run has one implementation only")

    def script(system):
        intake = system.ProposalQueue(system.Event(), 2**64 - 1, 5, 20_000)
        out = []
        for step in range(200):
            data = bytes(range(step)) * (step % 7)
            out.append(intake.propose(data, step) if step % 3 else intake.propose_many([data, b"", data]))
            if step % 5 == 4 and intake.py_take():
                out += [intake.taken.tobytes(), intake.offset, intake.taken_sequence]
                chunk, count = intake.py_chunk(step * 30)
                intake.py_consume(len(chunk), count)
                out += [chunk, count, intake.py_waiting()]
            out.append(intake.last_sequence)
        return out

    first, second = (script(module(impl, "_native.threads")) for impl in IMPLEMENTATIONS.values())
    assert first == second
    assert 0 in first  # the limit was met
