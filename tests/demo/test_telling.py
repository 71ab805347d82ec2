"""Events in the words of the demo."""

import pytest

from ostler.demo import telling
from ostler.demo.report import Tone
from ostler.domain.event import CATALOGUE, Event


def full_event(name: str) -> Event:
    """An event of the catalogue with every field filled in."""
    kind = CATALOGUE[name]
    return Event(
        name=name,
        at_ms=0,
        task_id="a-task" if name.startswith(("task.", "scheduler.")) else None,
        measurements=dict.fromkeys(kind.measurements, 2500),
        metadata={field: f"<{field}>" for field in kind.metadata},
    )


@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_every_event_can_be_told_or_passed_over(name: str) -> None:
    """Whatever the catalogue says an event carries is enough to tell it, on one line."""
    text = telling.tell(full_event(name))

    assert text is None or (text and "\n" not in text)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("worker.lost", ("<worker>", "2500 attempts")),
        ("endpoint.down", ("<endpoint>", "<reason>")),
        ("endpoint.rate_limited", ("<endpoint>", "2.5 s")),
        ("scheduler.fallback", ("a-task", "<original_tier> -> <fallback_tier>", "2.5 s")),
        ("scheduler.model_fallback", ("a-task", "<original_model> -> <fallback_model>", "2.5 s")),
        ("task.reclaimed", ("a-task", "<reason>")),
        ("task.retry_wait", ("a-task", "<message>")),
        ("task.dead_letter", ("a-task", "dead letter", "<message>")),
        ("task.cancelled", ("a-task", "cancelled", "<reason>")),
    ],
)
def test_what_matters_is_in_the_line(name: str, words: tuple[str, ...]) -> None:
    """Who, and why."""
    text = telling.tell(full_event(name)) or ""

    assert [word for word in words if word not in text] == []


def test_everyday_events_are_not_told() -> None:
    """Success, assignment and the first sign of life of an endpoint would drown the rest."""
    assert telling.tell(full_event("task.succeeded")) is None
    assert (
        telling.tell(Event(name="endpoint.up", at_ms=0, metadata={"endpoint": "x"}, measurements={"down_ms": 0}))
        is None
    )


def test_a_lost_attempt_is_told_once() -> None:
    """It is told as taken back; that it will be tried again follows."""
    event = full_event("task.retry_wait")
    lost = Event(name=event.name, at_ms=0, task_id="t", metadata={**event.metadata, "failure": "worker_lost"})

    assert telling.tell(lost) is None


def test_the_short_story_is_about_the_fleet() -> None:
    """Nothing about a single task; the loss of a machine sounds bad, its return good."""
    chapters = {name for name in CATALOGUE if telling.is_chapter(full_event(name))}

    assert not any(name.startswith(("task.", "scheduler.")) for name in chapters)
    assert {"worker.lost", "worker.joined", "endpoint.down", "endpoint.up"} <= chapters
    assert telling.tone_of(full_event("worker.lost")) is Tone.BAD
    assert telling.tone_of(full_event("endpoint.up")) is Tone.GOOD
