"""Ostler: a model-aware scheduler and router for fleets of AI agents."""

from ostler.version import __version__

__all__ = ["__version__"]
