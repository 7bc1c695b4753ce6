"""Log handlers of the application that do not return, or close the node: the node closes all the same."""

import errno
import logging
import threading

import pytest

from tests.helpers.implementations import module
from tests.helpers.life import Machine, Storage, leads, make, node_threads
from tests.helpers.ports import port as free_port
from tests.helpers.storages import founded
from tests.helpers.threads import ends, start
from tests.helpers.waiting import WAIT, eventually

SEGMENT = 64 << 10


class Handler(logging.Handler):
    """Holds up the thread that writes a line with these words, with the handler's lock, as logging does."""

    def __init__(self, words):
        super().__init__()
        self.words = words
        self.met = threading.Event()
        self.go_on = threading.Event()
        self.act = None
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())
        if self.words in self.lines[-1] and not self.met.is_set():
            self.met.set()
            if self.act is not None:
                self.act()
            else:
                self.go_on.wait(WAIT)


class NoLock:
    """In the place of a handler's lock; None would do up to Python 3.12."""

    def acquire(self):
        return True

    def release(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.fixture
def handler():
    made = []
    logger = logging.getLogger("raftx")
    level = logger.level

    def make(words):
        made.append(Handler(words))
        logger.addHandler(made[-1])
        logger.setLevel(logging.INFO)
        return made[-1]

    yield make
    for each in made:
        each.go_on.set()
        logger.removeHandler(each)
    logger.setLevel(level)


def unreachable(impl, tmp_path):
    """A node of which the report thread says that a member cannot be reached."""
    transport = impl.NngTransport("tcp://127.0.0.1:0", {2: f"tcp://127.0.0.1:{free_port()}"}, reconnect_ms=(10, 20))
    return make(impl, transport=transport).start()


def short(impl, tmp_path):
    """A node of which the reserve thread says that there are no descriptors for a segment."""
    storage = founded(impl, tmp_path / "log", members=[1], segment_bytes=SEGMENT)
    node = leads(make(impl, storage).start())
    reserve, ready = storage.wal.reserve, module(impl, "storage.protocol").RESERVE_READY
    eventually(lambda: reserve.py_state() == ready)
    while storage.wal.write_offset < SEGMENT // 2:
        node.propose(bytes(8192)).result(WAIT)
    # Zeros were written ahead into the segment that is there: what follows is its header.
    eventually(lambda: reserve.filled == SEGMENT and reserve.py_state() == ready)
    reserve.file.fail_errno = errno.EMFILE
    reserve.file.fail_after = 1
    for _ in range(SEGMENT // 8192 // 2 + 1):
        node.propose(bytes(8192))
    return node


@pytest.mark.parametrize(
    ("make_node", "words"), [(unreachable, "cannot be reached"), (short, "the log waits for what is short")]
)
def test_a_log_handler_that_does_not_return(impl, tmp_path, handler, make_node, words):
    """Nobody waits for it: close() returns, the storage is released, and what is left to say is said in the end."""
    held = handler(words)
    node = make_node(impl, tmp_path)
    assert held.met.wait(WAIT)
    node.close()
    assert node.status().state == "ended"
    held.go_on.set()
    eventually(lambda: not node_threads())
    assert any("term" in line for line in held.lines)


@pytest.mark.parametrize(
    ("make_node", "words"), [(unreachable, "cannot be reached"), (short, "the log waits for what is short")]
)
def test_a_log_handler_that_closes_the_node(impl, tmp_path, handler, make_node, words):
    held = handler(words)
    closed = threading.Event()
    nodes = []

    def act():
        eventually(lambda: nodes)
        nodes[0].close()
        closed.set()

    held.act = act
    nodes.append(make_node(impl, tmp_path))
    assert closed.wait(WAIT)
    nodes[0].close()
    eventually(lambda: not node_threads())
    assert nodes[0].status().state == "ended"


def test_futures_end_in_time_although_a_handler_does_not_return(impl, handler):
    """What is overdue ends as unknown, and callbacks that the apply thread cannot call are called."""
    held = handler("term")
    machine = Machine()
    node = make(impl, machine=machine, proposal_timeout_ms=200).start()
    assert held.met.wait(WAIT)
    leads(node)
    machine.hold.clear()
    holding, waiting = node.propose(b"hold"), node.propose(b"x")
    called = threading.Event()
    waiting.add_done_callback(lambda future: called.set())
    for future in (holding, waiting):
        with pytest.raises(impl.Unknown, match="no outcome within its time"):
            future.result(WAIT)
    assert called.wait(WAIT)
    machine.hold.set()
    node.close()
    assert not held.go_on.is_set()


def test_a_handler_that_does_not_return_holds_up_no_other_node(impl, handler):
    """What another node of the process ends in time, it ends in time; and it is closed."""
    held = handler("term")
    held.lock = NoLock()  # others would wait for a lock
    node = make(impl).start()
    assert held.met.wait(WAIT)
    machine, called = Machine(), threading.Event()
    other = make(impl, Storage(impl, (2,)), machine, id=2, proposal_timeout_ms=200).start()
    leads(other)
    machine.hold.clear()
    holding, waiting = other.propose(b"hold"), other.propose(b"x")
    waiting.add_done_callback(lambda future: called.set())
    with pytest.raises(impl.Unknown, match="no outcome within its time"):
        holding.result(WAIT)
    assert called.wait(WAIT)
    machine.hold.set()
    other.close()
    node.close()
    held.go_on.set()
    eventually(lambda: not node_threads())


def test_lines_that_nobody_writes_are_bounded(impl, handler):
    """A handler that does not return does not fill the memory: the oldest lines are kept, the others counted."""
    report = module(impl, "report")
    held = handler("leads")
    node = leads(make(impl).start())
    assert held.met.wait(WAIT)
    lines = node._life.lines
    for number in range(report.LINES_KEPT * 2):
        lines.add((logging.WARNING, "line %d", (number,), None, "", {}))
    assert lines.left_out >= report.LINES_KEPT
    held.go_on.set()
    eventually(lambda: "lines were left out here" in held.lines[-1])
    assert int(held.lines[-1].split()[0]) >= report.LINES_KEPT
    assert "line 0" in held.lines
    assert f"line {report.LINES_KEPT * 2 - 1}" not in held.lines
    node.close()


def test_a_storage_that_logs_at_its_end(impl, tmp_path, handler):
    """What the closing thread reports waits, too: the report thread may be with a handler that does not return."""
    report = module(impl, "report").report
    held = handler("first")
    node = leads(make(impl, machine=Machine()).start())
    inner = node._outside.storage.inner
    close = inner.close

    def says():
        report(logging.WARNING, "the storage is closed")
        close()

    inner.close = says
    node._life.lines.add((logging.WARNING, "first", (), None, "", {}))
    assert held.met.wait(WAIT)
    closing = start(node.close)
    assert ends(closing)
    assert "the storage is closed" not in held.lines
    held.go_on.set()
    eventually(lambda: "the storage is closed" in held.lines)
    eventually(lambda: not node_threads())
