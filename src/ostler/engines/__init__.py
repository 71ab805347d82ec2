"""Real local engines that Ostler can start by itself, for trials and tests: no weights to fetch, no GPU.

The engine runs with an interpreter of its own (`make engine` prepares one), so nothing of it is a dependency of ours.
"""
