"""Silent cuts: packets vanish for a few seconds, nobody is told. ``make cuts`` tries all lengths and ways."""

import pytest

import raftx
from tests.helpers import networks

TICKS = {"tick_ms": 20, "election_ticks": 10} if raftx.COMPILED else {"tick_ms": 50, "election_ticks": 10}
# TCP repeats what was lost 6.2 and 12.6 s after it was first sent: a connection that is left to it is back after 5.6 s.
SECONDS = 7.0
LIMIT = 4.0


@pytest.fixture
def network():
    if why := networks.missing():
        pytest.skip(f"silent cuts are not tried: {why}")
    with networks.Network(3) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("way", ["direct", "tcp"])
@pytest.mark.parametrize(
    ("whose", "direction", "kill"),
    [("follower", networks.BOTH, False), ("follower", networks.BOTH, True), ("leader", networks.FROM, False)],
)
def test_a_member_is_back_soon_after_a_silent_cut(tmp_path, network, whose, direction, kill, way):
    with networks.Cluster(network, tmp_path, {"way": way}, **TICKS) as cluster:
        cluster.start()
        outcome = networks.one_cut(cluster, whose, direction, networks.SWITCH, SECONDS, kill)
        if kill:
            # An election is in it.
            assert outcome.served is not None
            assert outcome.served < LIMIT + 2 * TICKS["tick_ms"] * TICKS["election_ticks"] / 1000
        else:
            assert outcome.returned is not None
            assert outcome.returned < LIMIT
            assert outcome.elections == 0
