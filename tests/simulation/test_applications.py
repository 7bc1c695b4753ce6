"""State machines that users could bring, in schedules of whole nodes: a right one, and wrong ones, which are seen."""

import json
import logging
import threading

import pytest

from tests.helpers.implementations import module

SCHEDULES = 8


class KeyValue:
    """Keys with values and versions. Results depend on what was there before."""

    def __init__(self):
        self.values = {}

    def apply(self, entry):
        command = json.loads(entry.data)
        key = command["key"]
        version, before = self.values.get(key, (0, None))
        if "if" in command and command["if"] != version:
            return "refused", version
        self.values[key] = (version + 1, command["value"])
        return "set", version + 1, before

    def digest(self):
        return sorted(self.values.items())


def put(rng, tag, size):
    """A command: it sets one of three keys, sometimes only if it has a version."""
    command = {"key": rng.choice("abc"), "value": tag.decode()}
    if rng.random() < 0.3:
        command["if"] = rng.randint(0, 5)
    return json.dumps(command).encode().ljust(size)


@pytest.fixture
def nodes(impl):
    return module(impl, "testing.nodes")


def schedules(nodes, machine, command=put):
    done = 0
    for seed in range(SCHEDULES):
        done += nodes.run(seed, application=nodes.Application(machine, command)).totals["done"]
    return done


def test_a_right_one_passes(nodes):
    made = []

    def machine():
        made.append(KeyValue())
        return made[-1]

    assert schedules(nodes, machine) > 50
    assert sum("a" in each.values for each in made) > SCHEDULES


def test_results_of_its_life_are_seen(nodes):
    lives = []

    class OfItsLife(KeyValue):
        def __init__(self):
            super().__init__()
            lives.append(self)
            self.life = len(lives)

        def apply(self, entry):
            return super().apply(entry), self.life

    with pytest.raises(nodes.Violation, match=r"^seed \d+: .*state machine safety: .* gives \(.*, it gave"):
        schedules(nodes, OfItsLife)


def test_a_state_that_is_not_of_the_entries_alone_is_seen(nodes):
    counts = iter(range(10**6))

    class Stamped(KeyValue):
        def apply(self, entry):
            result = super().apply(entry)
            self.values["stamp"] = next(counts)
            return result

    with pytest.raises(nodes.Violation, match=r"^seed \d+: state machine safety: after \d+ entries the state of node"):
        schedules(nodes, Stamped)


def test_one_that_raises_is_seen(nodes):
    class Strict(KeyValue):
        def apply(self, entry):
            if "if" in json.loads(entry.data):
                raise LookupError("no conditions here")
            return super().apply(entry)

    with pytest.raises(nodes.Violation, match=r"^seed \d+: node \d has failed: LookupError\('no conditions here'\)"):
        schedules(nodes, Strict)


def test_a_command_without_its_tag_is_refused(impl, nodes):
    with pytest.raises(impl.UsageError, match="does not hold its tag"):
        schedules(nodes, KeyValue, lambda rng, tag, size: b"{}")


class Odd:
    digest = 5

    def apply(self, entry):
        """Nothing."""


WRONG = {
    "an object that is no factory": (KeyValue(), put, "machine must be a function or a class, not"),
    "no apply": (dict, put, r"machine\(\) must make an object with a method apply\(entry\), not {}"),
    "a class": (lambda: KeyValue, put, r"machine\(\) must make an object .*, not <class"),
    "none can be made": (lambda: 1 / 0, put, r"machine\(\) must make a state machine, and raised ZeroDivisionError"),
    "a digest that is no method": (Odd, put, "digest of what .* must be a method, not 5"),
    "no commands": (KeyValue, b"put", "command must be a function or a class, not b'put'"),
    "text": (KeyValue, lambda rng, tag, size: tag.decode(), r"command\(\) must make bytes, not '"),
    "too long": (KeyValue, lambda rng, tag, size: tag + bytes(4096), r"command\(\) must make at most 4096 bytes, not"),
    "it raises": (KeyValue, lambda rng, tag, size: {}[tag], r"command\(\) must make bytes, and raised KeyError"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_application_is_an_error_of_its_user(impl, nodes, what):
    """Not a violation: nothing was found. What shows during a schedule is told with its seed."""
    machine, command, text = WRONG[what]
    with pytest.raises(impl.UsageError, match=text) as raised:
        schedules(nodes, machine, command)
    assert ("seed" in str(raised.value)) == ("()" in text.replace("\\", "") or "digest" in text)


def test_the_arguments_of_a_schedule(impl, nodes):
    """Without a seed nobody could see a violation again."""
    simulator, core = module(impl, "testing.simulator"), module(impl, "testing.schedule")
    for seed in (None, 1.0, "1", True):
        for call in (nodes.run, simulator.Simulation, core.Schedule):
            with pytest.raises(impl.UsageError, match=f"seed must be an integer, .*, not {seed!r}"):
                call(seed)
    for application in (KeyValue, KeyValue(), 5):
        with pytest.raises(impl.UsageError, match="application must be an Application, not"):
            nodes.run(1, application=application)
    with pytest.raises(impl.UsageError, match="make_disk must be None or a function"):
        nodes.run(1, make_disk=5)


def test_an_error_of_the_node_s_own_is_a_violation(impl, nodes, monkeypatch):
    """Also one that is called UsageError: only what the application did is the application's."""

    def refuses(self, *arguments, **settings):
        raise impl.UsageError("of the node")

    monkeypatch.setattr(impl.Node, "propose", refuses)
    with pytest.raises(nodes.Violation, match=r"^seed \d+: UsageError: of the node"):
        schedules(nodes, KeyValue)


@pytest.mark.slow
def test_a_schedule_logs_what_it_is_told_to(nodes, caplog):
    """What it does to nodes on purpose is nobody's trouble; other threads log as ever meanwhile."""
    caplog.set_level(logging.DEBUG, "raftx")
    made = []

    class Other(KeyValue):
        def __init__(self):
            super().__init__()
            made.append(threading.Thread(target=logging.getLogger("raftx").error, args=("of another thread",)))
            made[-1].start()
            made[-1].join()

    for seed in range(SCHEDULES):
        nodes.run(seed, application=nodes.Application(Other, put))
    assert len(caplog.records) == len(made) > SCHEDULES
    assert {record.getMessage() for record in caplog.records} == {"of another thread"}
    caplog.clear()
    for seed in range(SCHEDULES):
        nodes.run(seed, log=True)
    assert any("leads in term" in record.getMessage() for record in caplog.records)
    assert not logging.getLogger("raftx").filters
