"""Ostler: a model-aware scheduler and router for fleets of AI agents.

The library faces are imported when they are first named, so that `import ostler` alone costs nothing.
"""

from typing import TYPE_CHECKING

from ostler.version import __version__

if TYPE_CHECKING:
    from ostler.app.budget_tracker import BudgetTracker

__all__ = ["BudgetTracker", "__version__"]


def __getattr__(name: str) -> object:
    if name == "BudgetTracker":
        from ostler.app.budget_tracker import BudgetTracker  # noqa: PLC0415 - it brings the store with it

        return BudgetTracker
    message = f"module 'ostler' has no attribute '{name}'"
    raise AttributeError(message)
