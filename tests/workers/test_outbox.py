"""Tests of the reports that wait for the hub."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.work import Finished, Progress, Report, Started
from ostler.workers import outbox
from ostler.workers.outbox import Outbox, key_of


def started(task_id: str = "a") -> Started:
    return Started(task_id=task_id, generation=1, at_ms=0)


def progress(tokens: int, task_id: str = "a") -> Progress:
    return Progress(task_id=task_id, generation=1, at_ms=0, output_tokens=tokens)


def finished(task_id: str = "a", output: str = "") -> Finished:
    return Finished(task_id=task_id, generation=1, at_ms=0, ok=True, output=output)


def filled(*reports: Report) -> Outbox:
    box = Outbox()
    for report in reports:
        box.add(report)
    return box


def test_only_the_newest_progress_is_kept() -> None:
    """Signs of life replace each other, and the end makes them superfluous."""
    assert filled(started(), progress(1), progress(2)).batch() == (started(), progress(2))
    assert filled(started(), progress(1), finished()).batch() == (started(), finished())


def test_nothing_comes_after_the_end() -> None:
    """Reports about an attempt whose end waits to be handed over are dropped."""
    assert filled(finished(), progress(1), finished(output="again")).batch() == (finished(),)


def test_progress_is_not_urgent() -> None:
    """A start or an end is worth a call of its own, progress is not."""
    assert not filled(progress(1)).has_urgent
    assert filled(progress(1, "b"), started()).has_urgent


def test_progress_that_came_during_the_hand_over_is_kept() -> None:
    """What replaced a report while that was on its way is handed over next."""
    box = filled(started(), progress(1))
    batch = box.batch()

    box.add(progress(2))
    box.done(batch)

    assert box.batch() == (progress(2),)


def test_a_batch_is_bounded_but_never_empty() -> None:
    """A batch ends before it gets too large; one report that is too large by itself goes alone."""
    large = "x" * (outbox.BATCH_CHARACTERS_MAX + 1)
    box = filled(finished("a", large), finished("b", "y"), finished("c", large))

    assert [key_of(report)[0] for report in box.batch()] == ["a"]
    box.done(box.batch())
    assert [key_of(report)[0] for report in box.batch()] == ["b"]

    many = filled(*(started(str(number)) for number in range(outbox.BATCH_REPORTS_MAX + 5)))
    assert len(many.batch()) == outbox.BATCH_REPORTS_MAX


STEP = st.one_of(
    st.tuples(st.just("progress"), st.integers(0, 2)),
    st.tuples(st.just("finish"), st.integers(0, 2)),
    st.tuples(st.just("take"), st.just(0)),
    st.tuples(st.just("fail"), st.just(0)),
    st.tuples(st.just("succeed"), st.just(0)),
)


@given(steps=st.lists(STEP, max_size=60))
def test_every_attempt_arrives_in_order_and_whole(steps: list[tuple[str, int]]) -> None:
    """Whatever fails and is repeated: each attempt's start arrives first, its end last and never missing, and no older
    progress after a newer one.
    """
    box = filled(*(started(str(number)) for number in range(3)))
    ended: set[int] = set()
    arrived: list[Report] = []
    batch: tuple[Report, ...] = ()
    for count, (action, number) in enumerate(steps):
        if action == "progress" and number not in ended:
            box.add(progress(count, str(number)))
        elif action == "finish" and number not in ended:
            ended.add(number)
            box.add(finished(str(number)))
        elif action == "take" and not batch:
            batch = box.batch()
        elif action == "fail":
            batch = ()
        elif action == "succeed":
            arrived += batch
            box.done(batch)
            batch = ()
    while last := box.batch():
        arrived += last
        box.done(last)

    assert len(box) == 0
    for number in range(3):
        mine = [report for report in arrived if key_of(report)[0] == str(number)]
        tokens = [report.output_tokens for report in mine if isinstance(report, Progress)]
        assert isinstance(mine[0], Started)
        assert tokens == sorted(tokens)
        assert [isinstance(report, Finished) for report in mine].count(True) == (number in ended)
        assert isinstance(mine[-1], Finished) == (number in ended)
