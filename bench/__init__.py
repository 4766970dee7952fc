"""Benchmarks: the server beside a minimal program over the same catalog, in one run."""
