"""Short histories of clusters as programs, under faults, and the judges that say whether they are linearizable."""

import json
import random
import time

import pytest

from interop.toolchains import PORCUPINE, PORCUPINE_SOURCES, BuildFailed, build_go
from raftx.testing.linearizable import CAS, READ, WRITE, Operation, check
from tests.helpers.kv_cluster import Asked
from tests.helpers.random_histories import draw_history, run_of_one_store
from tests.tools import histories, lease_pauses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "faults"), [(1, ("kill", "pause", "transfer")), (6, ("cut", "churn", "pulses"))]
)  # fmt: skip
def test_a_short_history(tmp_path, seed, faults, tell):
    judged = histories.run_history(tmp_path, seed, None, operations=400, seconds=3.0, faults=faults)
    assert judged.broken == ""
    assert [verdict.explanation for verdict in judged.own.values()] == ["", ""]
    assert judged.good and judged.counts["done"] > 200
    made = sum([judged.counts[fault] for fault in faults])
    tell(f"{judged.counts['done']} operations at {judged.rate:.0f} a second, {made} faults")


@pytest.mark.slow
def test_a_leader_that_is_stopped_while_it_is_read_by_lease(tmp_path, tell):
    pauses = lease_pauses.run_pauses(tmp_path, 3, 1, time.time() + 60)
    assert pauses.broken == "" and pauses.stale == 0
    assert pauses.pauses == 3 and pauses.late_done > 0
    tell(f"{pauses.done} reads over 3 pauses, {pauses.late_done} asked for after another leader had written")


@pytest.mark.slow
def test_members_that_read_without_asking_are_found(tmp_path):
    """Else a history that is judged to be good would say nothing."""
    pauses = lease_pauses.run_pauses(tmp_path, 2, 1, time.time() + 60, careless=True)
    assert pauses.broken == "" and pauses.stale > 0


SECOND = histories.SECOND


def asked(request, invoked, returned=None, **answer):
    made = Asked(request, 3)
    made.invoked, made.returned = invoked, returned
    if answer:
        made.answer = answer
    return made


@pytest.mark.once
def test_what_clients_saw_as_operations():
    write = {"do": "write", "key": "k", "value": 1, "by": "plain"}
    cas = {"do": "cas", "key": "k", "value": 1, "new": 2, "by": ""}
    read = {"do": "read", "key": "k", "level": "lease"}
    stale = {"do": "read", "key": "k", "level": "stale", "staleness": 0.5}
    exact, old = histories.operations_of(
        [
            asked(write, 10, 20, **{"is": "done", "result": True}),
            asked(write, 11, 21, **{"is": "not", "why": "no leader"}),
            asked(write, 12, 22, **{"is": "unknown", "why": "time"}),
            asked(write, 13),
            asked(cas, 14, 24, **{"is": "done", "result": False}),
            asked(cas, 15, 25, **{"is": "unknown", "why": "time"}),
            asked(read, 16, 26, **{"is": "done", "result": 7}),
            asked(read, 17, 27, **{"is": "not", "why": "no leader"}),
            asked(read, 18),
            asked(stale, 2 * SECOND, 3 * SECOND, **{"is": "done", "result": 8}),
        ],
        10,
    )
    seen = [(each.kind, each.value, each.new, each.succeeded, each.invoked, each.returned) for each in exact]
    assert seen == [
        (WRITE, 1, None, None, 0, 10),
        (WRITE, 1, None, None, 2, None),
        (WRITE, 1, None, None, 3, None),
        (CAS, 1, 2, False, 4, 14),
        (CAS, 1, 2, None, 5, None),
        (READ, 7, None, None, 6, 16),
    ]
    # It may be as old as it allows, so it began earlier by that.
    assert [(each.value, each.invoked, each.returned) for each in old] == [(8, 3 * SECOND // 2 - 10, 3 * SECOND - 10)]


def history_with_a_stale_read(age):
    """Of a value that was overwritten ``age`` seconds before the read, which allows half a second."""
    exact = [Operation("k", WRITE, 1, 0, 10), Operation("k", WRITE, 2, SECOND - 10, SECOND)]
    begin = SECOND + int(age * SECOND) - SECOND // 2
    return exact, [Operation("k", READ, 1, begin, begin + SECOND // 2 + 5)]


@pytest.mark.once
def test_stale_reads_are_judged_by_what_they_allow():
    for age, good in ((0.4, True), (0.6, False)):
        judged = histories.Judged(1)
        histories.judge(judged, *history_with_a_stale_read(age), None)
        assert judged.own["exact"].ok and judged.own["stale"].ok is good
        assert judged.good is good and ("WRONG" in judged.row()) is not good


@pytest.mark.once
def test_a_wrong_history_is_kept_and_judged_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(histories, "KEPT", tmp_path)
    judged = histories.Judged(7)
    histories.judge(judged, *history_with_a_stale_read(2.0), None)
    path = judged.keep()
    assert json.loads(path.read_text())["seed"] == 7
    assert not histories.judge_again(path, None)
    assert "cannot be placed" in capsys.readouterr().out


@pytest.mark.once
@pytest.mark.parametrize(("value", "stale"), [(1, 1), (2, 0)])
def test_a_read_of_what_has_been_overwritten_is_counted(value, stale):
    pauses = lease_pauses.Pauses()
    writes = [asked({"value": each}, 10 * each, 10 * each + 5, **{"is": "done", "result": True}) for each in (1, 2)]
    writes.append(asked({"value": 3}, 30))
    reads = [asked({}, 26, 60, **{"is": "done", "result": value}), asked({}, 24, 61, **{"is": "done", "result": 1})]
    lease_pauses.judge(pauses, reads, writes)
    assert (pauses.stale, pauses.reads, pauses.done, pauses.writes) == (stale, 2, 2, 2)


@pytest.mark.once
def test_reads_that_go_back_are_counted():
    """What was read of a write whose outcome nobody knows must not disappear."""
    pauses = lease_pauses.Pauses()
    reads = [asked({}, 10, 20, **{"is": "done", "result": 3}), asked({}, 21, 22, **{"is": "done", "result": 2})]
    lease_pauses.judge(pauses, reads, [])
    assert pauses.stale == 1 and pauses.first.startswith("2 was read")


@pytest.mark.once
def test_porcupine_says_the_same(tell):
    try:
        judge = histories.Porcupine(build_go(program=PORCUPINE, sources=PORCUPINE_SOURCES))
    except BuildFailed as error:
        pytest.skip(f"porcupine cannot be built here: {error}")
    draw, good = random.Random(4), 0
    try:
        for _ in range(400):
            history = draw_history(draw, empty=0)
            expected = check(history, initial=0).ok
            assert judge.judge(history) is expected, history
            good += expected is True
        for seed in range(3):
            history = run_of_one_store(random.Random(seed), 300, 6, empty=0)
            history = [
                Operation(each.key, each.kind, each.value, round(1000 * each.invoked),
                          each.returned and round(1000 * each.returned), each.new, each.succeeded) for each in history
            ]  # fmt: skip
            assert check(history, initial=0).ok is True and judge.judge(history) is True
    finally:
        judge.close()
    assert 100 < good < 300
    tell(f"400 small histories, {good} of them linearizable, and three long ones, judged alike")
