"""What the residency rule looks at: hosts with what is in their memory, and work that wants models. Small and mutable.

The state belongs to whoever calls the rule. The planner's simulator keeps one up to date over a whole run; the live
scheduler builds or refreshes one from its books. The rule itself never changes it.

A *want* is a queue of work that needs the same models on the same hosts, usually one model. A *resident* is a model in
a host's memory; its memory counts from the start of its load to the end of its unload. A host carries out one *swap* at
a time: while `HostState.swap` is set, the rule proposes nothing for it.

All instants and durations are whole milliseconds, memory is whole bytes. Keys of urgency may be negative.
"""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

LOADING: Final = 0
READY: Final = 1
DRAINING: Final = 2
"""No new work, except what ends before the drain does."""
UNLOADING: Final = 3
PHASES: Final = ("loading", "ready", "draining", "unloading")

UNKNOWN: Final = -1
"""Of `Want.later`: nobody knows what is still to come."""


class Footprint(NamedTuple):
    """What a model takes on one host."""

    memory_bytes: int
    load_ms: int
    unload_ms: int
    slots: int = 1
    pinned: bool = False


class Soon(NamedTuple):
    """Work that is not waiting yet, but will be at a known instant: all it needs is running."""

    at_ms: int
    urgency: int
    work_ms: int


class Resident:
    """A model in the memory of a host."""

    __slots__ = (
        "busy",
        "credit_ms",
        "drained_ms",
        "footprint",
        "hold_until_ms",
        "model",
        "phase",
        "pinned",
        "ready_ms",
        "since_ms",
    )

    def __init__(
        self,
        model: str,
        footprint: Footprint,
        *,
        phase: int = READY,
        since_ms: int = 0,
        ready_ms: int = 0,
        busy: int = 0,
        drained_ms: int = 0,
        hold_until_ms: int = 0,
    ) -> None:
        self.model = model
        self.footprint = footprint
        self.phase = phase
        self.since_ms = since_ms
        """Since when it is usable (or, while it loads, since when it loads): minimum residence counts from here."""
        self.ready_ms = ready_ms
        """When it becomes usable, if it is loading."""
        self.busy = busy
        """Tasks it works on now."""
        self.drained_ms = drained_ms
        """When, by estimate, the last of those ends."""
        self.hold_until_ms = hold_until_ms
        """An agent is likely to come back until then: its last reply asked for a tool."""
        self.credit_ms = footprint.load_ms
        """What is left of the load it cost, for eviction where the future is unknown (see `eviction.charge`)."""
        self.pinned = footprint.pinned


class Swap(NamedTuple):
    """A change of residents that a host is carrying out."""

    models: tuple[str, ...]
    evict: tuple[str, ...]
    ready_ms: int
    """When, by estimate, the last of the models is usable."""


class HostState:
    """A host: its memory and who is in it."""

    __slots__ = ("closed_until_ms", "max_resident", "memory_bytes", "models", "name", "residents", "swap", "used_bytes")

    def __init__(
        self,
        name: str,
        memory_bytes: int | None,
        models: dict[str, Footprint],
        *,
        residents: Iterable[Resident] = (),
        max_resident: int | None = None,
        closed_until_ms: int = 0,
    ) -> None:
        self.name = name
        self.memory_bytes = memory_bytes
        """Memory for models, reserve taken off; `None` = no limit (a cloud)."""
        self.models = models
        """Models that can be loaded here."""
        self.max_resident = max_resident
        self.closed_until_ms = closed_until_ms
        """No swap is proposed before then: the last one failed."""
        self.residents: dict[str, Resident] = {}
        self.used_bytes = 0
        """Memory of residents and of running tasks."""
        self.swap: Swap | None = None
        for resident in residents:
            self.add(resident)

    def add(self, resident: Resident) -> None:
        """The model is in memory from now on, loading or usable."""
        self.residents[resident.model] = resident
        self.used_bytes += resident.footprint.memory_bytes

    def remove(self, model: str) -> None:
        """The model's memory is free again. Raises `KeyError`."""
        self.used_bytes -= self.residents.pop(model).footprint.memory_bytes

    def keeps(self, model: str) -> bool:
        """Whether the model is here to stay: loading or usable, or what the running swap will load."""
        resident = self.residents.get(model)
        if resident is not None:
            return resident.phase <= READY
        return self.swap is not None and model in self.swap.models


class Want:
    """A queue of work that needs the same models, all on one host."""

    __slots__ = (
        "hosts",
        "later",
        "memory_bytes",
        "models",
        "oldest_ms",
        "overdue",
        "soon",
        "urgency",
        "waiting",
        "work_ms",
    )

    def __init__(
        self,
        models: tuple[str, ...],
        *,
        waiting: int = 0,
        work_ms: int = 0,
        urgency: int = 0,
        overdue: bool = False,
        oldest_ms: int = 0,
        soon: Iterable[Soon] = (),
        later: int = UNKNOWN,
    ) -> None:
        self.models = models
        self.waiting = waiting
        """Tasks that could start now, had they the models and a slot."""
        self.work_ms = work_ms
        """Sum of their durations."""
        self.urgency = urgency
        """The highest key among them, in milliseconds: by default the longest path that hangs on the task."""
        self.overdue = overdue
        """Whether one of them has lost its patience."""
        self.oldest_ms = oldest_ms
        """Since when the oldest of them waits."""
        self.soon: Collection[Soon] = list(soon)
        self.later = later
        """Tasks still to come that are not waiting, soon ones included; `UNKNOWN` when nobody knows."""
        self.hosts: frozenset[str] | None = None
        """Only on these; `None` = everywhere."""
        self.memory_bytes = 0
        """Memory that one task of it takes while it runs, besides the models."""


class State:
    """Hosts and wants, with an index from model to the wants it serves."""

    __slots__ = ("excluded", "hosts", "wants", "wants_of")

    def __init__(
        self, hosts: Iterable[HostState], wants: Iterable[Want], *, excluded: Iterable[tuple[str, str]] = ()
    ) -> None:
        self.hosts = list(hosts)
        """In order of name where ties are to break by name."""
        self.wants = list(wants)
        self.excluded = frozenset(excluded)
        """(host, model) pairs not to be loaded now: the last swap to them failed."""
        self.wants_of: dict[str, list[Want]] = {}
        for want in self.wants:
            for model in want.models:
                self.wants_of.setdefault(model, []).append(want)
