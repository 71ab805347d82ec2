"""The binding constraint: one sentence for every way in which nothing runs."""

from collections.abc import Callable

import pytest

from ostler.domain.fleet import WorkerOffer
from ostler.domain.states import FailureClass, WaitCode
from ostler.hub.idle import REMEDIES, WORDS, binding
from ostler.hub.pulse_views import Idle
from ostler.scheduling import signals as sig
from tests.scheduling.rig import Rig, local

Scene = Callable[[Rig], None]


def why(rig: Rig, failing: str = "") -> Idle:
    """What the hub would say."""
    books = rig.scheduler.books
    return binding(books, books.tasks.values(), failing)


def nothing(rig: Rig) -> None:
    rig.worker()


def busy(rig: Rig) -> None:
    rig.worker()
    rig.command("a")


def no_worker(rig: Rig) -> None:
    rig.command("a")
    rig.command("b")


def no_slot(rig: Rig) -> None:
    rig.worker(command=1)
    rig.command("a")
    rig.command("b")


def endpoint_down(rig: Rig) -> None:
    rig.worker()
    rig.up(local("gpu"))
    rig.down("gpu")
    rig.chat("a")
    rig.pass_ms(6_000)
    rig.tell(sig.WorkerRenewed(session_id="s1"))


def paused(rig: Rig) -> None:
    rig.worker()
    rig.command("a", held=True)


def later(rig: Rig) -> None:
    rig.worker()
    rig.command("a", not_before_ms=rig.now_ms + 60_000)


def another_try(rig: Rig) -> None:
    rig.worker()
    rig.command("a")
    rig.finish("a", FailureClass.COMMAND)


def person(rig: Rig, kind: FailureClass = FailureClass.POLICY) -> None:
    rig.worker()
    rig.command("a")
    rig.finish("a", kind, "which key?")


SCENES: dict[str, tuple[Scene, str, str]] = {
    "nothing": (nothing, "none", "nothing is open: all work has ended"),
    "busy": (busy, "busy", "1 run, and nothing else could start"),
    "no worker": (no_worker, "no_worker", "2 tasks wait: no worker can take it"),
    "no slot": (no_slot, "capacity", "1 run; 1 task waits: all slots are taken"),
    "endpoint down": (endpoint_down, "endpoint_down", "1 task waits: no endpoint answers"),
    "paused": (paused, "paused", "1 task waits: it is paused"),
    "later": (later, "scheduled", "1 task waits: it is not to start yet"),
    "another try": (another_try, "retry", "1 task waits: it failed and is tried again"),
    "person": (person, "needs_human", "a needs a person (which key?)"),
}


@pytest.mark.parametrize("name", SCENES)
def test_each_way_of_being_idle_is_told(name: str) -> None:
    """With its code, and in words that begin with how many wait for what."""
    scene, code, sentence = SCENES[name]
    rig = Rig()
    scene(rig)
    found = why(rig)

    assert found.code == code
    assert found.sentence.startswith(sentence)
    assert "\n" not in found.sentence


def test_a_store_that_fails_comes_before_everything() -> None:
    """Nothing can be given out then, whatever else waits."""
    rig = Rig()
    no_worker(rig)

    assert why(rig, "disk full") == Idle(
        code="store", sentence="the store cannot write: disk full", remedy="see to the disk"
    )


def test_a_hundred_tasks_behind_one_wait_for_that_one() -> None:
    """The root counts, not the last link: what is paused in front holds them all."""
    rig = Rig()
    rig.worker()
    rig.command("root", held=True)
    for number in range(5):
        rig.command(f"t{number}", needs=["root" if number == 0 else f"t{number - 1}"])
    found = why(rig)

    assert found.code == "paused"
    assert found.sentence.startswith("6 tasks wait: it is paused")
    assert "root" in found.remedy


def test_tasks_behind_one_that_needs_a_person_are_counted() -> None:
    """And the remedy names the task."""
    rig = Rig()
    person(rig)
    rig.command("b", needs=["a"])
    rig.command("c", needs=["b"])
    found = why(rig)

    assert found.sentence == "a needs a person (which key?), and 2 wait behind"
    assert "ostler tasks retry a" in found.remedy


def test_what_asks_is_to_be_answered_not_retried() -> None:
    """A question is not mended by asking it again."""
    rig = Rig()
    person(rig, FailureClass.QUESTION)

    assert why(rig).remedy == "'ostler answer a TEXT'"


def test_of_several_reasons_the_one_that_holds_most_is_named() -> None:
    """By the tasks behind it, not by how often it is given."""
    rig = Rig()
    rig.worker()
    rig.command("x", held=True)
    rig.command("later1", not_before_ms=rig.now_ms + 60_000)
    for number in range(3):
        rig.command(f"behind{number}", needs=["later1"])

    assert why(rig).code == "scheduled"


def test_a_person_is_named_only_when_nothing_else_could_move() -> None:
    """Otherwise the reason that will pass says more about now."""
    rig = Rig()
    person(rig)
    rig.command("b", requires=["rare"])

    assert why(rig).code == "no_worker"


def test_a_full_batch_is_named() -> None:
    """Slots are free; its own limit holds the rest."""
    rig = Rig()
    rig.worker(command=4)
    for name in "abc":
        rig.command(name, held=True)
    rig.tell(sig.Gather(batch="nightly", task_ids=("a", "b", "c"), limit=1))
    found = why(rig)

    assert found.sentence.startswith("1 run; 2 tasks wait: all slots are taken")
    assert "nightly" in found.sentence


def test_a_worker_that_joins_changes_the_answer() -> None:
    """It is of this moment."""
    rig = Rig()
    no_worker(rig)
    rig.worker(command=4)

    assert why(rig).code == "busy"


def test_every_wait_reason_has_words() -> None:
    """And a remedy where a person can do something."""
    assert set(WORDS) == set(WaitCode)
    assert set(REMEDIES) <= set(WaitCode)


def test_an_offer_without_slots_is_no_worker_for_the_work() -> None:
    """A machine that is there and allows nothing of it."""
    rig = Rig()
    offer = WorkerOffer(name="w", host="w", slots={})
    rig.worker(command=0, chat=0)
    rig.command("a")

    assert offer.slots == {}
    assert why(rig).code == "no_worker"


def test_a_long_chain_is_looked_at_once() -> None:
    """A thousand tasks in a row are no million steps: each link is followed once."""
    rig = Rig()
    rig.worker()
    rig.command("t0", held=True)
    for number in range(1, 1_000):
        rig.command(f"t{number}", needs=[f"t{number - 1}"])
    asked = 0
    real = rig.scheduler.books.dependencies.missing

    def counting(task_id: str) -> frozenset[str]:
        nonlocal asked
        asked += 1
        return real(task_id)

    rig.scheduler.books.dependencies.missing = counting  # type: ignore[method-assign]
    found = why(rig)

    assert found.sentence.startswith("1000 tasks wait: it is paused")
    assert asked <= 1_000


def test_a_task_that_needs_two_is_counted_once() -> None:
    """At the first of them by name."""
    rig = Rig()
    rig.worker()
    rig.command("a", held=True)
    rig.command("b", held=True)
    rig.command("both", needs=["a", "b"])

    assert why(rig).sentence.startswith("3 tasks wait")
