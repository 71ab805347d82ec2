"""Mixed work: chats of two tiers and commands, of every priority, some in batches, some behind others, some with needs
of their worker; and how it is handed in.
"""

import time
from collections.abc import Iterator, Sequence

from ostler.client.hub_client import HubClient
from ostler.domain.tasks import Complexity, Priority, TaskKind, TaskSpec

PAGE = 500
CHAIN = 5
"""Every tenth group of so many tasks is a chain: each needs the one before."""


def jobs(first: int, count: int, *, tag: str = "t") -> Iterator[TaskSpec]:
    """Tasks by number."""
    for number in range(first, first + count):
        group = number // CHAIN
        chained = group % 10 == 0
        is_command = number % 4 == 3
        yield TaskSpec(
            id=f"{tag}{number}",
            kind=TaskKind.COMMAND if is_command else TaskKind.CHAT,
            argv=("true", str(number)) if is_command else (),
            prompt="" if is_command else f"Summarise ticket {number} in two sentences for the weekly report.",
            complexity=None if is_command else (Complexity.COMPLEX if number % 8 == 0 else Complexity.STANDARD),
            priority=Priority(number % 4),
            requires=frozenset({"python"} if number % 7 == 0 else ()),
            batch=f"b{number // 500}" if group % 3 == 0 else None,
            needs=(f"{tag}{number - 1}",) if chained and number % CHAIN else (),
        )


def hand_in(client: HubClient, specs: Sequence[TaskSpec]) -> list[float]:
    """Submit in pages; milliseconds of each."""
    took: list[float] = []
    for at in range(0, len(specs), PAGE):
        began = time.perf_counter()
        client.submit(list(specs[at : at + PAGE]))
        took.append((time.perf_counter() - began) * 1000)
    return took
