"""What etcd 3.4.23 answered to random sequences of requests: the same answers come from here.

The answers were written by ``python -m interop.etcd_kv --goldens``; the sequences come from their seeds.
"""

import gzip
import json

import pytest

from interop.etcd_kv import compared
from interop.etcd_kv.draws import sequence
from tests.helpers.kv_direct import Direct
from tests.helpers.paths import TESTS

pytestmark = pytest.mark.once

GOLDENS = TESTS / "data" / "golden" / "etcd_kv.json.gz"


@pytest.fixture(scope="module")
def goldens():
    found = json.loads(gzip.decompress(GOLDENS.read_bytes()))
    assert len(found) == 100
    return found


@pytest.mark.slow  # 20,000 requests
@pytest.mark.parametrize("part", range(4))
def test_answers_are_those_of_etcd(goldens, part, monkeypatch):
    monkeypatch.setattr(compared.time, "sleep", lambda seconds: None)  # etcd needs time for its watches
    for golden in goldens[part::4]:
        steps = sequence(golden["seed"], golden["steps"])
        with Direct(compaction="off") as direct:
            found = compared.run(direct, steps)
        for at, (wanted, answer) in enumerate(zip(golden["answers"], found)):
            assert answer == wanted, (golden["seed"], at, steps[at] if at < len(steps) else "watches")
        assert len(found) == len(golden["answers"])


def test_a_wrong_answer_would_be_seen(goldens, monkeypatch):
    """The comparison can fail: a store that counts a revision too few is told apart."""
    monkeypatch.setattr(compared.time, "sleep", lambda seconds: None)
    golden = goldens[0]
    with Direct(compaction="off") as direct:
        direct.machine.store.revision -= 1
        assert compared.run(direct, sequence(golden["seed"], golden["steps"])) != golden["answers"]
