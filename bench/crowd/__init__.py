"""The rig of `bench/load.py` and `bench/soak.py`: a real hub, and simulated endpoints and workers that speak to it."""
