"""What machines and clusters do: disks, round trips, threads, and loads on a durable cluster of real processes.

Used by ``raftx bench`` and ``raftx doctor`` and by the scripts in bench/. Prints nothing.
"""
