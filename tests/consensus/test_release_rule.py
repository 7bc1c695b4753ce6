"""By hand: why a request for votes waits for the disk.

Member 1 campaigns while its disk stalls. With the rule off its requests leave all the same, the others
elect it, one entry reaches member 2, and the power fails: term and vote were never on its disk. So it
campaigns in the same term again, member 3 grants its vote again, and another entry gets the same index and
term.
"""

import pytest

from tests.helpers.implementations import module


def cluster(impl, release_rule):
    return module(impl, "testing.simulator").Simulation(
        size=3, release_rule=release_rule, pre_vote=False, check_quorum=True, election_ticks=10
    )


def deliver_all(simulation):
    """Until nothing is under way and no disk has anything to do."""
    for _ in range(20):
        while simulation.network:
            simulation.deliver()
        for id in simulation.members:
            simulation.sync(id)
        if not simulation.network:
            return


def script(simulation):
    """The same actions, whatever they lead to. Returns what was proposed before and after the power cut."""
    one = simulation.members[1]
    one.stalled = True
    simulation.campaign(1)
    # The requests arrive and the votes come back; what it sends as a leader reaches member 2 only.
    for _ in range(len(simulation.network)):
        simulation.deliver()
    for id in (2, 3):
        simulation.sync(id)
    for _ in range(len(simulation.network)):
        simulation.deliver()
    simulation.cut = {(1, 3), (3, 1)}
    before = simulation.propose(1)
    deliver_all(simulation)
    simulation.crash(1, kept=0)
    simulation.network.clear()
    simulation.cut = {(1, 2), (2, 1)}
    simulation.restart(1)
    simulation.campaign(1)
    deliver_all(simulation)
    after = simulation.propose(1)
    deliver_all(simulation)
    simulation.settle()
    return before, after


def test_with_the_rule_nothing_diverges(impl):
    simulation = cluster(impl, release_rule=True)
    before, after = script(simulation)
    # Without a durable vote it was never elected, and the first proposal went nowhere.
    assert before is None
    assert after is not None
    assert next(data for _, data in simulation.checker.applied if data) == after
    logs = [member.raw.core.log for member in simulation.members.values()]
    assert len({log.records(1, log.last) for log in logs}) == 1


def test_without_the_rule_the_checker_sees_it(impl):
    simulation = cluster(impl, release_rule=False)
    with pytest.raises(
        module(impl, "testing.invariants").Violation, match=r"log matching: node 1 .* entry 2 of term 1"
    ):
        script(simulation)


def test_without_the_rule_two_entries_are_applied_at_one_place(impl):
    """The same with a checker that looks at nothing but what is applied: members give different entries to their
    state machines."""
    simulation = cluster(impl, release_rule=False)
    checker = simulation.checker
    checker.appended = lambda id, entries, replaces=True: None
    checker.began = lambda id, entries: checker.applied_to.update({id: 0}) or checker.commits.update({id: 0})
    with pytest.raises(module(impl, "testing.invariants").Violation, match="state machine safety"):
        script(simulation)
