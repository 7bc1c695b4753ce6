"""Connections that look whole and are not: when that is noticed. Steps; test_proxies.py has the whole."""

import pytest

from tests.helpers.implementations import module


@pytest.fixture
def contact(impl):
    """``contact(election_ticks, tick_ms)``: interpreted, where the methods can be called."""
    if impl.COMPILED:
        pytest.skip("only the interpreted class shows its methods to Python")
    return module(impl, "node.contact").Contact


def ticks(made, slot, most=1000):
    """After how many ticks the connection is to be made anew; None: it is not."""
    for number in range(1, most):
        if made.tick(slot):
            return number
    return None


def test_nothing_sent_nothing_missed(contact):
    made = contact(10, 50)
    assert ticks(made, 3) is None
    made.heard(3)
    assert ticks(made, 3) is None


def test_silence_after_sending(contact):
    made = contact(10, 50)
    made.sent(3)
    assert ticks(made, 5) is None  # another one's slot
    assert ticks(made, 3) == 30
    assert ticks(made, 3) is None  # nothing has been sent on the new one
    made.sent(3)
    for _ in range(20):
        assert not made.tick(3)
        made.sent(3)
    assert ticks(made, 3) == 10  # since the first of them
    made.sent(3)
    for _ in range(100):
        assert not made.tick(3)
        made.heard(3)
        made.sent(3)


def test_a_new_connection_of_the_other_renews_an_old_one_of_ours(contact):
    made = contact(10, 50)
    made.connected(3)
    assert not made.greeted(3)
    for _ in range(30):
        made.tick(3)
    assert not made.greeted(3)
    made.tick(3)
    assert made.greeted(3)
    assert not made.greeted(3)  # it is new now, and so is the other's
    made.connected(3)
    assert not made.greeted(3)


def test_a_while_is_long_enough_for_a_new_connection(contact):
    made = contact(2, 1)
    made.sent(3)
    assert ticks(made, 3) == 500


def test_what_was_not_sent_is_not_missed(contact):
    made = contact(10, 50)
    for _ in range(100):
        made.sent(3)
        made.unsent(3)
        assert not made.tick(3)
    made.sent(3)
    for _ in range(20):
        assert not made.tick(3)
    made.connected(3)  # another one, on which nothing has been sent
    assert ticks(made, 3) is None
