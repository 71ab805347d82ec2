"""What is stored comes back equal, whatever it holds."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.allowances import Reported
from ostler.domain.catalog import EndpointSpec
from ostler.domain.decision import Decision
from ostler.domain.event import Event
from ostler.domain.fleet import Session
from ostler.domain.live import CallRecord, GatewayKey
from ostler.domain.measured import Measurement
from ostler.domain.observations import Observation
from ostler.domain.plans import StoredPlan
from ostler.domain.states import TaskState
from ostler.domain.tasks import Attempt, Task, TaskSpec
from ostler.store import rows, schema
from tests.store.generated import any_of
from tests.store.rows_made import make_task


@pytest.mark.parametrize(
    ("struct", "decode"),
    [
        (Task, rows.decode_task),
        (TaskSpec, rows.decode_spec),
        (Attempt, rows.decode_attempt),
        (Decision, rows.decode_decision),
        (Session, rows.decode_session),
        (EndpointSpec, rows.decode_endpoint),
        (Measurement, rows.decode_measurement),
        (Reported, rows.decode_allowance),
        (Observation, rows.decode_observation),
        (StoredPlan, rows.decode_plan),
        (GatewayKey, rows.decode_key),
        (CallRecord, rows.decode_call),
    ],
)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_body_loses_nothing(struct: type[Any], decode: Any, data: st.DataObject) -> None:  # noqa: ANN401 - a decoder
    """Any value of a stored type is equal to what its JSON text says, every field included."""
    value = data.draw(any_of(struct))

    assert decode(rows.body(value)) == value


@settings(max_examples=25, deadline=None)
@given(event=any_of(Event), seq=st.integers(min_value=1, max_value=2**62), task_seq=st.none() | st.integers(1, 9))
def test_an_event_loses_nothing(event: Event, seq: int, task_seq: int | None) -> None:
    """An event is spread over columns; together they are the event, with the number that the store gave."""
    named = dict(
        zip((column.name for column in schema.event.columns), rows.event_row(event, seq, task_seq), strict=True)
    )

    back = rows.event_of(named["seq"], named["at_ms"], named["name"], named["task_id"], named["body"])

    assert back == msgspec.structs.replace(event, seq=seq)
    assert named["task_seq"] == task_seq


@settings(max_examples=25, deadline=None)
@given(task=any_of(Task))
def test_the_columns_of_a_task_say_what_its_body_says(task: Task) -> None:
    """The row has one value for each column, in order, and queries on columns see the task as it is."""
    named = dict(zip((column.name for column in schema.task.columns), rows.task_row(task), strict=True))

    assert named["wait_code"] == (task.wait.code.value if task.wait else None)
    for name in set(named) - {"wait_code", "body"}:
        assert named[name] == getattr(task, name)
        assert type(named[name]) in {int, str, type(None)}, name


@settings(max_examples=25, deadline=None)
@given(task=any_of(Task), state=st.sampled_from(TaskState), generation=st.integers(0, 9))
def test_both_kinds_of_change_write_the_same_values(task: Task, state: TaskState, generation: int) -> None:
    """The narrow change writes what the full one writes, for the columns that it writes, under the same guard."""
    full = rows.change_row(task, state, generation)
    narrow = rows.open_change_row(task, state, generation)
    names = [column.name for column in schema.task.columns][2:]
    left_alone = {"batch", "finished_ms"}

    assert full[-3:] == narrow[-3:] == (task.seq, state.value, generation)
    kept = [value for name, value in zip(names, full[:-3], strict=True) if name not in left_alone]
    assert kept == list(narrow[:-3])


@settings(max_examples=25, deadline=None)
@given(record=any_of(CallRecord))
def test_the_columns_of_a_call_say_what_its_record_says(record: CallRecord) -> None:
    """The row has one value for each column, in order, and queries on columns see the call as it is."""
    named = dict(zip((column.name for column in schema.call.columns), rows.call_row(record), strict=True))

    assert rows.decode_call(named.pop("body")) == record
    for name, value in named.items():
        assert value == getattr(record, name)
        assert type(value) in {int, str, type(None)}, name


def test_a_body_is_readable_by_hand() -> None:
    """The body is JSON with the names of the fields, so that any tool can look into it."""
    said = msgspec.json.decode(rows.body(make_task("t1", title="Fix it")))

    assert (said["id"], said["state"], said["title"]) == ("t1", "queued", "Fix it")
