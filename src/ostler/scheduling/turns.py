"""Turns of tasks: somebody waits for a live call, so it goes first; but a gateway that is always full may not have all.

A class of tasks is *passed* when a call is let run in a round that looks at both. When `TURN` calls have passed it, its
head goes before them, once; then its count begins anew. Between two turns at least one call runs, however many classes
are due, so calls keep at least every second place, and with one class of tasks `TURN` of `TURN + 1`. Urgent calls are
never made to wait.

Bound: the head of a class that could use the places which calls take starts after at most `TURN + 2 n` of them were
given out, n being the classes of tasks that wait for the same places; the one behind it after as many again.

Cost: O(classes looked at) for each call that is let run in a round where tasks wait too.
"""

from collections.abc import Callable, Iterable, Sequence

from ostler.domain.tasks import Priority
from ostler.scheduling.books import Books
from ostler.scheduling.lines import ClassKey, Head

TURN = 4
"""Calls that may pass a class of tasks before it has its turn."""

Order = Sequence[tuple[Head, ClassKey]]


def note_call(books: Books, keys: Iterable[ClassKey]) -> None:
    """A call was let run in a round that looks at these classes."""
    books.calls.since_turn += 1
    for key in keys:
        task_class = books.queue.classes.get(key)
        if task_class is not None:
            task_class.passed += 1


def note_task(books: Books, key: ClassKey) -> None:
    """A task of a class was assigned: it has had its turn."""
    task_class = books.queue.classes.get(key)
    if task_class is not None:
        task_class.passed = 0


def give(books: Books, order: Order, serve: Callable[[ClassKey, Head], bool]) -> ClassKey | None:
    """Let the tasks that were passed too often go before the calls of this round. `serve` tries the head of a class and
    says whether the next one should be tried; returned is the class that is through with this round, if any.
    """
    waiting, classes = books.calls.waiting, books.queue.classes
    if not waiting or not books.calls.since_turn:
        return None
    due = [(head, key) for head, key in order if head[2] not in waiting and classes[key].passed >= TURN]
    if not due or any(head[0] <= Priority.URGENT and head[2] in waiting for head, _ in order):
        return None
    head, key = min(due)
    goes_on = serve(key, head)
    if head[2] not in books.queue:
        books.calls.since_turn = 0
        note_task(books, key)
    return None if goes_on else key
