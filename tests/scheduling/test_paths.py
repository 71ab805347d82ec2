"""How much hangs on a task, and the order of a run that follows from it."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.states import TaskState
from ostler.domain.tasks import Task, TaskSpec
from ostler.hub.accept import new_tasks
from ostler.scheduling.paths import UNKNOWN_MS, Paths
from tests.scheduling.hosts_made import rig_with
from tests.scheduling.rig import three_tiers


def tasks(*rows: tuple[str, int | None, tuple[str, ...]], batch: str | None = "r") -> list[Task]:
    """Tasks of these names, expected durations and needs, in the order of their arrival."""
    specs = [
        msgspec.convert(
            {"id": name, "prompt": "x", "expected_ms": expected_ms, "needs": needs, "batch": batch}, TaskSpec
        )
        for name, expected_ms, needs in rows
    ]
    return [row.task for row in new_tasks(specs, three_tiers(), first_seq=1, now_ms=1, settled={})]


def placed(paths: Paths, rows: list[Task]) -> list[str]:
    return [task.id for task in sorted(rows, key=paths.place)]


def test_a_chain_is_the_longest_way_through_what_needs_a_task() -> None:
    """Its own duration included; what nobody stated counts as a little."""
    paths = Paths()
    paths.add(tasks(("a", 10, ()), ("b", 100, ("a",)), ("c", 20, ("a",)), ("d", None, ("b", "c"))))

    chains = {name: paths.chain_ms(name) for name in "abcd"}
    assert chains == {"a": 110 + UNKNOWN_MS, "b": 100 + UNKNOWN_MS, "c": 20 + UNKNOWN_MS, "d": UNKNOWN_MS}
    assert paths.chain_ms("nobody") == 0


def test_what_comes_later_lengthens_the_chains_before_it() -> None:
    """A task may be handed in that needs one of yesterday."""
    paths = Paths()
    paths.add(tasks(("a", 10, ()), ("b", 10, ("a",))))
    paths.add(tasks(("c", 500, ("b",)), batch="other"))

    assert (paths.chain_ms("a"), paths.chain_ms("b")) == (520, 510)


def test_the_longest_chain_of_a_run_goes_first() -> None:
    """Within the places that the run has; without needs and durations that is the order of arrival."""
    paths = Paths()
    run = tasks(("short", 10, ()), ("first", 10, ()), ("long", 10, ()), ("end", 900, ("long",)))
    paths.add(run)
    plain = tasks(("x", None, ()), ("y", None, ()), ("z", None, ()))
    paths.add(plain)

    assert placed(paths, run) == ["long", "end", "short", "first"]
    assert placed(paths, plain) == ["x", "y", "z"]
    assert sorted(map(paths.place, run)) == sorted(task.seq for task in run)


def test_tasks_of_no_run_keep_their_arrival() -> None:
    """Nobody said that they belong together."""
    paths = Paths()
    alone = tasks(("a", 10, ()), ("b", 900, ()), batch=None)
    paths.add(alone)

    assert placed(paths, alone) == ["a", "b"]


def test_what_has_ended_is_forgotten() -> None:
    """A hub that runs for months keeps nothing of what is over."""
    paths = Paths()
    run = tasks(("a", 10, ()), ("b", 10, ("a",)))
    paths.add(run)
    for task in run:
        paths.drop(task.id)

    assert paths.chain_ms("a") == 0
    assert paths.place(run[0]) == run[0].seq


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sets(st.integers(0, 11), max_size=3)), min_size=1, max_size=12), st.data()
)
def test_chains_do_not_depend_on_the_order_of_arrival(work: list[tuple[int, set[int]]], data: st.DataObject) -> None:
    """And each is its own duration plus the longest of those that need it."""
    rows = [
        (f"t{at}", length, tuple(f"t{need}" for need in sorted(needs) if need < at))
        for at, (length, needs) in enumerate(work)
    ]
    paths = Paths()
    paths.add(data.draw(st.permutations(tasks(*rows))))

    for name, length, _ in rows:
        behind = [paths.chain_ms(other) for other, _, needs in rows if name in needs]
        assert paths.chain_ms(name) == length + max(behind, default=0)


def test_the_scheduler_begins_a_run_with_its_longest_chain() -> None:
    """Two slots' worth of time is lost otherwise."""
    rig = rig_with(slots=1, loaded=("big",))
    chain = {"tier": "big", "batch": "r", "expected_ms": 60_000}
    rig.command("gate")
    specs = [
        {"id": "leaf", "prompt": "x", "needs": ["gate"]} | chain,
        {"id": "root", "prompt": "x", "needs": ["gate"]} | chain,
        {"id": "then", "prompt": "x", "needs": ["root"]} | chain,
    ]
    rig.submit(*(msgspec.convert(spec, TaskSpec) for spec in specs))
    rig.finish("gate")

    assert (rig.state("root"), rig.state("leaf")) == (TaskState.ASSIGNED, TaskState.QUEUED)
