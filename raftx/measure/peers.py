"""Other members as the network shows them: names, connections, how long a packet takes, and what their clocks say."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from ..transport.address import parse

TRIES = 5
CONNECT_S = 2.0
FLIP_S = 1.3  # in which the second of a clock changes once at least


@dataclass(frozen=True)
class Reached:
    """What came of looking for a member."""

    #: addresses that its name stands for; empty: it has none
    addresses: tuple[str, ...]
    #: milliseconds of a connection's first packets, one after the other; empty: there was none
    round_trips_ms: tuple[float, ...]
    #: why not, in words
    error: str


def reach(url: str, tries: int = TRIES, timeout: float = CONNECT_S) -> Reached:
    """Look a member's name up and connect to it some times. Raises ConfigError for what is no address."""
    address = parse(url, "url")
    if not address.is_tcp:
        return Reached((), (), f"{url} is not of TCP: it is not tried")
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(address.family, socket.AF_UNSPEC)
    try:
        found = socket.getaddrinfo(address.host, address.port, family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Reached((), (), f"{address.host} is not known: {getattr(error, 'strerror', None) or error}")
    names = tuple(dict.fromkeys(str(each[4][0]) for each in found))
    times: list[float] = []
    for _ in range(tries):
        started = time.perf_counter()
        with socket.socket(found[0][0], socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            try:
                connection.connect(found[0][4])
            except OSError as error:
                why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
                return Reached(names, tuple(times), f"{names[0]} port {address.port}: {why}")
        times.append((time.perf_counter() - started) * 1e3)
    return Reached(names, tuple(times), "")


def clock_offset(url: str, timeout: float = CONNECT_S) -> float | None:
    """Seconds by which the clock behind an HTTP address is ahead of ours, within some hundredths; None: it is not told.

    Answers tell whole seconds. So it is asked again and again until the second changes. A member's own server tells the
    second in which it answers. Another one, in which the pages are mounted, may keep the second for a while, and seems
    to be behind by as much, a second at most.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    last: float | None = None
    end = time.monotonic() + FLIP_S
    with contextlib.suppress(OSError, http.client.HTTPException, ValueError, TypeError):
        while time.monotonic() < end:
            connection = kind(parts.hostname or "", parts.port, timeout=timeout)
            try:
                before = time.time()
                connection.request("GET", parts.path.rstrip("/") + "/livez")
                answer = connection.getresponse()
                after = time.time()
                answer.read()
                told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            finally:
                connection.close()
            if last is not None and told != last:
                return told - (before + after) / 2
            last = told
            time.sleep(0.01)
    return None
