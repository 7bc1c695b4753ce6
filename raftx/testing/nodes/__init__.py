"""A simulator of whole nodes: engine, log, apply thread, futures and streams, in one thread, from one seed."""
