"""What is native below the hot structures of ``_core``: memory, outbox, threads, files, limits, wire and nng.

Each module is written twice: a ``.pyx`` with its ``.pxd``, and a twin ``.py`` of the same name, the readable
definition, which runs where nothing is compiled. No rules of Raft stand here. Each may import those before it in
that order.
"""
