"""What a round has seen of the fleet stays true while it gives workers away."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ostler.domain.catalog import Reach
from ostler.domain.fleet import Session, WorkerOffer
from ostler.domain.tasks import TaskKind
from ostler.scheduling import signals as sig
from ostler.scheduling import workers as workers_module
from ostler.scheduling.books import Turn
from ostler.scheduling.offering import Offers
from ostler.scheduling.sight import Sight
from tests.scheduling.rig import Rig, local

HERE = "http://127.0.0.1:11434"
HOSTS = ("east", "west", "north")


def fleet(workers: list[tuple[str, int, bool, bool]], reaches: list[Reach]) -> Rig:
    """Endpoints tied to their machines, and workers: host, slots, whether it has what is rare, whether it is the hub's.

    Nobody's slots are free beyond what is said, and nothing waits.
    """
    rig = Rig()
    for number, reach in enumerate(reaches):
        spec = local(f"gpu{number}", host=HOSTS[number % len(HOSTS)])
        rig.up(replace(spec, url=HERE, reached_by=reach))
    rig.up(local("open"))
    for number, (host, slots, rare, builtin) in enumerate(workers):
        offer = WorkerOffer(
            name=f"w{number}",
            host=host,
            slots={TaskKind.CHAT: slots},
            capabilities=frozenset({"rare"} if rare else ()),
            builtin=builtin,
        )
        session = Session(id=f"s{number}", offer=offer, joined_ms=rig.now_ms, renewed_ms=rig.now_ms)
        rig.tell(sig.WorkerJoined(session=session))
    return rig


WORKERS = st.lists(
    st.tuples(st.sampled_from(HOSTS), st.integers(0, 2), st.booleans(), st.sampled_from([False, False, True])),
    max_size=5,
)
REACHES = st.lists(st.sampled_from([Reach.HUB, Reach.WORKER]), min_size=1, max_size=5)


@settings(max_examples=80, deadline=None)
@given(workers=WORKERS, reaches=REACHES, picks=st.lists(st.integers(0, 99), max_size=6), few=st.sampled_from([0, 32]))
def test_what_nobody_reaches_is_known_after_each_worker_that_is_given_away(
    workers: list[tuple[str, int, bool, bool]], reaches: list[Reach], picks: list[int], few: int
) -> None:
    """As if it were looked at anew each time, from the side of the workers as from that of the endpoints."""
    rig = fleet(workers, reaches)
    books, before = rig.scheduler.books, workers_module.FEW
    easy = rig.rows[rig.chat("easy", worker="nobody")].facts
    facts = [replace(easy, worker=None), replace(easy, worker=None, requires=frozenset({"rare"}))]
    sight = Sight(Turn(books, rig.now_ms), Offers(books))
    workers_module.FEW = few
    try:
        for step, pick in enumerate([*picks, 0]):
            for one in facts:
                assert sight.unreached(one) == books.workers.unreached(one, books.endpoints.tied.values())
            free = [name for name in books.workers.states if books.workers.is_free(name, TaskKind.CHAT)]
            if free:
                books.workers.take(free[pick % len(free)], TaskKind.CHAT, f"t{step}", 1)
                sight.taken(free[pick % len(free)], TaskKind.CHAT)
    finally:
        workers_module.FEW = before


@settings(max_examples=80, deadline=None)
@given(
    workers=WORKERS,
    reaches=REACHES,
    full=st.sets(st.integers(0, 5)),
    rare=st.booleans(),
    few=st.sampled_from([0, 32]),
)
def test_help_is_a_free_slot_and_a_free_worker_who_reaches_it(
    workers: list[tuple[str, int, bool, bool]], reaches: list[Reach], full: set[int], rare: bool, few: int
) -> None:
    """Whichever side it is looked for from: what matching would find."""
    rig = fleet(workers, reaches)
    books, before = rig.scheduler.books, workers_module.FEW
    easy = rig.rows[rig.chat("easy", worker="nobody")].facts
    facts = replace(easy, worker=None, requires=frozenset({"rare"} if rare else ()))
    for number in full:
        books.in_flight["open" if number >= len(reaches) else f"gpu{number}"] = 1
    places = frozenset(books.endpoints.views)
    found = any(
        books.has_slot(name) and books.workers.match(facts, books.endpoints.views[name].spec, None) is not None
        for name in places
    )
    workers_module.FEW = few
    try:
        assert Offers(books).help(facts, places) is found
        anybody = books.workers.match(facts, None, None) is not None
        assert Offers(books).help(facts, frozenset()) is anybody
    finally:
        workers_module.FEW = before


def test_a_worker_who_could_do_it_at_another_place_is_not_missing() -> None:
    """Nobody is on the machine of the place that would be best; elsewhere somebody is, and busy."""
    rig = Rig()
    for host in ("east", "west"):
        rig.up(replace(local(f"gpu-{host}", slots=4, host=host), url=HERE))
    rig.worker("w", chat=1, host="west")
    rig.chat("first")
    rig.chat("second")

    wait = rig.scheduler.wait_of("second")
    assert wait is not None
    assert (wait.code.value, wait.detail) == ("capacity", "every worker slot for chat work is taken")
    rig.chat("third", requires=["rare"])
    missing = rig.scheduler.wait_of("third")
    assert missing is not None
    assert (missing.code.value, missing.detail) == ("no_worker", "no joined worker has rare")
