"""Transports by name: the ways to the network that the tests go. Not a test."""

#: through NNG without the GIL, through pynng's Python calls, over sockets of raftx's own
WAYS = ("direct", "use_gil", "tcp")


def make_transport(package, way, listen, peers=(), **settings):
    """A transport. package: raftx, or its interpreted copy. way: one of WAYS, or "mixed": by the port, NNG or not."""
    if way == "mixed":
        way = WAYS[0] if int(listen.rsplit(":", 1)[1]) % 2 else WAYS[2]
    if way == "tcp":
        if "queue_frames" in settings:
            settings["send_bytes"] = max(settings.pop("queue_frames") << 10, 64 << 10)
        return package.TcpTransport(listen, dict(peers), **settings)
    return package.NngTransport(listen, dict(peers), use_gil=way == "use_gil", **settings)
