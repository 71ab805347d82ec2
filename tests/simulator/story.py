"""What happens in a world: work that comes and faults, drawn from a seed. A story is a value: it can be printed, run
again, and made smaller.
"""

import random
from enum import StrEnum

import msgspec

FAULTS_UNTIL_S = 180.0
"""Until then anything may go wrong; afterwards the world is whole, and everything must come to an end."""
END_S = 1_500.0
WORKERS = ("ada", "bea", "cid")
ENDPOINTS = ("box", "cloud")


class Kind(StrEnum):
    """What can go wrong."""

    KILL_HUB = "kill hub"
    """The process of the hub is gone, in whatever it was doing; another one starts on the same store."""
    PAUSE_HUB = "pause hub"
    """Frozen: nothing of it runs for a while, then all of it goes on."""
    SPLIT = "split"
    """Another hub takes over while the old one still believes that it leads."""
    KILL_WORKER = "kill worker"
    """A daemon, alone or with all that it ran, or it is asked to stop and leaves; it is started again."""
    CUT = "cut"
    """No message between a worker and the hub, either way."""
    LOSE = "lose"
    """Messages of a worker are lost: requests before they arrive, or answers on their way back."""
    DOUBLE = "double"
    """Requests of a worker arrive twice, the second a while later."""
    SLOW_NET = "slow net"
    """Messages take long, and overtake each other."""
    SLOW_DISK = "slow disk"
    """A commit takes seconds."""
    FULL_DISK = "full disk"
    """Every commit is refused."""
    UNKNOWN_COMMIT = "unknown commit"
    """A commit happens, and its writer is told that it failed."""
    DOWN = "down"
    """An endpoint does not answer, neither to probes nor to calls."""
    STORM = "storm"
    """Every call to an endpoint fails with a server error or a rate limit."""
    CLOCK = "clock"
    """The wall clock of the hub jumps."""
    RESTART_DATABASE = "restart database"
    """The database answers nobody, neither writes nor reads; of what was under way some had happened."""
    SLOW_PROVIDER = "slow provider"
    """Everything at the endpoints takes several times as long."""
    HOST_DEATH = "host death"
    """A machine is gone with all that is on it: a worker and the engine beside it."""
    WORKER_CLOCK = "worker clock"
    """The wall clock of a worker jumps."""
    FREEZE_WORKER = "freeze worker"
    """A machine with a worker is suspended and goes on later, as if no time had passed."""


BASIC = tuple(Kind)[: tuple(Kind).index(Kind.RESTART_DATABASE)]
"""What can go wrong where one hub is alone."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong: when, for how long, to whom."""

    kind: Kind
    at_s: float
    for_s: float = 0.0
    who: str = ""
    size: float = 0.0
    """Of what there is a size of: seconds of a delay, share of what is lost, milliseconds of a jump."""

    def __str__(self) -> str:
        whom = f" of {self.who}" if self.who else ""
        return f"{self.at_s:7.2f} s  {self.kind.value}{whom}, {self.for_s:.2f} s, size {self.size:.2f}"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A task that a client hands in."""

    name: str
    at_s: float
    takes_s: float
    chat: bool
    """A model call, else a command."""
    priority: int
    fails: int = 0
    """So many attempts fail before one succeeds."""
    needs: tuple[str, ...] = ()
    cancelled_s: float | None = None
    agent: bool = False
    """An agent, which makes `calls` calls of models by itself."""
    calls: int = 0
    asks: bool = False
    """It goes no further without the answer of a person."""
    tier: str | None = None
    batch: str | None = None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A live call that a client makes."""

    name: str
    at_s: float
    takes_s: float
    model: str
    streams: bool = False
    leaves_s: float | None = None
    """After so long the client hangs up."""
    poor: bool = False
    """With the key that may spend little."""


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What a person does."""

    at_s: float
    verb: str
    whom: str


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """All that will happen."""

    seed: int
    jobs: tuple[Job, ...]
    faults: tuple[Fault, ...]
    calls: tuple[Call, ...] = ()
    acts: tuple[Act, ...] = ()
    whole: bool = False
    """Several hubs, live calls, agents, people and a loop, too."""


def draw(seed: int, *, jobs: int = 24, faults: int = 10) -> Story:
    """The story of a seed."""
    rng = random.Random(seed)
    return Story(
        seed=seed,
        jobs=tuple(_job(rng, number) for number in range(jobs)),
        faults=tuple(sorted((_fault(rng) for _ in range(faults)), key=lambda fault: (fault.at_s, fault.kind))),
    )


def _job(rng: random.Random, number: int) -> Job:
    needs = tuple(f"t{rng.randrange(number)}" for _ in range(rng.choice((0, 0, 0, 1, 2)))) if number else ()
    at_s = rng.uniform(0, FAULTS_UNTIL_S * 0.8)
    return Job(
        name=f"t{number}",
        at_s=at_s,
        takes_s=rng.choice((0.05, 0.5, 3.0, 12.0, 30.0)),
        chat=rng.random() < 0.5,
        priority=rng.randrange(4),
        fails=rng.choice((0, 0, 0, 0, 1, 2)),
        needs=tuple(dict.fromkeys(needs)),
        cancelled_s=at_s + rng.uniform(0, 40) if rng.random() < 0.1 else None,
    )


def _fault(rng: random.Random) -> Fault:
    kind = rng.choice(list(BASIC))
    at_s = rng.uniform(0, FAULTS_UNTIL_S)
    for_s = min(rng.choice((0.2, 2.0, 6.0, 20.0, 60.0)) * rng.uniform(0.5, 1.5), FAULTS_UNTIL_S - at_s)
    who = ""
    size = 0.0
    if kind in {Kind.KILL_WORKER, Kind.CUT, Kind.LOSE, Kind.DOUBLE, Kind.SLOW_NET}:
        who = rng.choice(WORKERS)
        size = {Kind.LOSE: rng.uniform(0.1, 0.7), Kind.SLOW_NET: rng.uniform(0.2, 8.0)}.get(kind, 0.0)
    elif kind in {Kind.DOWN, Kind.STORM}:
        who = rng.choice(ENDPOINTS)
    elif kind is Kind.SLOW_DISK:
        size = rng.uniform(0.2, 5.0)
    elif kind is Kind.CLOCK:
        size = rng.choice((-1, 1)) * rng.choice((500, 5_000, 120_000))
    elif kind is Kind.FULL_DISK:
        for_s = min(for_s, 5.0)  # longer, and the hub stops by its own rule; that is `KILL_HUB`
    return Fault(kind=kind, at_s=at_s, for_s=for_s, who=who, size=size)
