"""What happened, read back as a plan."""

from ostler.planning.actual import Call, Change, actual, without_prefix
from ostler.planning.figures import figures
from ostler.planning.gantt import gantt
from ostler.planning.plan import Episode, Placement

START = 1_000_000


def call(label: str, model: str | None, start_ms: int, end_ms: int | None, host: str = "box") -> Call:
    end = None if end_ms is None else START + end_ms
    return Call(label=label, host=host, model=model, start_ms=START + start_ms, end_ms=end)


def change(model: str, at_ms: int, took_ms: int, *, loaded: bool) -> Change:
    return Change(host="box", model=model, at_ms=START + at_ms, took_ms=took_ms, loaded=loaded)


SWAP = (
    change("a", 20, 20, loaded=True),
    change("a", 100, 10, loaded=False),
    change("b", 100, 30, loaded=True),
)


def test_a_swap_is_first_out_then_in() -> None:
    """Both are recorded at the end of the load: the unload ends where the load began."""
    found = actual([call("t", "a", 20, 60), call("u", "b", 100, 150)], SWAP, started_ms=START, until_ms=START + 150)

    assert found.plan.episodes == (
        Episode(host="box", model="a", load_start_ms=0, ready_ms=20, unload_start_ms=60, unload_end_ms=70),
        Episode(host="box", model="b", load_start_ms=70, ready_ms=100),
    )
    assert found.plan.placements == (
        Placement(task="t", host="box", start_ms=20, end_ms=60),
        Placement(task="u", host="box", start_ms=100, end_ms=150),
    )


def test_what_calls_used_without_a_load_was_there_at_the_start() -> None:
    """It is no load of this record, and its unload is one."""
    changes = (change("a", 100, 10, loaded=False),)
    found = actual([call("t", "a", 5, 60)], changes, started_ms=START, until_ms=START + 100)

    (stay,) = found.plan.episodes
    assert (stay.initial, stay.unload_start_ms, stay.unload_end_ms) == (True, 90, 100)
    assert found.plan.loads == 0


def seen(model: str, at_ms: int, *, loaded: bool) -> Change:
    return Change(host="box", model=model, at_ms=START + at_ms, loaded=loaded, seen=True)


def test_what_a_listing_shows_counts_where_nothing_better_is_known() -> None:
    """A machine that was switched off forgets its models, and nobody unloads them; an engine may load by itself."""
    changes = (*SWAP[:1], seen("a", 50, loaded=False), seen("b", 60, loaded=True))
    found = actual([call("t", "a", 20, 45)], changes, started_ms=START, until_ms=START + 100)

    first, second = found.plan.episodes
    assert (first.model, first.ready_ms, first.unload_start_ms, first.unload_end_ms) == ("a", 20, 50, 50)
    assert (second.model, second.ready_ms, second.unload_start_ms) == ("b", 60, None)


def test_the_word_of_who_unloaded_goes_before_what_was_seen() -> None:
    """A listing comes in the middle of a swap; the record of the swap comes at its end and has its times."""
    told = actual([call("t", "a", 20, 60)], SWAP, started_ms=START, until_ms=START + 150)
    changes = (*SWAP, seen("a", 65, loaded=False), seen("b", 101, loaded=True), seen("c", 5, loaded=False))
    also_seen = actual([call("t", "a", 20, 60)], changes, started_ms=START, until_ms=START + 150)

    assert [row for row in also_seen.plan.episodes if row.model != "c"] == list(told.plan.episodes)


def test_what_runs_goes_on_to_the_end_of_the_record() -> None:
    """A call without an end is drawn up to now."""
    found = actual([call("t", "a", 20, None)], SWAP[:1], started_ms=START, until_ms=START + 70)

    assert found.plan.placements[0].end_ms == 70
    assert found.plan.makespan_ms == 70


def test_a_cloud_and_a_command_have_no_memory() -> None:
    """Their hosts show tasks only."""
    far = Call(label="c", host="far", model="m", start_ms=START, end_ms=START + 5, cloud=True)
    found = actual([far, call("make", None, 0, 9, host="worker")], (), started_ms=START, until_ms=START + 9)

    assert found.plan.episodes == ()
    assert {host.name: host.cloud for host in found.instance.hosts} == {"far": True, "worker": False}


def test_names_of_a_run_can_be_shortened() -> None:
    """Only where they begin with its name."""
    found = actual([call("r.t", "a", 20, 60), call("u", "a", 60, 70)], (), started_ms=START, until_ms=START + 70)
    short = without_prefix(found, "r.")

    assert [row.task for row in short.plan.placements] == ["t", "u"]
    assert [task.id for task in short.instance.tasks] == ["t", "u"]
    assert len(gantt(short.instance, short.plan).hosts) == 1


def test_figures_and_picture_are_those_of_a_plan() -> None:
    """Planned and actual can be compared number by number, and drawn one above the other."""
    found = actual([call("t", "a", 20, 60), call("u", "b", 100, 150)], SWAP, started_ms=START, until_ms=START + 150)

    told = figures(found.instance, found.plan)
    assert (told.makespan_ms, told.loads, told.swap_ms) == (150, 2, 60)
    assert [lane.memory for lane in gantt(found.instance, found.plan).hosts[0].lanes] == [True, False]
