"""Tests of the hub: the real pump and scheduler in the test's event loop, over a store in memory."""
