"""Tests of the scheduler: synchronous, no sleeps, no network; signals by hand, effects recorded."""
