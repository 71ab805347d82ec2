"""So many tasks may be open: what is beyond is refused whole, and a submit that is repeated is not counted twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import ExitCode, LimitReachedError
from ostler.domain.tasks import TaskSpec
from ostler.hub.accept import check_room
from tests.hub.house import house


def specs(*names: str) -> list[TaskSpec]:
    """Tasks by their ids."""
    return [TaskSpec(id=name, prompt="say a word") for name in names]


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20), min_size=1), st.integers(1, 25))
def test_exactly_what_would_pass_the_limit_is_refused(known: set[int], asked: set[int], most: int) -> None:
    """By the number of those that are new."""
    tasks = {f"t{number}" for number in known}
    new = asked - known
    try:
        check_room(specs(*(f"t{number}" for number in sorted(asked))), tasks, len(tasks), most)
    except LimitReachedError:
        assert new, "a submit that was repeated is refused"
        assert len(known) + len(new) > most, "there was room"
    else:
        assert not new or len(known) + len(new) <= most, "there was no room"


def test_without_a_limit_any_number_is_taken() -> None:
    """0 = any number."""
    check_room(specs("a", "b"), set(), 10**9, 0)


async def test_a_full_hub_says_so_and_takes_all_or_nothing() -> None:
    """With the setting, and when to come back; what was handed in before is answered as before."""
    async with house() as built:
        built.hub.max_open_tasks = 2
        await built.hub.submit(specs("a", "b"))
        again = await built.hub.submit(specs("a", "b"))
        assert [row.duplicate for row in again.tasks] == [True, True]
        with pytest.raises(LimitReachedError) as caught:
            await built.hub.submit(specs("a", "c"))
        assert (caught.value.http_status, caught.value.exit_code) == (429, ExitCode.REFUSED)
        assert "hub.max_open_tasks" in caught.value.remedy
        assert caught.value.retry_after_ms == 60_000
        await built.hub.cancel("a")

        assert [row.id for row in (await built.hub.submit(specs("c"))).tasks] == ["c"]
