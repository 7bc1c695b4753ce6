"""Clients for threads: what each object does, what a holder learns, and how little is proposed."""

import gc
import threading
import time
import weakref

import pytest

from tests.helpers.recipe_clients import RecipeCluster
from tests.helpers.waiting import WAIT, eventually


@pytest.fixture
def cluster(impl):
    made = RecipeCluster(impl, 2)
    yield made
    made.close()


@pytest.fixture
def ttl():
    """Long, so that nothing is lost on a machine that is busy."""
    return 20.0


#: for tests in which leases run out
brief = pytest.mark.parametrize("ttl", [1.0])


@pytest.fixture
def one(cluster, ttl):
    return cluster.client(1, ttl=ttl)


@pytest.fixture
def two(cluster, ttl):
    return cluster.client(2, ttl=ttl)


def in_thread(function, *arguments):
    """The result of a function, when it is asked for."""
    found = []

    def body():
        try:
            found.append((function(*arguments), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()

    def result():
        thread.join(WAIT)
        assert found, "it did not end in time"
        value, error = found[0]
        if error is not None:
            raise error
        return value

    return result


def test_a_lock(cluster, one, two):
    lock, other = one.lock("x", "me"), two.lock("x")
    assert not lock.held and lock.token == 0 and lock.lost.is_set()
    with lock as held:
        assert held is lock and lock.held and not lock.lost.is_set()
        assert lock.check() == lock.token > 0
        assert not other.acquire(timeout=0)
        assert not other.acquire(timeout=0.05)
        assert two.lock("x").holders() == [("me", lock.token)]
        token, wanted = lock.token, in_thread(other.acquire)
        # The member of the first client may not know yet that the other one had given up.
        eventually(lambda: one.lock("x").contenders() == [("me", token), (None, 0)])
    assert wanted()
    assert other.token > token
    lost = other.lost
    assert not lost.is_set() and not lost.wait(0.01)
    other.release()
    assert lost.is_set() and lost.wait(0)
    assert two.lock("x").holders() == []


def test_mistakes_of_users_are_named(impl, cluster, one):
    recipes = cluster.recipes
    lock = one.lock("x")
    with pytest.raises(impl.UsageError, match="is not held by this object: acquire it first"):
        lock.release()
    with pytest.raises(recipes.LockLost, match="lock 'x' is not held"):
        lock.check()
    lock.acquire()
    with pytest.raises(impl.UsageError, match="is held, or waited for, by this object: release it"):
        lock.acquire()
    for make, text in (
        (lambda: one.lock(""), r"name must be a str of 1\.\.255 bytes"),
        (lambda: one.lock("x" * 256), r"name must be a str of 1\.\.255 bytes"),
        (lambda: one.lock("x", object()), "value must be None, a bool, .* not object: encode"),
        (lambda: one.lock("x", on_lost=3), "on_lost must be a function"),
        (lambda: one.semaphore("x", 0), r"limit must be an integer in 1\.\.1000000, not 0"),
        (lambda: one.barrier("x", 1.5), r"parties must be an integer in 1\.\.1000000, not 1\.5"),
        (lambda: one.queue("x", True), r"maxsize must be an integer in 1\.\.1000000, not True"),
        (lambda: one.rate_limiter("x", 0), r"rate must be a number of tokens a second in 0\.000001\.\.1000000, not 0"),
        (lambda: one.rate_limiter("x", 1.0).acquire(2), r"count must be an integer in 1\.\.1, not 2"),
        (lambda: one.rate_limiter("x", 1.0).peek(0), r"count must be an integer in 1\.\.1, not 0"),
        (lambda: one.dict("x").set(3, 4), r"key must be a str of 1\.\.1024 bytes"),
        (lambda: one.dict("x").set("k", b"x" * (1 << 20)), "256 KiB in all"),
        (lambda: one.dict("x").update({}), r"an update has 1\.\.10000 changes, not 0"),
        (lambda: one.dict("x").update({"a": 1}, delete=["a"]), "changes a key twice"),
        (lambda: one.dict("x").update({"a": 1}, versions={"b": 1}), "keys that are not changed: .'b'."),
        (lambda: one.dict("x").update({str(at): b"-" * (200 << 10) for at in range(5)}), "a command may have 768 KiB"),
        (lambda: one.dict("x").set("k", 1, fence=0), "fence must be an integer in 1..*or None, not 0"),
        (lambda: one.dict("x").watch(-1), "revision must be an integer in 0"),
        (lambda: one.counter("x").add(2**63), "delta must be an integer in -9223372036854775808"),
        (lambda: one.lock("y").acquire(timeout="soon"), "timeout"),
        (lambda: recipes.Client(object()), "node must be a raftx.Node"),
    ):
        with pytest.raises(impl.UsageError, match=text):
            make()
    with pytest.raises(impl.ConfigError, match=r"ttl must be a number of seconds in 0\.1\.\.86400, not 0\.01"):
        recipes.Client(cluster.nodes[1], ttl=0.01)


def test_a_node_may_be_within_another(impl, cluster):
    """As that for asyncio is."""
    wrapped = type("Wrapped", (), {"node": cluster.nodes[1]})()
    client = cluster.recipes.Client(wrapped)
    cluster.clients.append(client)
    assert client.hub.machine is cluster.machines[1]
    cluster.nodes[1].wait_ready(WAIT)
    assert client.counter("c").add() == 1


class Plain:
    def apply(self, entry):
        pass


def test_a_node_without_recipes_is_refused(impl, mod):
    storage, transport = impl.MemoryStorage(voters=[1]), impl.MemoryNetwork().transport()
    node = impl.Node(impl.Config(id=1), storage, transport, Plain())
    with node, pytest.raises(impl.UsageError, match=r"must be a raftx\.recipes\.Recipes, not Plain: give the node"):
        mod("recipes").Client(node)


@brief
def test_a_holder_that_is_not_heard_of_loses_its_lock(cluster, one, two):
    told = threading.Event()
    lock = one.lock("x", on_lost=told.set)
    lock.acquire()
    token, values = lock.token, one.dict("d")
    values.set("k", 1, fence=token)
    cluster.die(one)
    other = two.lock("x")
    assert other.acquire(timeout=WAIT)
    assert not lock.held and lock.lost.is_set() and lock.token == 0
    with pytest.raises(cluster.recipes.TokenRefused, match="not in force"):
        values.set("k", 2, fence=token)
    assert two.dict("d").set("k", 3, fence=other.token) == 2
    del one.hub._round
    one.hub._wake.set()
    assert told.wait(WAIT) and lock.lost.wait(WAIT)
    with pytest.raises(cluster.recipes.LockLost, match="was lost before it was released"):
        lock.release()
    # The client goes on under another lease.
    waiting = in_thread(lock.acquire, WAIT)
    eventually(lambda: cluster.machines[1].find("lock", "x").waiters)
    other.release()
    assert waiting() and lock.token > other.token


@brief
def test_a_lease_counts_as_over_before_others_get_it(cluster, one, two):
    lock = one.lock("x")
    lock.acquire()
    cluster.die(one)
    other = in_thread(two.lock("x").acquire, WAIT)
    assert eventually(lambda: not lock.held, every=0.0005)
    holders = cluster.machines[2].find("lock", "x").holders
    assert [key[0] for key in holders] == [one.hub._grip.id], "somebody else has it, and its holder does not know"
    assert other()


@pytest.mark.slow
@pytest.mark.parametrize("ttl", [3.0])
def test_leases_are_renewed_while_something_is_held(cluster, one):
    lock = one.lock("x")
    lock.acquire()
    deadline = time.monotonic() + 4.0
    while time.monotonic() < deadline:
        assert lock.held
        time.sleep(0.02)
    lock.release()


def test_a_node_that_is_closed_loses_what_its_clients_hold(impl, cluster, one, two):
    told = threading.Event()
    lock = two.lock("x", on_lost=told.set)
    lock.acquire()
    waits = in_thread(two.queue("q").get)
    eventually(lambda: two.hub._waiting)
    cluster.nodes[2].close()
    assert told.wait(WAIT)
    assert not lock.held
    with pytest.raises(impl.Stopped):
        waits()
    with pytest.raises(impl.Stopped):
        two.lock("y").acquire()
    cluster.start(2)


@pytest.mark.slow
@brief
def test_nothing_is_proposed_while_nothing_is_held(cluster, one, two):
    with one.lock("x"):
        pass
    two.dict("d").set("k", 1)
    for client in (one, two):
        eventually(lambda client=client: client.hub._thread is None)
    time.sleep(0.2)
    before = [node.status().last for node in cluster.nodes.values()]
    time.sleep(2.5)
    assert [node.status().last for node in cluster.nodes.values()] == before


def test_a_session_is_not_kept_alive_for_nothing(cluster, one):
    asked, session = [], cluster.nodes[1].session
    one.hub.node = type("Asked", (), {"session": lambda _, **more: asked.append(more) or session(**more)})()
    one.counter("c").add()
    assert asked == [{"keep_alive": False}]
    one.hub.node = cluster.nodes[1]


@brief
def test_waiting_proposes_nothing_but_renewals(cluster, one, two):
    lock = one.lock("x")
    lock.acquire()
    waiting = in_thread(two.lock("x").acquire, WAIT)
    eventually(lambda: cluster.machines[1].find("lock", "x").waiters)
    before = cluster.nodes[1].status().last
    time.sleep(2.0)
    # Two clients that renew four times a second, and no more than a few beside that.
    assert cluster.nodes[1].status().last - before <= 24
    lock.release()
    assert waiting()


def test_readers_and_writers(cluster, one, two):
    first, second, writer = one.rwlock("x").reader(), two.rwlock("x").reader(), two.rwlock("x").writer()
    with first, second:
        assert not writer.acquire(timeout=0.1)
        wanted = in_thread(writer.acquire, WAIT)
        eventually(lambda: cluster.machines[1].find("rwlock", "x").waiters)
        assert not one.rwlock("x").reader().acquire(timeout=0)
    assert wanted()
    assert not first.acquire(timeout=0)
    writer.release()
    assert first.acquire(timeout=0)


def test_a_semaphore(cluster, one, two):
    permits = [client.semaphore("s", 2) for client in (one, one, two)]
    assert [permit.acquire(timeout=0) for permit in permits] == [True, True, False]
    with pytest.raises(cluster.recipes.SettingsDiffer, match="in use with 2: give all its clients the same number"):
        two.semaphore("s", 3).acquire()
    permits[0].release()
    assert permits[2].acquire(timeout=WAIT)


def test_a_dict(cluster, one, two):
    values, other = one.dict("d"), two.dict("d")
    assert values.get("k") is None and values.get("k", 7) == 7
    assert values.set("k", {"a": [1, 2.5, b"x", None, ("t",)]}) == 1
    assert other.get("k") == {"a": [1, 2.5, b"x", None, ("t",)]}
    assert other.get_versioned("k").version == 1 and other.get_versioned("none") == (None, 0)
    assert other.compare_and_set("k", 2, 1) == 2
    with pytest.raises(cluster.recipes.VersionDiffers, match="key 'k' has version 2") as raised:
        values.compare_and_set("k", 3, 1)
    assert raised.value.found == 2
    with pytest.raises(cluster.recipes.VersionDiffers):
        values.set("k", 3, version=0)
    assert values.update({"a": 1, "b": 2}, delete=["k"], versions={"a": 0, "k": 2}) == 5
    assert values.items() == ({"a": 1, "b": 2}, 5)
    assert other.get("a", level="stale", max_staleness=30.0) == 1
    assert values.delete("a") == 6
    assert values.clear() == 7
    assert values.items() == ({}, 7)


def test_a_watch_misses_and_repeats_nothing(cluster, one, two):
    values = two.dict("d")
    values.set("k", 0)
    watch = one.dict("d").watch(one.dict("d").items().revision)
    writing = in_thread(lambda: [values.set(f"k{at % 7}", at) for at in range(200)])
    seen = [watch.next(WAIT) for _ in range(200)]
    writing()
    assert [change.revision for change in seen] == list(range(2, 202))
    assert [change.value for change in seen] == list(range(200))
    values.delete("k1")
    change = next(watch)
    assert change == (202, "k1", None, True) and watch.revision == 202
    with pytest.raises(TimeoutError):
        watch.next(0.05)
    # Another one goes on where this one was, in the middle of what came at once.
    again = two.dict("d").watch(seen[99].revision)
    assert [again.next(WAIT) for _ in range(101)] == [*seen[100:], change]


def test_a_watch_that_fell_behind_says_so(cluster, one, two):
    values = one.dict("d")
    watch = two.dict("d").watch(0)
    for _ in range(4):
        values.update({str(at): at for at in range(300)})
    assert two.dict("d").items().revision == 1200  # this member has them all
    with pytest.raises(cluster.recipes.FellBehind, match="revision 0 is before: read items") as raised:
        while True:
            watch.next(WAIT)
    assert raised.value.oldest == 200
    assert two.dict("d").watch(200).next(WAIT).revision == 201


def test_whoever_waits_goes_on_behind_a_snapshot(impl):
    """A member that was cut off is given a snapshot: nothing is missed there, and what was held is known to be lost."""
    cluster = RecipeCluster(impl, 3, snapshot_entries=20, keep_entries=0, max_log_bytes=0)
    try:
        one, three = cluster.client(1, ttl=30.0), cluster.client(3, ttl=0.5)
        # Leadership is not to move with the cut.
        if cluster.leader().id == 3:
            cluster.nodes[3].transfer_leadership(1).result(WAIT)
        values, lock = one.dict("d"), three.lock("x")
        values.set("k", -1)
        assert lock.acquire(timeout=WAIT)
        token = lock.token
        watch = three.dict("d").watch(1)
        waiting = in_thread(watch.next, WAIT)
        restored, restore = [], cluster.machines[3]._restore
        cluster.nodes[3]._outside.state_machine.restore = lambda reader: (
            restored.append(reader.index),
            restore(reader),
        )
        cluster.network.partition([1, 2], [3])
        for at in range(200):
            values.set(f"k{at % 5}", at)
        taken = one.lock("x")
        assert taken.acquire(timeout=WAIT) and taken.token > token
        assert not lock.held
        cluster.network.heal()
        seen = [waiting(), *[watch.next(WAIT) for _ in range(199)]]
        assert [change.value for change in seen] == list(range(200))
        assert restored, "it has not taken a snapshot"
        assert not lock.acquire(timeout=0)
        taken.release()
        assert lock.acquire(timeout=WAIT)
    finally:
        cluster.close()


def test_a_counter(cluster, one, two):
    counter = one.counter("c")
    assert [counter.add(), two.counter("c").add(5), counter.add(-2)] == [1, 6, 4]
    assert two.counter("c").get() == 4
    assert counter.set(10) == 4
    assert counter.compare_and_set(10, 11) == 10
    with pytest.raises(cluster.recipes.VersionDiffers, match="the counter is 11") as raised:
        counter.compare_and_set(10, 12)
    assert raised.value.found == 11
    with pytest.raises(cluster.recipes.OutOfRange, match="this one is 11"):
        counter.add(2**63 - 1)


def test_a_queue(cluster, one, two):
    queue = one.queue("q", maxsize=2)
    assert queue.get(timeout=0) is None
    numbers = [queue.put("a"), queue.put({"b": 1})]
    with pytest.raises(cluster.recipes.Full, match="queue 'q' has 2 items"):
        queue.put("c", timeout=0.1)
    with pytest.raises(cluster.recipes.Full):
        queue.put("c", timeout=0)
    with two.queue("q").get() as item:
        assert (item.value, item.number, item.attempts) == ("a", numbers[0], 1)
        assert two.dict("d").set("k", 1, fence=item.token) == 1
    assert queue.size() == 1
    with pytest.raises(ZeroDivisionError), queue.get() as item:
        raise ZeroDivisionError
    item = queue.get(timeout=0)
    assert (item.value, item.attempts) == ({"b": 1}, 2)
    queue.put("d")
    putting = in_thread(queue.put, "e")
    eventually(lambda: one.hub._waiting)
    item.ack()
    assert putting() > 0
    with pytest.raises(cluster.recipes.LockLost):
        item.ack()
    waiting = [two.queue("q").get(timeout=WAIT) for _ in range(2)]
    assert [each.value for each in waiting] == ["d", "e"]
    getting = in_thread(one.queue("q").get, WAIT)
    eventually(lambda: cluster.machines[1].find("queue", "q").waiters)
    two.queue("q").put("f")
    assert getting().value == "f"


def test_an_election(cluster, one, two):
    first, second = one.election("e", "one"), two.election("e", "two")
    stream = two.election("e").observe()
    assert stream.next(WAIT) is None
    inside, go_on = threading.Event(), threading.Event()

    def lead(election):
        assert election.held
        inside.set()
        assert go_on.wait(WAIT)
        return election.token

    leading = in_thread(first.run, lead)
    assert inside.wait(WAIT)
    assert stream.next(WAIT) == ("one", first.token)
    assert two.election("e").leader() == ("one", first.token)
    following = in_thread(second.run, lambda election: election.token)
    eventually(lambda: cluster.machines[2].find("election", "e").waiters)
    go_on.set()
    assert leading() < following()
    eventually(lambda: two.election("e").leader() is None)
    with pytest.raises(ZeroDivisionError):
        first.run(lambda _: 1 // 0)
    assert not first.held and one.election("e").leader() is None


@brief
def test_a_party(cluster, one, two):
    party = one.party("p", "one")
    watch = two.party("p").watch()
    assert watch.next(WAIT) == []
    assert party.join()
    assert [each.value for each in watch.next(WAIT)] == ["one"]
    with two.party("p", "two"):
        assert [each.value for each in party.members()] == ["one", "two"]
        assert [each.value for each in watch.next(WAIT)] == ["one", "two"]
    assert [each.value for each in watch.next(WAIT)] == ["one"]
    cluster.die(one)
    assert watch.next(WAIT) == []


def test_barriers(cluster, one, two):
    waiting = in_thread(one.barrier("b", 2).wait, WAIT)
    assert two.barrier("b", 2).wait(WAIT) and waiting()
    barrier = one.barrier("b", 2)
    assert not barrier.wait(0.05)
    with pytest.raises(cluster.recipes.SettingsDiffer):
        waiting = in_thread(barrier.wait, WAIT)
        eventually(lambda: cluster.machines[2].find("barrier", "b").arrived)
        two.barrier("b", 3).wait(0)
    assert two.barrier("b", 2).wait(WAIT) and waiting()
    pair = [client.double_barrier("c", 2) for client in (one, two)]
    entering = in_thread(pair[0].enter, WAIT)
    assert pair[1].enter(WAIT) and entering()
    assert not pair[1].leave(0.05)
    leaving = in_thread(pair[1].leave, WAIT)
    assert pair[0].leave(WAIT) and leaving()
    with pytest.raises(cluster.recipes.LockLost):
        pair[0].leave()


def test_a_rate_limiter(cluster, one, two):
    limits = [client.rate_limiter("r", 100.0, 3) for client in (one, two)]
    begun = time.monotonic()
    assert all(limits[at % 2].acquire() for at in range(23))
    assert time.monotonic() - begun >= 0.2 - 0.001
    assert not limits[0].acquire(3, timeout=0)
    assert limits[0].acquire(3, timeout=WAIT)


def test_what_is_given_up_is_given_back(cluster, one):
    """Whoever stops to wait, by a timeout or an interrupt, leaves nothing behind."""
    two = cluster.client(2, ttl=600.0)
    lock, other = one.lock("x"), two.lock("x")
    lock.acquire()
    assert not other.acquire(timeout=0.05)

    def interrupt(*_):
        raise KeyboardInterrupt

    two.hub.until, until = interrupt, two.hub.until
    with pytest.raises(KeyboardInterrupt):
        other.acquire()
    two.hub.until = until
    eventually(lambda: not cluster.machines[1].find("lock", "x").waiters)
    assert not other.held
    lock.release()
    assert other.acquire(timeout=WAIT)


@brief
def test_without_a_majority_nothing_is_held_and_nothing_is_left(impl, cluster, one, two):
    lock, held = one.lock("x"), one.lock("y")
    held.acquire()
    cluster.network.partition([1], [2])
    with pytest.raises(impl.ProposalError):
        lock.acquire(timeout=1.0)
    assert not lock.held
    eventually(lambda: not held.held and held.lost.is_set())
    with pytest.raises(cluster.recipes.LockLost):
        held.release()
    cluster.network.heal()
    for name in ("x", "y"):
        assert two.lock(name).acquire(timeout=WAIT)
        assert not one.lock(name).acquire(timeout=0)


def test_leaders_change_and_each_command_is_done_once(impl, cluster, one, two):
    counters = [client.counter("c") for client in (one, two)]
    adding = [in_thread(lambda each=each: [each.add() for _ in range(40)]) for each in counters for _ in range(3)]
    for _ in range(4):
        leader = cluster.leader()
        try:
            leader.transfer_leadership(3 - leader.id).result(WAIT)
        except impl.ProposalError:
            time.sleep(0.05)
    values = [value for each in adding for value in each()]
    assert sorted(values) == list(range(1, 241)) and one.counter("c").get() == 240


def test_a_client_that_is_closed_gives_everything_back(impl, cluster, one, two):
    told = threading.Event()
    lock = one.lock("x", on_lost=told.set)
    lock.acquire()
    waiting = in_thread(two.lock("x").acquire, WAIT)
    eventually(lambda: cluster.machines[1].find("lock", "x").waiters)
    one.close()
    one.close()
    assert waiting()
    assert told.is_set() and not lock.held
    with pytest.raises(impl.UsageError, match="the client was closed: make another one"):
        one.dict("d").set("k", 1)


def test_a_session_that_is_forgotten_is_followed_by_another(impl, cluster, one):
    counter = one.counter("c")
    counter.add()
    one.hub._session.close().result(WAIT)
    assert counter.add() == 2


def test_objects_that_are_forgotten_go(cluster, one):
    lock = one.lock("x")
    lock.acquire()
    lock.release()
    gone = weakref.ref(lock._inner)
    del lock
    gc.collect()
    assert gone() is None


def test_a_thread_of_the_node_is_not_kept_waiting(impl, cluster, one):
    with pytest.raises(impl.UsageError, match="this thread ends the futures of its node"):
        cluster.nodes[1].query(lambda _: one.counter("c").add()).result(WAIT)
