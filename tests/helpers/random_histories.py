"""Histories drawn by chance: small ones that may be right or wrong, and long ones of a store that is right. No test."""

from raftx.testing.linearizable import CAS, READ, WRITE, Operation


def draw_history(draw, empty=None):
    """Up to six operations on one key, often impossible ones. empty: what the key has at first."""
    history = []
    for _ in range(draw.randrange(1, 7)):
        begin = draw.randrange(12)
        end = None if draw.random() < 0.2 else begin + draw.randrange(6)
        kind, value = draw.choice((READ, WRITE, CAS)), draw.choice((empty, 1, 2))
        if kind == CAS:
            succeeded = None if end is None else draw.choice((True, False, None))
            history.append(Operation("k", CAS, value, begin, end, draw.choice((1, 2)), succeeded))
        else:
            history.append(Operation("k", kind, value, begin, end))
    return history


def run_of_one_store(draw, count, clients, empty=None):
    """A history that a single store made, with overlaps, and unknown outcomes."""
    moment, state, history, free = 0.0, {}, [], [0.0] * clients
    for value in range(1, count + 1):
        client = draw.randrange(clients)
        moment += draw.random()
        key, begin = draw.choice("abcd"), max(free[client], moment - draw.random() * 5)
        end = moment + draw.random() * 5
        free[client] = end
        begin = min(begin, moment)
        kind = draw.choice((READ, WRITE, CAS))
        has = state.get(key, empty)
        if kind == READ:
            history.append(Operation(key, READ, has, begin, end))
            continue
        lost = draw.random() < 0.05
        if kind == WRITE:
            state[key] = value
            history.append(Operation(key, WRITE, value, begin, None if lost else end))
            continue
        expected = draw.choice((has, empty))
        known = None if lost else expected == has
        history.append(Operation(key, CAS, expected, begin, None if lost else end, value, known))
        if expected == has:
            state[key] = value
    return history
