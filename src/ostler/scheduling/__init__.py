"""The scheduler: one actor, signals in, effects out. No I/O, no clock, no await, no locks.

`Scheduler.handle(signal, now_ms)` changes the actor's books and returns effects; the shell (`ostler.hub`) executes them
and feeds results back as signals. The actor is optimistic: it moves its own books at once and hears of a refusal as a
signal, whereupon it takes over the stored row and decides again.

Cost: a signal costs what it changes, not what waits. Waiting tasks are grouped by route class (`queue`): a decision for
the head of a class speaks for the whole class, and a class that was held is looked at again only when something that
it is blocked on changes (`rounds`).
"""

from ostler.scheduling.actor import Scheduler

__all__ = ["Scheduler"]
