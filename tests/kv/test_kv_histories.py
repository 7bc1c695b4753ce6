"""A short history of three servers under faults, and the judge of such histories, which must be able to say no."""

from types import SimpleNamespace

import pytest

from raftx.testing.linearizable import READ, WRITE, Operation
from tests.tools import kv_server_histories as histories

pytestmark = pytest.mark.once


@pytest.mark.slow  # three programs are started, and killed
def test_a_short_history(tmp_path, tell):
    found = histories.run(tmp_path, 3, 3.0, None)
    assert found["problems"] == [] and found["operations"] > 10
    tell(str(found))


def judged(operations, *events):
    clients = [SimpleNamespace(operations=operations)]
    watchers = [SimpleNamespace(events=each, reconnects=1) for each in events]
    return histories._judged(1, [], clients, watchers, 4, None)["problems"]


def test_what_is_wrong_is_found():
    done = [
        Operation("k1", WRITE, 1, 0, 10),
        Operation("k1", READ, 1, 11, 12),
        Operation("k1", WRITE, 2, 13, None),  # nobody knows
        Operation("k1", WRITE, 3, 20, 30),
    ]
    told = [(2, "k1", 1), (3, "k1", 3), (4, "k9", 9)]
    assert judged(done, told, list(told)) == []
    assert judged(done, [(2, "k1", 1), (3, "k1", 2), *told[1:]][:3], told)  # not to the end
    assert judged(done, told, told[1:]) == ["two watches were told different things"]
    assert "twice" in judged(done, [told[0], *told], [told[0], *told])[0]
    assert "were not told of" in judged(done, [told[0], told[2]], [told[0], told[2]])[0]
    stale = [*done, Operation("k1", READ, 1, 31, 32)]
    assert judged(stale, told, told)
