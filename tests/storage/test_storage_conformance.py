"""raftx's own storages, held against what every storage must do (raftx.testing.storage_suite); and wrong ones."""

import contextlib
import dataclasses
import random
import threading

import pytest

from tests.helpers.implementations import IMPLEMENTATIONS, module
from tests.helpers.storages import founded

VOTERS = [1, 2, 3]
OWN = b"storage-suite---"


def memory(impl, tmp_path):
    """A MemoryStorage is the same object in each of its lives."""
    kept = impl.MemoryStorage(VOTERS)
    return module(impl, "testing.storage_suite").Subject(lambda: kept, lambda storage: storage.crash())


def file(impl, tmp_path):
    """A directory of this machine, whose power does not fail."""
    suite = module(impl, "testing.storage_suite")
    return suite.Subject(lambda: founded(impl, tmp_path / "node", VOTERS, cluster=suite.CLUSTER))


def simulated(impl, tmp_path, seed=3):
    """A directory on a disk that loses power."""
    disk = module(impl, "testing.disk").SimDisk(random.Random(seed))

    def crash(storage):
        disk.crash()
        storage.close()

    suite = module(impl, "testing.storage_suite")
    return suite.Subject(lambda: founded(impl, "/node", VOTERS, disk=disk, cluster=suite.CLUSTER), crash)


def cases():
    """A storage of each kind and each check that it has to pass."""
    found = []
    suite = module(IMPLEMENTATIONS["pure"], "testing.storage_suite")
    for make, storage in ((memory, "MemoryStorage"), (file, "FileStorage"), (simulated, "FileStorage")):
        for check in suite.checks_for(getattr(IMPLEMENTATIONS["pure"], storage)):
            found.append(pytest.param(make, check.__name__, id=f"{make.__name__}-{check.__name__}"))
    return found


@pytest.mark.parametrize(("make", "check"), cases())
def test_conformance(impl, tmp_path, make, check):
    suite = module(impl, "testing.storage_suite")
    checks = {each.__name__: each for each in suite.checks_for(impl.FileStorage)}
    checks[check](make(impl, tmp_path))


@pytest.mark.parametrize("seed", range(20))
def test_power_cuts_of_many_kinds(impl, tmp_path, seed):
    """What the disk makes of writes that were not synced is drawn anew."""
    suite = module(impl, "testing.storage_suite")
    for check in suite.checks_for(impl.FileStorage):
        if "power" in check.__name__ or check in (*suite.ADDRESS_CHECKS, suite.a_life_is_counted_at_once):
            check(simulated(impl, tmp_path, seed))


def test_what_a_storage_cannot_do_is_not_asked_of_it(impl):
    """Methods for snapshots are a group: a storage has all or none."""
    suite, protocol = module(impl, "testing.storage_suite"), module(impl, "storage.protocol")
    assert set(suite.SNAPSHOT_CHECKS) < set(suite.checks_for(impl.MemoryStorage))
    assert set(suite.SNAPSHOT_CHECKS) < set(suite.checks_for(impl.FileStorage))
    assert set(suite.SNAPSHOT_CHECKS) < set(suite.checks_for(Right))
    assert not set(suite.SNAPSHOT_CHECKS) & set(suite.checks_for(HasNoCompact))
    assert set(suite.LIVES_CHECKS) < set(suite.checks_for(impl.FileStorage))
    for storage in (impl.MemoryStorage, impl.FileStorage, Right):
        assert set(suite.ADDRESS_CHECKS) < set(suite.checks_for(storage))
    assert not set(suite.ADDRESS_CHECKS) & set(suite.checks_for(HasNoCompact))
    assert not set(suite.LIVES_CHECKS) & set(suite.checks_for(HasNoCompact))
    assert protocol.keeps_snapshots(impl.MemoryStorage(VOTERS)) and not protocol.keeps_snapshots(HasNoCompact(None))


class Right:
    """A storage that hands everything on to another one."""

    def __init__(self, kept):
        self.kept = kept

    def open(self, id, cluster):
        return self.kept.open(id, cluster)

    def append(self, hard_state, records):
        self.kept.append(hard_state, records)

    def sync(self):
        self.kept.sync()

    def compact(self, index, term, conf_state):
        self.kept.compact(index, term, conf_state)

    def begin_snapshot(self, descriptor):
        return self.kept.begin_snapshot(descriptor)

    def open_snapshot(self, index=0):
        return self.kept.open_snapshot(index)

    def receive_snapshot(self, descriptor):
        return self.kept.receive_snapshot(descriptor)

    def begin_behind(self, index, term, conf_state):
        self.kept.begin_behind(index, term, conf_state)

    def remember(self, id, met):
        return self.kept.remember(id, met)

    def forgotten(self, life):
        self.kept.forgotten(life)

    def keep_addresses(self, index, addresses, joined):
        self.kept.keep_addresses(index, addresses, joined)

    def close(self):
        self.kept.close()

    def power_fails(self):
        """What becomes of it, before everything that was not synced is forgotten."""

    def put_hard_state(self, **changes):
        """A hard state that it has on disk although nobody has said so."""
        durable = self.kept._durable
        durable.hard_state = dataclasses.replace(durable.hard_state, **changes)

    def not_synced(self):
        """Hard states and entries that were appended and not synced."""
        waiting = [each for each in self.kept._pending if hasattr(each, "term") and not hasattr(each, "anew")]
        return [each for each in waiting if hasattr(each, "vote")], [each for each in waiting if hasattr(each, "data")]


class TakesNobody(Right):
    """It looks at neither id nor cluster."""

    def open(self, id, cluster):
        named = type(cluster) is bytes and len(cluster) == 16
        return super().open(id if id in (1, 2) else 1, cluster if named else OWN)


class OneThread(Right):
    """It belongs to the thread that has opened it, as connections of some databases do."""

    def open(self, id, cluster):
        self.thread = threading.current_thread()
        return super().open(id, cluster)

    def append(self, hard_state, records):
        assert threading.current_thread() is self.thread
        super().append(hard_state, records)


class CompactsWhatIsNotSynced(Right):
    def compact(self, index, term, conf_state):
        if index == self.kept._last == self.kept._durable.last() + 1:
            self.kept._settle()
        super().compact(index, term, conf_state)


class TakesEntriesBeforeTheBase(Right):
    def append(self, hard_state, records):
        base = self.kept._least()
        kept = [each for each in records if int.from_bytes(bytes(each)[8:16], "little") > base]
        super().append(hard_state, kept)


class KeepsNoAddresses(Right):
    def keep_addresses(self, index, addresses, joined):
        if not self.kept._open:
            super().keep_addresses(index, addresses, joined)


class KeepsAddressesWithTheNextSync(Right):
    """They are gone when the power fails before that."""

    later = None

    def keep_addresses(self, index, addresses, joined):
        super().keep_addresses(0, {}, {})
        self.later = index, dict(addresses), dict(joined)

    def sync(self):
        super().sync()
        if self.later is not None:
            self.kept.keep_addresses(*self.later)
            self.later = None


class KeepsTheFirstAddresses(Right):
    def keep_addresses(self, index, addresses, joined):
        before = self.kept._book
        super().keep_addresses(index, before.addresses or addresses, before.joined or joined)


class KeepsAddressesAlone(Right):
    def keep_addresses(self, index, addresses, joined):
        super().keep_addresses(index, addresses, {})


class ForgetsWhoAddedIt(Right):
    def remember(self, id, met):
        return super().remember(id, type(met)(met.life, met.store))


class RemembersFew(Right):
    def remember(self, id, met):
        done = super().remember(id, met)
        self.kept._met = dict(list(self.kept._met.items())[-64:])
        return done


class CountsLater(Right):
    """A life that has written nothing does not count."""

    def append(self, hard_state, records):
        self.wrote = True
        super().append(hard_state, records)

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        if not getattr(self.kept, "wrote", False):
            self.kept._incarnation = 0
            loaded.life = loaded.incarnation << 32
        return loaded


class NoIncarnation(Right):
    """It does not count its openings."""

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        loaded.incarnation = 1
        return loaded


class LosesTheNewestEntry(Right):
    """It does not hand the last record over."""

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        loaded.records = loaded.records[:-1]
        return loaded


class LosesTheVote(Right):
    """It keeps entries and no hard state."""

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        loaded.hard_state = type(loaded.hard_state)()
        return loaded


class LosesTheDoubt(Right):
    """A member that was in doubt is not after the next opening."""

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        state = loaded.hard_state
        loaded.hard_state = type(state)(state.term, state.vote, state.commit)
        return loaded


class HasNoBase(Right):
    """It forgets entries and does not say so."""

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        loaded.base_index = loaded.base_term = 0
        return loaded


class HasTheFirstMembership(Right):
    """The membership at the base is that of the beginning."""

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        loaded.conf_state = type(loaded.conf_state)(voters=(1, 2, 3))
        return loaded


class TakesTheFirstPiece(Right):
    """It takes one piece of records for all there is."""

    def append(self, hard_state, records):
        super().append(hard_state, records[:1])


class AppendsWithoutReplacing(Right):
    """What has the index of an older entry is left out."""

    last = 0

    def append(self, hard_state, records):
        kept = []
        for record in records:
            index = int.from_bytes(bytes(record)[8:16], "little")
            if index > AppendsWithoutReplacing.last:
                AppendsWithoutReplacing.last = index
                kept.append(record)
        super().append(hard_state, kept)


class TakesWhatComes(Right):
    """It refuses nothing, and takes of it what it can."""

    def append(self, hard_state, records):
        with contextlib.suppress(RuntimeError):
            super().append(hard_state, records)


class TakesBeforeItLooks(Right):
    """It refuses, but has taken what came before the fault."""

    def append(self, hard_state, records):
        for each in records:
            super().append(hard_state, [each])
        super().append(hard_state, [])


class TakesAnyTerm(Right):
    """A base has the term that somebody says."""

    def compact(self, index, term, conf_state):
        if (index, term) != (4, 3):
            super().compact(index, term, conf_state)


class LosesTheTime(Right):
    """When an entry was appended is not kept."""

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        entries = self.kept._durable.entries
        loaded.records = [type(each)(each.index, each.term, each.data, each.kind).encode() for each in entries]
        return loaded


class HasTheLastTermAtTheBase(Right):
    """The term of the base is that of the hard state."""

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        if loaded.base_index:
            loaded.base_term = loaded.hard_state.term
        return loaded


class SyncsTheVoteLater(Right):
    """Entries and terms are on disk after a sync; the vote is when it is closed."""

    def power_fails(self):
        self.put_hard_state(vote=0)


class SyncsTheDoubtLater(Right):
    def power_fails(self):
        self.put_hard_state(in_doubt=False)


class WritesTheTermFirst(Right):
    """The power can fail between the term and the vote: then it has voted in that term, or may vote again."""

    def power_fails(self):
        for state in self.not_synced()[0]:
            self.put_hard_state(term=state.term)


class CommitsWhatIsThere(Right):
    def power_fails(self):
        self.put_hard_state(commit=self.kept._durable.last())


class KeepsHalfAnEntry(Right):
    """One that was not synced has its place and its length, and zeros in it."""

    def power_fails(self):
        for state in self.not_synced()[0]:
            self.put_hard_state(**vars(state))
        for entry in self.not_synced()[1][:1]:
            self.kept._durable.take(type(entry)(entry.index, entry.term, bytes(len(entry.data)), entry.kind))


class KeepsTheOldTail(Right):
    """What was replaced is behind the end again when the power fails."""

    tail = ()

    def sync(self):
        before = [*self.kept._durable.entries, *self.tail]
        super().sync()
        self.tail = [entry for entry in before if entry.index > self.kept._durable.last()]

    def power_fails(self):
        for entry in self.tail:
            self.kept._durable.take(entry)


class LosesItsSnapshots(Right):
    """What it has written is on disk when it is closed."""

    def power_fails(self):
        folder = self.kept._folder
        for name in [each for each in folder.files if each.startswith("snapshot-")]:
            del folder.files[name]


class SyncsNothing(Right):
    """``sync`` returns at once."""

    def sync(self):
        pass


class CompactsTooMuch(Right):
    """One entry more than was asked for."""

    def compact(self, index, term, conf_state):
        super().compact(index + 1, term, conf_state)


class CompactsWhatIsNotThere(Right):
    """An index behind the log is as good as the last one."""

    def compact(self, index, term, conf_state):
        try:
            super().compact(index, term, conf_state)
        except Exception:
            return


class BaseInMemory(Right):
    """The base is that of this life, and the next one has what it was before; the entries are gone."""

    before = None

    def open(self, id, cluster):
        loaded = super().open(id, cluster)
        if BaseInMemory.before is not None:
            loaded.base_index, loaded.base_term, loaded.conf_state = BaseInMemory.before
        BaseInMemory.before = (loaded.base_index, loaded.base_term, loaded.conf_state)
        return loaded


class OpensTwice(Right):
    """Nobody is refused."""

    def open(self, id, cluster):
        self.kept.close()
        return super().open(id, cluster)


class TakesAnotherNode(Right):
    """It does not look at whose it is."""

    def open(self, id, cluster):
        self.kept._owner = (id, cluster)
        return super().open(id, cluster)


class StaysOpen(Right):
    """``close`` leaves the lock."""

    def close(self):
        pass


class HasNoCompact:
    """It was made for the first version of the protocol."""

    open, append, sync, close = Right.open, Right.append, Right.sync, Right.close

    def __init__(self, kept):
        self.kept = kept


class SnapshotBesideTheLog(Right):
    """It keeps the snapshot and the whole log."""

    def begin_behind(self, index, term, conf_state):
        self.kept._opened().check_behind(index, term, conf_state)


class BeginsBehindAtOnce(Right):
    """The log begins behind the snapshot before the entries there are on disk."""

    def begin_behind(self, index, term, conf_state):
        self.kept.begin_behind(index, term, conf_state)
        self.kept.sync()


class VoidEntriesComeBack(Right):
    """What was behind the snapshot before is there again."""

    def begin_behind(self, index, term, conf_state):
        durable = self.kept._durable
        self.kept._settle()
        tail = [each for each in durable.entries if each.index > index]
        self.kept.begin_behind(index, term, conf_state)
        self.kept._settle()
        durable.entries = tail


class BelievesAnyChunk(Right):
    """A chunk is taken as it is."""

    def receive_snapshot(self, descriptor):
        receiver = self.kept.receive_snapshot(descriptor)
        put = receiver.put

        def believe(number, chunk):
            try:
                put(number, chunk)
            except Exception:
                return

        receiver.put = believe
        return receiver


class OpensTheNewest(Right):
    """Whichever snapshot is asked for, it gives the newest one."""

    def open_snapshot(self, index=0):
        return self.kept.open_snapshot()


class ForgetsWhomItMet(Right):
    """What it is to remember is gone with the next opening."""

    def remember(self, id, met):
        return True


class ForgetsThatItHasForgotten(Right):
    def forgotten(self, life):
        pass


#: each with the checks that must find it, among others
WRONG = (
    (TakesNobody, "what_is_nobody_does_not_open"),
    (OneThread, "it_may_be_called_from_several_threads"),
    (CompactsWhatIsNotSynced, "compaction_refuses_what_is_not_there"),
    (LosesTheTime, "entries_are_kept_to_the_last_bit"),
    (HasTheLastTermAtTheBase, "compaction_keeps_what_lies_behind"),
    (SyncsTheVoteLater, "a_power_cut_takes_nothing_that_was_synced"),
    (SyncsTheDoubtLater, "a_power_cut_takes_nothing_that_was_synced"),
    (WritesTheTermFirst, "a_power_cut_takes_nothing_that_was_synced"),
    (CommitsWhatIsThere, "a_power_cut_takes_nothing_that_was_synced"),
    (KeepsHalfAnEntry, "a_power_cut_takes_nothing_that_was_synced"),
    (KeepsTheOldTail, "a_power_cut_brings_nothing_back_that_was_replaced"),
    (LosesItsSnapshots, "a_power_cut_takes_no_snapshot_that_was_finished"),
    (TakesEntriesBeforeTheBase, "compaction_refuses_what_is_not_there"),
    (KeepsNoAddresses, "addresses_are_kept_when_the_log_begins_anew"),
    (KeepsAddressesWithTheNextSync, "addresses_are_kept_when_the_log_begins_anew"),
    (KeepsTheFirstAddresses, "addresses_are_kept_when_the_log_begins_anew"),
    (KeepsAddressesAlone, "addresses_are_kept_when_the_log_begins_anew"),
    (ForgetsWhoAddedIt, "lives_of_others_are_remembered"),
    (RemembersFew, "the_last_400_are_remembered"),
    (CountsLater, "a_life_is_counted_at_once"),
    (NoIncarnation, "the_incarnation_counts_openings"),
    (LosesTheNewestEntry, "it_keeps_what_was_synced"),
    (LosesTheVote, "it_keeps_a_hard_state_alone"),
    (LosesTheDoubt, "it_keeps_a_hard_state_alone"),
    (HasNoBase, "compaction_keeps_what_lies_behind"),
    (HasTheFirstMembership, "compaction_keeps_what_lies_behind"),
    (TakesTheFirstPiece, "records_come_in_pieces_of_any_length"),
    (AppendsWithoutReplacing, "a_lower_index_replaces_the_tail"),
    (TakesWhatComes, "what_could_not_be_opened_again_is_refused"),
    (TakesBeforeItLooks, "what_could_not_be_opened_again_is_refused"),
    (TakesAnyTerm, "compaction_refuses_what_is_not_there"),
    (SyncsNothing, "a_power_cut_takes_nothing_that_was_synced"),
    (CompactsTooMuch, "compaction_keeps_what_lies_behind"),
    (CompactsWhatIsNotThere, "compaction_refuses_what_is_not_there"),
    (BaseInMemory, "compaction_keeps_what_lies_behind"),
    (OpensTwice, "one_node_uses_it_at_a_time"),
    (TakesAnotherNode, "one_node_uses_it_at_a_time"),
    (StaysOpen, "the_incarnation_counts_openings"),
    (HasNoCompact, "it_has_the_methods_of_a_storage"),
    (SnapshotBesideTheLog, "a_log_begins_anew_behind_a_snapshot"),
    (BeginsBehindAtOnce, "a_power_cut_leaves_the_log_as_before_or_as_after_a_snapshot"),
    (VoidEntriesComeBack, "a_log_begins_anew_behind_a_snapshot"),
    (BelievesAnyChunk, "a_snapshot_arrives_in_chunks"),
    (ForgetsWhomItMet, "lives_of_others_are_remembered"),
    (ForgetsThatItHasForgotten, "a_member_that_has_forgotten_does_not_open"),
    (OpensTheNewest, "a_snapshot_that_was_written_is_kept"),
)


def cut(storage):
    """The power fails."""
    storage.power_fails()
    storage.kept.crash()


def failures(impl, wrong):
    """The checks that such a storage fails, and how."""
    suite = module(impl, "testing.storage_suite")
    failed = {}
    for check in suite.checks_for(wrong):
        kept = impl.MemoryStorage(VOTERS)
        BaseInMemory.before, AppendsWithoutReplacing.last = None, 0
        subject = suite.Subject(lambda kept=kept: wrong(kept), lambda storage: cut(storage))
        try:
            check(subject)
        except Exception as error:
            failed[check.__name__] = error
    return failed


def test_a_right_storage_passes(impl):
    assert failures(impl, Right) == {}


@pytest.mark.parametrize(("wrong", "check"), [pytest.param(*each, id=each[0].__name__) for each in WRONG])
def test_a_wrong_storage_fails_the_check_of_what_it_breaks(impl, wrong, check):
    assert check in failures(impl, wrong)
