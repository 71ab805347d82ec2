"""Why a task that waits for a model still waits, now: what is being loaded, or what the rule says against it.

The wait reason that is kept reads the same until the reason itself changes; this adds what is true at this moment, for
whoever asks about one task. O(classes that wait for managed hosts).
"""

from msgspec.structs import replace

from ostler.domain.decision import Wish
from ostler.domain.states import Wait
from ostler.residency.rule import CHOSEN, Considered, next_move
from ostler.routing.wording import seconds
from ostler.scheduling.books import Books
from ostler.scheduling.demand import gather
from ostler.scheduling.hosts import Swap
from ostler.scheduling.residency import params_of


def swap_wait(books: Books, task_id: str, wait: Wait) -> Wait:
    """The wait with what is happening about it, and when it is expected to end or will be looked at again."""
    task_class = books.queue.class_of(task_id)
    wishes = task_class.hold.wishes if task_class is not None and task_class.hold is not None else ()
    now_ms = books.seen_ms
    for wish in wishes:
        book = books.hosts.of_endpoint(wish.endpoint)
        swap = book.swap if book is not None else None
        if swap is not None and swap.at.model == wish.model and swap.at.endpoint == wish.endpoint:
            return replace(wait, detail=f"{wait.detail}; {_under_way(swap, now_ms)}", next_check_ms=swap.ready_ms)
    return _held_back(books, wishes, wait, now_ms) if wishes else wait


def _under_way(swap: Swap, now_ms: int) -> str:
    left = seconds(max(0, swap.ready_ms - now_ms))
    if swap.begun_ms is None:
        return f"waits for calls on {', '.join(at.model for at in swap.evict)} to end, then about {left}"
    return f"loading for {seconds(now_ms - swap.begun_ms)}, about {left} left"


def _held_back(books: Books, wishes: tuple[Wish, ...], wait: Wait, now_ms: int) -> Wait:
    demand = gather(books, now_ms)
    considered: list[Considered] = []
    next_move(demand.state, params_of(books.policy.residency), now_ms, considered)
    model, hosts = wishes[0].model, {wish.host for wish in wishes}
    said = [
        found.said()
        for found in considered
        if found.models == (model,) and found.host in hosts and found.verdict != CHOSEN
    ]
    patience_ms = books.policy.residency.patience_ms
    due = [since_ms + patience_ms for (name, _), since_ms in demand.unserved_ms.items() if name == model]
    at_ms = min((due_ms for due_ms in due if due_ms > now_ms), default=wait.next_check_ms)
    detail = f"{wait.detail}; {'; '.join(said)}" if said else wait.detail
    return replace(wait, detail=detail, next_check_ms=at_ms)
