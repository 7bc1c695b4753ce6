"""The demo: three processes replicate a text while they are killed, restarted and compared. ``raftx demo`` runs it.

It is also a service on raftx, with a client that handles failover, written to be read and copied.
"""
