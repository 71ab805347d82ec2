"""Words that profiles share: task types, and what the four classic tier names mean by default.

A ladder that calls its tiers (by name or alias) `local_cheap`, `local_strong`, `cheap_cloud` and `expensive_cloud` gets
the minimum tiers and prompt budgets those words stand for; other ladders say their own.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from ostler.config.schema import ContextSize

RESERVED_NAMES = ("auto",)
RESERVED_PREFIX = "tier:"
"""What a client may write for `model` besides names: no tier or model may be called so."""

TYPE_MINIMUMS: Mapping[str, str] = {
    "memory_ops": "local_cheap",
    "reflection": "local_cheap",
    "summarization": "local_cheap",
    "general": "local_cheap",
    "planning": "local_strong",
    "coding": "cheap_cloud",
    "high_stakes": "cheap_cloud",
    "final_polish": "expensive_cloud",
}
CONTEXT_SIZES: Mapping[str, ContextSize] = {
    "local_cheap": ContextSize.SMALL,
    "local_strong": ContextSize.MODERATE,
    "cheap_cloud": ContextSize.MODERATE,
    "expensive_cloud": ContextSize.LARGE,
}
TASK_TYPES = frozenset(TYPE_MINIMUMS) | {
    "architecture",
    "bugfix",
    "code-review",
    "content",
    "deployment",
    "docs",
    "feature",
    "refactor",
    "research",
    "security",
    "seo",
    "testing",
}
_SLIP_SIMILARITY = 0.8


def misspelt_task_type(name: str) -> str | None:
    """The known task type that a name is a slip of; `None` for a known one and for one that a user made up.

    >>> misspelt_task_type("codng"), misspelt_task_type("coding"), misspelt_task_type("translation")
    ('coding', None, None)
    """
    if name in TASK_TYPES:
        return None
    close = get_close_matches(name, sorted(TASK_TYPES), n=1, cutoff=_SLIP_SIMILARITY)
    return close[0] if close else None


def is_reserved(name: str) -> bool:
    """Whether a name means something else to the gateway."""
    return name in RESERVED_NAMES or name.startswith(RESERVED_PREFIX)
