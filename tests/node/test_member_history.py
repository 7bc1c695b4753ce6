"""What a node keeps of earlier memberships: bounded, and enough to make the log shorter."""

import pytest

from tests.helpers.implementations import module

FOUNDERS = (1, 2, 3)


class Installs:
    def install(self, encoded):
        return True

    def put_self(self, record, joined):
        return True

    def put_joined(self, id, joined):
        return True


class Silent:
    """A transport that needs to know nobody."""

    def add_peer(self, id, address):
        pass

    def remove_peer(self, id):
        pass


@pytest.fixture
def members(impl):
    made = module(impl, "node.members")
    first = made.Membership(0, impl.ConfState(voters=FOUNDERS))
    directory = made.Directory(1, Silent())
    return made.Members(1, first, Installs(), lambda _: None, directory, lambda _: None)


def change(impl, members, index):
    """Entry ``index`` changes something: a learner comes or goes."""
    there = 9 in members.now.conf_state.learners
    data = impl.ConfChange.parse("r9" if there else "l9").encode()
    kind = impl.ConfChange.parse("r9").entry_kind
    members.apply(index, kind, data, 1 + index // 1000)


def test_it_is_bounded_without_any_compaction(impl, members):
    made = module(impl, "node.members")
    for index in range(10, 200_000, 20):
        change(impl, members, index)
        assert len(members.history) <= made.HISTORY and len(members.gaps) < made.HISTORY
    assert members.history[0].index == 0 and members.history[-1] is members.now
    assert len(members.history) > made.HISTORY // 3
    indexes = [each.index for each in members.history]
    assert indexes == sorted(set(indexes))


def test_the_log_can_be_forgotten_up_to_any_entry_or_one_before_it(impl, members):
    """With the membership of just that entry, and its term; and what was asked for is come near to."""
    for index in range(10, 100_000, 20):
        change(impl, members, index)
    exact, base, most = 0, 0, 0
    for asked in range(5, 100_000, 613):
        index, term, there = members.compactable(asked, 1 + asked // 1000)
        assert index <= asked
        most = max(most, asked - index)
        exact += index == asked
        if index == 0:
            continue
        assert term == 1 + index // 1000
        # Changes at 10, 50, 90 .. have added the learner, those in between have removed it.
        added = index >= 10 and (index - 10) // 20 % 2 == 0
        assert there.conf_state.learners == ((9,) if added else ()), index
        assert index >= base
        base = index
        members.forget(index)
    assert exact > 20 and 0 < most < 50_000
    assert base > 99_000


def test_a_snapshot_takes_the_place_of_all(impl, members):
    descriptor = module(impl, "storage.snapshot_format").Descriptor
    for index in range(10, 50_000, 20):
        change(impl, members, index)
    assert members.gaps
    conf_state = impl.ConfState(voters=FOUNDERS)
    members.restore(descriptor(60_000, 70, conf_state, {}, b"c" * 16, incarnation=1, version=0))
    assert len(members.history) == 1 and not members.gaps
    assert members.compactable(60_005, 71) == (60_005, 71, members.now)
