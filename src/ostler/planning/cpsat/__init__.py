"""The exact model: what CP-SAT is told, and what is read back. Optional: everything else plans without it.

    Instance -> data (whole ticks, indices) -> variables -> constraints -> objective -> solve -> Solved

Residency is modelled by *episodes*: for each model on each host up to K optional intervals from load start to unload
end, in order. Tasks choose an episode; memory, slots and loads are cumulative resources over these intervals. There are
no circuits: they need one resource per sequence, and a host keeps several models at once.

`data` and `result` know nothing of the solver, so that whoever asks for a solution in another process needs only those.
The other modules import `ortools` (the extra `plan`).
"""
