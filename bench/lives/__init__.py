"""The rig of `bench/queue.py`: raw loops, stores, a whole hub with its worker, peers, and what is read off them."""
