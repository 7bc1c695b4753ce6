"""What tests of reads share: frames that are lost, and looks at a state machine. Not a test."""

from tests.helpers.meetings import begun
from tests.helpers.stepped import ELECTION_TICKS, TICK_MS, World

TIMEOUT_ROUNDS = 5000
ELECTION = ELECTION_TICKS * TICK_MS  # rounds of an election timeout


def met_world(impl):
    """For a fixture: three members, one of which leads, and all of which have begun; closed at the end."""
    made = World(impl, 3)
    made.leader()
    made.until(lambda: begun(made.nodes.values()))
    yield made
    made.close()


class Cuts:
    """Frames of a world that are lost: to or from these members, or of these kinds of messages.

    And messages: of kinds, by the member that they are for.
    """

    def __init__(self, world):
        self.world, self.members, self.lost, self.lost_to = world, set(), set(), {}
        self.seen = []
        for id, deliver in list(world.receive.items()):
            world.receive[id] = self.through(id, deliver)

    def through(self, to, deliver):
        codec = self.world.impl._core.Codec(self.world.nodes[to].config.cluster, to, 1)

        def take(frame):
            messages = codec.decode(bytes(frame))
            sender = int.from_bytes(bytes(frame[32:40]), "little")
            kinds = {message.kind for message in messages}
            self.seen += [(sender, to, kind) for kind in kinds]
            if {sender, to} & self.members or kinds & self.lost:
                return
            lost = self.lost_to.get(to, set())
            if kinds & lost:
                life = int.from_bytes(bytes(frame[48:56]), "little")
                again = self.world.impl._core.Codec(self.world.nodes[to].config.cluster, sender, life)
                frame = again.encode(to, [message for message in messages if message.kind not in lost])
            deliver(frame)

        return take


def others(world):
    leader = world.leader()
    return leader, [node for node in world.nodes.values() if node is not leader]


def done(world, future, rounds=TIMEOUT_ROUNDS + 100):
    world.until(future.done, rounds)
    return future.result(0)


def last(machine):
    return machine.entries[-1][2] if machine.entries else None


def slowed(world, id, every):
    """The apply thread of a member gets a round, and an entry, only now and then."""
    executor, engine = world.executors[id], world.engine(id)
    step = executor.step
    turn = iter(range(1, 10**9))

    def seldom(name):
        return True if name == "apply" and next(turn) % every else step(name)

    executor.step = seldom
    return engine
