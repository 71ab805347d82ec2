"""Whatever the domain says can be written as JSON and read back without loss: stored, sent, shown and replayed."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.catalog import Catalog
from ostler.domain.commands import Command, LateReport
from ostler.domain.decision import Decision, RouteRequest, Verdict
from ostler.domain.event import CATALOGUE, Event
from ostler.domain.fleet import HostReport, Probe, Session, WorkerOffer
from ostler.domain.policy import Policy
from ostler.domain.tasks import Attempt, Task, TaskSpec
from ostler.domain.work import Assignment, Report
from tests.store.generated import INTEGER, TEXT, any_of

PLAIN = [
    Assignment,
    Attempt,
    Catalog,
    Decision,
    Event,
    HostReport,
    Policy,
    Probe,
    RouteRequest,
    Session,
    Task,
    TaskSpec,
    WorkerOffer,
]
UNIONS: dict[str, Any] = {"command": Command, "report": Report, "verdict": Verdict}
MEMBERS = [(name, member) for name, union in UNIONS.items() for member in get_args(union)]


def anything(struct: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of a struct, made from its annotations."""
    if struct is LateReport:
        bodies, events = st.binary(max_size=20), any_of(Event)
        return st.builds(LateReport, task_id=TEXT, generation=INTEGER, at_ms=INTEGER, body=bodies, event=events)
    return any_of(struct)


@pytest.mark.parametrize("struct", PLAIN, ids=lambda struct: str(struct.__name__))
@settings(max_examples=12)
@given(data=st.data())
def test_nothing_is_lost_on_the_way_through_json(struct: type[Any], data: st.DataObject) -> None:
    """What is read is what was written, and is written the same again."""
    value = data.draw(anything(struct))
    text = msgspec.json.encode(value, order="deterministic")
    read = msgspec.json.decode(text, type=struct)

    assert read == value
    assert msgspec.json.encode(read, order="deterministic") == text


@pytest.mark.parametrize(("name", "member"), MEMBERS, ids=lambda cell: getattr(cell, "__name__", cell))
@settings(max_examples=8)
@given(data=st.data())
def test_a_member_of_a_union_is_told_from_the_others(name: str, member: type[Any], data: st.DataObject) -> None:
    """By its tag alone: nobody says beforehand which one comes."""
    value = data.draw(anything(member))
    read = msgspec.json.decode(msgspec.json.encode(value), type=UNIONS[name])

    assert type(read) is member
    assert read == value


@pytest.mark.parametrize("name", sorted(UNIONS))
def test_tags_are_distinct_words(name: str) -> None:
    """Two members of one union never share one."""
    tags = [member.__struct_config__.tag for member in get_args(UNIONS[name])]

    assert len(set(tags)) == len(tags)
    assert all(isinstance(tag, str) and tag.replace("_", "").isalpha() for tag in tags)


def test_a_spec_says_nothing_that_was_not_said() -> None:
    """Defaults are left out, so that an old hub reads a spec that uses none of the new fields."""
    assert msgspec.json.encode(TaskSpec(id="t")) == b'{"id":"t"}'
    assert msgspec.json.decode(b'{"id":"t"}', type=TaskSpec) == TaskSpec(id="t")


@pytest.mark.parametrize("text", [b'{"id":"t","promt":"x"}', b'{"prompt":"x"}', b'{"id":"t","needs":"a"}', b'{"id":1}'])
def test_a_spec_that_is_misspelt_is_refused(text: bytes) -> None:
    """An unknown field is a mistake of the caller that must not pass in silence."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=TaskSpec)


@pytest.mark.parametrize("struct", [Task, Event, Decision, WorkerOffer])
def test_what_was_said_cannot_be_changed(struct: type[Any]) -> None:
    """Views may be handed out without copies."""
    assert struct.__struct_config__.frozen


UNITS = ("_ms", "_us", "_bytes", "_characters", "_micro_usd", "_percent")
COUNTS = {
    "adopted",
    "answers",
    "attempts",
    "candidate_count",
    "characters",
    "confidence",
    "dropped",
    "errors",
    "refused",
}
COUNTS |= {"steps", "taken_back", "ticks", "times", "workers"}
UNIT_OF_ITS_RULE = {"bound", "value"}
"""What an alert measures has the unit of its rule."""


def test_the_catalogue_of_events_is_well_formed() -> None:
    """Names in two parts, a sentence for each, units on measurements, no field that is both."""
    for name, kind in CATALOGUE.items():
        group, _, rest = name.partition(".")
        assert group.isalpha()
        assert rest.replace("_", "").isalpha()
        assert kind.doc.endswith(".")
        assert not set(kind.measurements) & set(kind.metadata)
        for field in kind.measurements:
            assert field.endswith(UNITS) or field in COUNTS | UNIT_OF_ITS_RULE, field
