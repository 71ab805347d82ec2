"""Ostler: a model-aware scheduler and router for fleets of AI agents.

The library faces are imported when they are first named, so that `import ostler` alone costs nothing.
"""

from typing import TYPE_CHECKING

from ostler.version import __version__

if TYPE_CHECKING:
    from ostler.app.budget_tracker import BudgetTracker
    from ostler.app.model_router import ModelRouter
    from ostler.app.tick_scheduler import TickScheduler
    from ostler.app.working_set import WorkingSet
    from ostler.context.manager import ContextManager
    from ostler.context.sizes import ContextBudget
    from ostler.domain.four_tiers import TaskType, Tier
    from ostler.domain.loops import ScheduleConfig

_FACES = {
    "BudgetTracker": "ostler.app.budget_tracker",
    "ContextBudget": "ostler.context.sizes",
    "ContextManager": "ostler.context.manager",
    "ModelRouter": "ostler.app.model_router",
    "ScheduleConfig": "ostler.domain.loops",
    "TaskType": "ostler.domain.four_tiers",
    "TickScheduler": "ostler.app.tick_scheduler",
    "Tier": "ostler.domain.four_tiers",
    "WorkingSet": "ostler.app.working_set",
}

__all__ = [
    "BudgetTracker",
    "ContextBudget",
    "ContextManager",
    "ModelRouter",
    "ScheduleConfig",
    "TaskType",
    "TickScheduler",
    "Tier",
    "WorkingSet",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _FACES:
        message = f"module 'ostler' has no attribute '{name}'"
        raise AttributeError(message)
    from importlib import import_module  # noqa: PLC0415, TID251 - of a table of our own, once named

    return getattr(import_module(_FACES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
