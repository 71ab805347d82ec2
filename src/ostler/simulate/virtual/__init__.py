"""The real scheduler, and simple rivals of it, in virtual time over simulated machines.

    workload (jobs) + fleet (machines, clouds) + policy  ->  run  ->  records  ->  figures

One timeline holds all that will happen; it jumps from one instant to the next, so that a week takes seconds.
Machines are `HostModel` (they queue, load and evict as Ollama does), clouds are `CloudModel`; the scheduler is the one
the hub runs, fed with the signals a hub would feed it, its effects carried out at once. Nothing here reads a clock or
rolls dice that were not seeded: equal inputs give equal results.
"""
