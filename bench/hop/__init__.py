"""The rig of `bench/gateway.py`: a simulated endpoint, a load generator, and the gateways that are measured between."""
