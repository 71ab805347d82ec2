"""What people want of tasks, one branch for each wish; each is refused before anything changed, or done."""

from typing import assert_never

from ostler.scheduling import late
from ostler.scheduling import signals as sig
from ostler.scheduling.books import Turn
from ostler.scheduling.gathering import gather
from ostler.scheduling.intake import Settled, cancel, pause, resume, retry
from ostler.scheduling.people import answered

Wish = sig.Cancel | sig.Pause | sig.Resume | sig.Retry | sig.Answered | sig.AdoptLate | sig.Gather


def told(turn: Turn, wish: Wish) -> None:
    """Do what a person wants. Raises `NotFoundError` `ConflictError` or `InvalidInputError`."""
    match wish:
        case sig.Cancel():
            cancel(turn, wish.task_id, wish.reason)
        case sig.Pause():
            pause(turn, wish.task_id)
        case sig.Resume():
            resume(turn, wish.task_id)
        case sig.Retry():
            retry(turn, wish.task, Settled(wish.settled, wish.lengths))
        case sig.Answered():
            answered(turn, wish.task, wish.text, Settled(wish.settled, wish.lengths), other=wish.other)
        case sig.AdoptLate():
            late.adopt(turn, wish.task, wish.attempt, wish.report)
        case sig.Gather():
            gather(turn, wish.batch, wish.task_ids, wish.limit)
        case _:
            assert_never(wish)
