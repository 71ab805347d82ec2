"""The hub: the shell around the scheduler. It owns the clock, runs effects, feeds events back, and answers people.

It knows the store, drivers and links only as ports; `ostler.app` puts the adapters in.
"""
