"""A world in virtual time: the real hub, scheduler, store logic and worker daemons under faults drawn from a seed.

    seed -> story (work that comes, faults that happen)  ->  world  ->  what was seen, and what was wrong with it

What is real: `HubParts` with scheduler, pump, committer, prober and janitor; `MemoryStore`, which shares its guards and
its ledger with the durable stores; the worker daemon with its sessions, trust window, attempts and delivery; the way a
client repeats what was not answered. What is simulated: time, the network between worker and hub, the disk under the
store, the machines that run the work, and the endpoints. Nothing reads a clock or rolls dice beside the seed's, so a
seed replays exactly.
"""
