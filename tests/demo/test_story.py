"""The course of the demo: every act comes once, in order, for a reason, and in the end the demo ends."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.demo.story import (
    AWAY_AT_LEAST_S,
    AWAY_AT_MOST_S,
    AWAY_WAVE_AFTER_S,
    BACK_WITHIN_S,
    KILL_WITHIN_S,
    SECOND_WAVE_WITHIN_S,
    Act,
    Moment,
    Story,
)

GIVE_UP_S = 200.0
START_S = 10.0
ORDER = [Act.SECOND_WAVE, Act.SWITCH_OFF, Act.AWAY_WAVE, Act.SWITCH_ON]
QUIET = Moment(
    elapsed_s=0.0,
    ended_share=0.0,
    all_over=False,
    doomed_is_busy=False,
    loss_noticed=False,
    fell_back=False,
    is_back=False,
)
EVERYTHING = msgspec.structs.replace(
    QUIET, ended_share=1.0, all_over=True, doomed_is_busy=True, loss_noticed=True, fell_back=True, is_back=True
)


def story(*, with_outage: bool = True) -> Story:
    return Story(with_outage=with_outage, second_wave_after_s=START_S, give_up_after_s=GIVE_UP_S)


def at(moment: Moment, elapsed_s: float) -> Moment:
    return msgspec.structs.replace(moment, elapsed_s=elapsed_s)


def advanced_to(act: Act) -> tuple[Story, float]:
    """A story in which `act` comes next, and the second of the act before it."""
    told, now_s = story(), 0.0
    while told.coming is not act:
        now_s += 0.1
        told.next_act(at(EVERYTHING, now_s))
        assert now_s < GIVE_UP_S
    return told, now_s


def test_acts_come_in_order() -> None:
    """With all conditions true from the start, the acts follow one another and the demo ends."""
    told, seen = story(), []
    for tenth in range(1000):
        act = told.next_act(at(EVERYTHING, tenth / 10))
        if act is not None:
            seen.append(act)
        if act is Act.END:
            break

    assert seen == [*ORDER, Act.END]


def test_the_second_wave_leaves_the_first_its_time() -> None:
    """However fast the first wave is, it has the machines for itself for a while."""
    told = story()

    assert told.next_act(at(EVERYTHING, START_S - 0.1)) is None
    assert told.next_act(at(EVERYTHING, START_S)) is Act.SECOND_WAVE


@pytest.mark.parametrize(
    ("act", "within_s"),
    [
        (Act.SECOND_WAVE, START_S + SECOND_WAVE_WITHIN_S),
        (Act.SWITCH_OFF, KILL_WITHIN_S),
        (Act.AWAY_WAVE, AWAY_WAVE_AFTER_S),
        (Act.SWITCH_ON, AWAY_AT_MOST_S - AWAY_WAVE_AFTER_S),
    ],
)
def test_an_act_comes_at_its_bound_when_nothing_happens(act: Act, within_s: float) -> None:
    """A condition that never comes true delays the demo, and does not stop it."""
    told, begun_s = advanced_to(act)

    assert told.next_act(at(QUIET, begun_s + within_s - 0.01)) is None
    assert told.next_act(at(QUIET, begun_s + within_s + 0.01)) is act


def test_the_plug_is_pulled_while_the_machine_works() -> None:
    """A command and a model call are under way at that moment, so that there is something to take back."""
    told, begun_s = advanced_to(Act.SWITCH_OFF)

    assert told.next_act(at(QUIET, begun_s + 0.1)) is None
    assert told.next_act(at(msgspec.structs.replace(QUIET, doomed_is_busy=True), begun_s + 0.2)) is Act.SWITCH_OFF


@pytest.mark.parametrize("missing", ["loss_noticed", "fell_back"])
def test_a_machine_stays_away_until_its_loss_had_its_effects(missing: str) -> None:
    """It does not come back before the hub has noticed, and before a task has left its tier because of it."""
    told, begun_s = advanced_to(Act.SWITCH_ON)
    early = msgspec.structs.replace(EVERYTHING, **{missing: False})

    assert told.next_act(at(early, begun_s + AWAY_AT_LEAST_S + 1)) is None
    assert told.next_act(at(EVERYTHING, begun_s + AWAY_AT_LEAST_S + 1.1)) is Act.SWITCH_ON


def test_the_end_waits_for_the_machine_that_comes_back() -> None:
    """All work may be done before the hub uses the machine again; the demo shows that too, within a bound."""
    told, begun_s = advanced_to(Act.END)
    done = msgspec.structs.replace(EVERYTHING, is_back=False)

    assert told.next_act(at(done, begun_s + 1)) is None
    assert told.next_act(at(done, begun_s + BACK_WITHIN_S)) is Act.END


def test_without_an_outage_the_demo_ends_with_its_work() -> None:
    """Nothing is switched off, and nothing is waited for but the tasks."""
    told = story(with_outage=False)

    assert told.next_act(at(QUIET, 5)) is None
    assert told.next_act(at(EVERYTHING, 6)) is Act.END


moments = st.builds(
    Moment,
    elapsed_s=st.just(0.0),
    ended_share=st.floats(0, 1),
    all_over=st.booleans(),
    doomed_is_busy=st.booleans(),
    loss_noticed=st.booleans(),
    fell_back=st.booleans(),
    is_back=st.booleans(),
)


@given(st.lists(st.tuples(moments, st.floats(0, 30)), max_size=60))
def test_every_course_ends_and_gives_each_act_once(course: list[tuple[Moment, float]]) -> None:
    """Whatever happens, acts come in order, none twice, and the demo ends: well or by giving up."""
    told, now_s, seen = story(), 0.0, list[Act]()
    for moment, step_s in [*course, (QUIET, GIVE_UP_S + 1)]:
        now_s += step_s
        act = told.next_act(at(moment, now_s))
        if act is not None:
            seen.append(act)
        if act in (Act.END, Act.GIVE_UP):
            break

    assert seen[-1] in (Act.END, Act.GIVE_UP)
    assert seen[:-1] == ORDER[: len(seen) - 1]
    if seen[-1] is Act.END:
        assert seen[:-1] == ORDER
