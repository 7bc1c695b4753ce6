"""Directories of members for tests: founded when they are needed first. Not a test."""


def founded(impl, path, members=(1, 2, 3), learners=(), *, id=1, segment_bytes=64 << 10, disk=None, **settings):
    """The storage of a member, not opened: founded here, unless the directory holds one already, or is in use.

    ``cluster`` is what members are founded with; the rest goes to FileStorage.
    """
    cluster = {"cluster": settings.pop("cluster")} if "cluster" in settings else {}
    settings = {"segment_bytes": segment_bytes, "disk": disk, **settings}
    try:
        return impl.FileStorage.create(path, id=id, members=members, learners=learners, **cluster, **settings)
    except impl.WrongDirectory:
        return impl.FileStorage(path, **settings)
