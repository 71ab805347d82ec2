"""Tests with real processes, as a user starts them."""
