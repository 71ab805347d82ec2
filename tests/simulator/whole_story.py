"""What happens in a whole world: as in `story`, and agents, live calls, people and more that goes wrong."""

import random

import msgspec

from tests.simulator.story import (
    ENDPOINTS,
    FAULTS_UNTIL_S,
    WORKERS,
    Act,
    Call,
    Fault,
    Job,
    Kind,
    Story,
    draw,
)

SITES = ("oslo", "rome")
CALLS = 16
BATCHES = ("b1", "b2")
_AT_A_SITE = frozenset({Kind.KILL_HUB, Kind.PAUSE_HUB, Kind.SPLIT, Kind.CLOCK})
_AT_A_WORKER = frozenset(
    {Kind.KILL_WORKER, Kind.CUT, Kind.LOSE, Kind.DOUBLE, Kind.SLOW_NET, Kind.HOST_DEATH, Kind.WORKER_CLOCK}
    | {Kind.FREEZE_WORKER}
)


def draw_whole(seed: int, *, jobs: int = 24, faults: int = 12) -> Story:
    """The story of a seed."""
    rng = random.Random(seed ^ 0xA11)
    story = draw(seed, jobs=jobs, faults=0)
    ill = sorted((_fault(rng) for _ in range(faults)), key=lambda fault: (fault.at_s, fault.kind))
    return msgspec.structs.replace(
        story,
        whole=True,
        jobs=tuple(_job(rng, job) for job in story.jobs),
        calls=tuple(_call(rng, number) for number in range(CALLS)),
        acts=tuple(sorted((_act(rng, story.jobs) for _ in range(8)), key=lambda act: act.at_s)),
        faults=tuple(ill),
    )


def _job(rng: random.Random, job: Job) -> Job:
    """The same task, perhaps as an agent, in a batch, or for a tier that costs."""
    agent = rng.random() < 0.25
    return msgspec.structs.replace(
        job,
        agent=agent,
        chat=job.chat and not agent,
        calls=rng.randrange(1, 5) if agent else 0,
        asks=agent and rng.random() < 0.3,
        tier=rng.choice((None, None, "strong", "complex")) if agent or job.chat else None,
        batch=rng.choice((None, None, *BATCHES)),
    )


def _call(rng: random.Random, number: int) -> Call:
    takes_s = rng.choice((0.2, 1.0, 4.0, 15.0))
    return Call(
        name=f"c{number}",
        at_s=rng.uniform(0, FAULTS_UNTIL_S),
        takes_s=takes_s,
        model=rng.choice(("small", "small", "other", "large", "tier:standard", "auto")),
        streams=rng.random() < 0.5,
        leaves_s=rng.uniform(0.0, 2.0 * takes_s) if rng.random() < 0.2 else None,
        poor=rng.random() < 0.2,
    )


def _act(rng: random.Random, jobs: tuple[Job, ...]) -> Act:
    verb = rng.choice(("pause", "resume", "retry", "pause batch", "resume batch", "cancel batch", "answer"))
    whom = rng.choice(BATCHES) if verb.endswith("batch") else rng.choice(jobs).name
    return Act(at_s=rng.uniform(5.0, FAULTS_UNTIL_S), verb=verb, whom=whom)


def _fault(rng: random.Random) -> Fault:
    kind = rng.choice(list(Kind))
    at_s = rng.uniform(0, FAULTS_UNTIL_S)
    for_s = min(rng.choice((0.2, 2.0, 6.0, 20.0, 60.0)) * rng.uniform(0.5, 1.5), FAULTS_UNTIL_S - at_s)
    who = ""
    size = 0.0
    if kind in _AT_A_SITE:
        who = rng.choice(("", "", *SITES))  # empty = whoever leads
    elif kind in _AT_A_WORKER:
        who = rng.choice(WORKERS)
    elif kind in {Kind.DOWN, Kind.STORM}:
        who = rng.choice(ENDPOINTS)
    if kind in {Kind.LOSE, Kind.SLOW_NET, Kind.SLOW_DISK, Kind.SLOW_PROVIDER}:
        low, high = {
            Kind.LOSE: (0.1, 0.7),
            Kind.SLOW_NET: (0.2, 8.0),
            Kind.SLOW_DISK: (0.2, 5.0),
            Kind.SLOW_PROVIDER: (2.0, 20.0),
        }[kind]
        size = rng.uniform(low, high)
    elif kind in {Kind.CLOCK, Kind.WORKER_CLOCK}:
        size = rng.choice((-1, 1)) * rng.choice((500, 5_000, 120_000))
    elif kind is Kind.FULL_DISK:
        for_s = min(for_s, 5.0)
    return Fault(kind=kind, at_s=at_s, for_s=for_s, who=who, size=size)
