"""docs/reference.md has every field of Config and every field of a Status, and no others."""

from __future__ import annotations

import dataclasses
import re

import pytest

import raftx
from raftx.transport.memory import MemoryNetwork
from tests.helpers.machines import Machine
from tests.helpers.paths import ROOT
from tests.helpers.ports import ports

PAGE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
WITH_TLS = {"tls_expires", "unnamed"}
#: fields of a Status whose values have a table of their own
PARTS = ("peers", "snapshot", "transfers", "disk", "queues", "latency", "transport")


def tables() -> list[dict[str, list[str]]]:
    """Each table's rows by what stands in their first column, in backticks."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", PAGE, re.MULTILINE):
        rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in block.splitlines()[2:]]
        names = [row[0].strip("| `") for row in rows]
        assert len(set(names)) == len(names)
        found.append({name: row[1:] for name, row in zip(names, rows)})
    return found


def test_every_setting_is_there_with_its_default() -> None:
    config = tables()[0]
    fields = {each.name: each for each in dataclasses.fields(raftx.Config)}
    assert list(config) == list(fields)
    for name, (default, unit, meaning) in config.items():
        assert unit and len(meaning.strip("| ")) > 20, name
        if name not in ("id", "cluster"):
            # An expression such as `8 << 20`.
            assert eval(default.strip("`"), {}) == fields[name].default, name


def test_help_has_every_setting_with_default_and_range() -> None:
    """What ``help(raftx.Config)`` shows: it knows no comments."""
    described = re.findall(r"^    (\w+)(?: = (.+?))?: (.+(?:\n        .+)*)", raftx.Config.__doc__ or "", re.MULTILINE)
    fields = {each.name: each for each in dataclasses.fields(raftx.Config)}
    assert [name for name, _, _ in described] == list(fields)
    tried = 0
    for name, default, text in described:
        if name not in ("id", "cluster"):
            assert eval(default, {}) == fields[name].default, name
        assert ("True or False" in text) == (fields[name].type == "bool"), name
        match = re.search(r"\b(\d)\.\.(?:2\^(\d+)(-1)?|([\d,]+)( GiB)?)", " ".join(text.split()))
        if match is None:
            known = ("True or False", "max_message_bytes..2^63-1", "max_entry_bytes..2^63-1", "16 bytes", '"stop"')
            assert "more than heartbeat_ticks" in " ".join(text.split()) or any(each in text for each in known), name
            continue
        low, power, less, plain, gib = match.groups()
        low = int(low)
        high = 2 ** int(power) - bool(less) if power else int(plain.replace(",", "")) << (30 if gib else 0)
        more = {
            "heartbeat_ticks": {"election_ticks": 20_000},
            "max_entry_bytes": {"max_waiting_bytes": 2 << 30},
            "max_message_bytes": {"max_inflight_bytes": 2**63 - 1},
        }.get(name, {})
        for value in (low, high):
            raftx.Config(**{"id": 1, **more, name: value})
        for value in (low - 1, high + 1):
            with pytest.raises(raftx.ConfigError, match=f"^{name} must"):
                raftx.Config(**{"id": 1, **more, name: value})
        tried += 1
    assert tried >= 18
    assert raftx.Config(id=1).cluster == raftx.Config(id=1, cluster=eval(described[1][1], {})).cluster


def test_ranges_are_those_of_the_code() -> None:
    """Where the page says 1..n, n is taken and n + 1 is not, or 0 is not."""
    tried = 0
    for name, (_, unit, _) in tables()[0].items():
        match = re.match(r"(\d+)\.\.(\d[\d,]*)(\^31-1|\^31| GiB)?", unit)
        if match is None or name == "id":
            continue
        low, high = int(match[1]), int(match[2].replace(",", ""))
        high = {"^31-1": 2**31 - 1, "^31": 2**31, " GiB": high << 30}.get(match[3] or "", high)
        more = {"election_ticks": 20_000} if name == "heartbeat_ticks" else {}
        if name == "max_entry_bytes":
            more = {"max_waiting_bytes": 2 << 30}
        for value in (low, high):
            raftx.Config(**{"id": 1, **more, name: value})
        for value in (low - 1, high + 1):
            with pytest.raises(raftx.ConfigError, match=f"^{name} must"):
                raftx.Config(**{"id": 1, **more, name: value})
        tried += 1
    assert tried >= 7


def test_every_field_of_a_status_is_there() -> None:
    _, status, *parts = tables()
    (port,) = ports(1)
    every = []
    for kind in (raftx.NngTransport, raftx.TcpTransport):
        transport = kind(f"tcp://127.0.0.1:{port}", {})
        with raftx.Node(raftx.Config(id=1), raftx.MemoryStorage([1, 2]), transport, Machine()) as node:
            every.append(node.status().to_dict())
    of_nng, found = every
    assert set(found["transport"]) - set(of_nng["transport"]) == {"malformed"}
    assert list(found) == list(status) == [each.name for each in dataclasses.fields(raftx.Status)]
    for key, table in zip(PARTS, parts, strict=True):
        value = found[key]
        there = set(value[0] if isinstance(value, list) else value) | (WITH_TLS if key == "transport" else set())
        assert there == set(table), key
    for table in (status, *parts):
        for name, (unit, meaning) in table.items():
            assert unit and len(meaning.strip("| ")) > 5, name
    # What the page says is by id, by reason and so on is a mapping, and nothing else is one.
    keyed = {name for name, row in status.items() if re.search(r", by (id|reason|thread|name)\b", " ".join(row))}
    assert keyed == {each.name for each in dataclasses.fields(raftx.Status) if "Mapping" in str(each.type)}
    # Before the first start, as the page says.
    new = raftx.Node(raftx.Config(id=1), raftx.MemoryStorage([1]), MemoryNetwork().transport())
    assert new.status() == raftx.Status(1, "new", version=raftx.__version__)
    new.close()
