"""A story that goes wrong, made smaller: fewer faults, jobs, calls and acts, as long as it still goes wrong."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from tests.simulator.story import Story

T = TypeVar("T")
Wrong = Callable[[Story], bool]


def shrunk(story: Story, is_wrong: Wrong, *, tries: int = 200) -> Story:
    """The smallest story found that is still wrong; `tries` bounds how many are played."""
    left = [tries]

    def asked(candidate: Story) -> bool:
        left[0] -= 1
        return left[0] >= 0 and is_wrong(candidate)

    before: Story | None = None
    while before != story and left[0] > 0:
        before = story
        faults = _fewer(story.faults, lambda some, now=story: asked(msgspec.structs.replace(now, faults=tuple(some))))  # type: ignore[misc]
        story = msgspec.structs.replace(story, faults=tuple(faults))
        jobs = _fewer(story.jobs, lambda some, now=story: asked(msgspec.structs.replace(now, jobs=tuple(some))))  # type: ignore[misc]
        story = msgspec.structs.replace(story, jobs=tuple(jobs))
        calls = _fewer(story.calls, lambda some, now=story: asked(msgspec.structs.replace(now, calls=tuple(some))))  # type: ignore[misc]
        story = msgspec.structs.replace(story, calls=tuple(calls))
        acts = _fewer(story.acts, lambda some, now=story: asked(msgspec.structs.replace(now, acts=tuple(some))))  # type: ignore[misc]
        story = msgspec.structs.replace(story, acts=tuple(acts))
    return story


def _fewer(items: Sequence[T], is_wrong: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Leave out halves, quarters ... single ones, as long as it stays wrong."""
    size = max(1, len(items) // 2)
    while size:
        start = 0
        while start < len(items):
            rest = [*items[:start], *items[start + size :]]
            if rest and is_wrong(rest):
                items = rest
            else:
                start += size
        size //= 2
    return items
