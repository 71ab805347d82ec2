"""Adapters that do one kind of work each: a command, a model call."""
