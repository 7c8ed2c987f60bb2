"""A deterministic simulator: the real service and core over servers in memory, and everything that can go wrong.

One event loop with virtual time, one random generator: a failing seed fails again. `python -m tests.service.simulator
SEED …` replays seeds.
"""
