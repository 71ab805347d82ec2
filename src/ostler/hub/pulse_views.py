"""The pulse of a hub: what runs, what is stuck, what waits, and why, in one answer."""

import msgspec

from ostler.hub.views import WaitGroup


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """The one thing that keeps work from running now."""

    code: str
    """`none` (nothing is open), `busy` (work runs), `store`, `needs_human`, or the code of a wait reason."""
    sentence: str
    remedy: str = ""
    """What a person can do about it; empty: nothing has to be done."""
    next_check_ms: int | None = None
    """When it is looked at again by itself."""


class PulseRun(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that is under way."""

    task_id: str
    title: str
    state: str
    worker: str
    model: str | None = None
    since_ms: int
    heard_ms: int
    """Newest sign of life of the attempt itself."""
    stuck: str = ""
    """What is odd about it: its worker is silent, or it shows no sign of life; empty: nothing."""


class PulseWorker(msgspec.Struct, frozen=True, kw_only=True):
    """A joined worker."""

    name: str
    host: str
    tasks: int
    slots: int
    seen_ms: int
    lost_ms: int | None = None
    """Of a silent one: when its tasks go to others."""


class PulsePerson(msgspec.Struct, frozen=True, kw_only=True):
    """A task that needs a person."""

    task_id: str
    title: str
    message: str
    since_ms: int


class PulseReport(msgspec.Struct, frozen=True, kw_only=True):
    """One look at everything. Of a step: what it did."""

    now_ms: int
    batch: str | None = None
    idle: Idle
    running: tuple[PulseRun, ...] = ()
    waiting: tuple[WaitGroup, ...] = ()
    needs_person: tuple[PulsePerson, ...] = ()
    workers: tuple[PulseWorker, ...] = ()
    retrying: int = 0
    """Failed, and tried again after a delay."""
    later: int = 0
    """Not before an instant that is still to come."""
    is_over: bool = False
    """Nothing is open: all has ended."""
    started: tuple[str, ...] = ()
    """Tasks that this step gave to a worker."""
    taken_back: tuple[str, ...] = ()
    """Tasks that this step took back from a worker."""
    ended: tuple[str, ...] = ()
    """Tasks that ended in this step."""
