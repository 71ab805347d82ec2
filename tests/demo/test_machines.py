"""What machines count, or what must have happened on those that do not count."""

import itertools

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ostler.demo.machines import MachineState, state_of_calls, with_swaps_of_hub
from ostler.domain.event import Event
from ostler.domain.tasks import Attempt, Usage

LOAD_MS = {"large": 400, "small": 100}
"""The machine begins with `large`."""


def call(model: str, started_ms: int, *, ok: bool = True) -> Attempt:
    return Attempt(
        task_id=f"t-{started_ms}",
        generation=1,
        session="s",
        worker="w",
        tier="t",
        endpoint="e",
        model=model,
        assigned_ms=started_ms,
        started_ms=started_ms,
        ok=ok,
        usage=Usage(input_tokens=10, output_tokens=3),
    )


def test_a_change_of_model_is_a_swap() -> None:
    """The first model is there already; each other one has to be loaded for."""
    calls = [call("large", 1), call("small", 2), call("small", 3), call("large", 4)]
    state = state_of_calls(calls, LOAD_MS, [0])

    assert (state.loads, state.unloads, state.swaps) == (2, 2, 2)
    assert state.lost_ms == 100 + 400
    assert state.residents == ("large",)
    assert (state.calls, state.input_tokens, state.output_tokens) == (4, 40, 12)


def test_the_order_is_that_of_the_starts() -> None:
    """Whatever the order in which the calls are known."""
    calls = [call("small", 5), call("large", 1), call("large", 6)]

    assert state_of_calls(calls, LOAD_MS, [0]).swaps == 2


def test_a_machine_that_came_back_holds_its_first_model() -> None:
    """What was in memory is gone with the machine."""
    calls = [call("small", 1), call("small", 10)]

    assert state_of_calls(calls, LOAD_MS, [0]).swaps == 1
    assert state_of_calls(calls, LOAD_MS, [0, 5]).swaps == 2
    assert state_of_calls(calls[:1], LOAD_MS, [0, 5]).residents == ("large",)


def test_a_call_that_failed_says_nothing_about_memory() -> None:
    """Nobody knows whether the engine has seen it."""
    assert state_of_calls([call("small", 1, ok=False)], LOAD_MS, [0]) == MachineState(residents=("large",))


@given(st.lists(st.sampled_from(["large", "small"]), max_size=20))
def test_swaps_are_the_changes_in_the_sequence(models: list[str]) -> None:
    """Counted another way: the pairs of neighbours that differ, the first model before them."""
    state = state_of_calls([call(model, index + 1) for index, model in enumerate(models)], LOAD_MS, [0])

    assert state.swaps == sum(before != after for before, after in itertools.pairwise(["large", *models]))
    assert state.residents == (["large", *models][-1],)


states = st.builds(
    MachineState,
    residents=st.just(()),
    **{name: st.integers(0, 10**6) for name in MachineState.__struct_fields__ if name != "residents"},
)


@given(states, states)
def test_two_lives_of_a_machine_add_up(before: MachineState, later: MachineState) -> None:
    """Every counter of both, and what is in memory now."""
    now = msgspec.structs.replace(later, residents=("x",))
    both = before.plus(now)

    assert both.residents == ("x",)
    for name in MachineState.__struct_fields__[1:]:
        assert getattr(both, name) == getattr(before, name) + getattr(later, name)


def test_a_load_for_which_the_hub_had_a_model_go_is_a_swap() -> None:
    """The machine saw an unload and a load; loads into free memory, and those of other machines, are none."""

    def loading(host: str, evict: str) -> Event:
        meta = {"host": host, "endpoint": host, "model": "m", "evict": evict, "reason": "1 waiting"}
        return Event(name="model.loading", at_ms=1, metadata=meta)

    events = [loading("box", "old"), loading("box", ""), loading("other", "old"), Event(name="model.loaded", at_ms=2)]

    assert with_swaps_of_hub(MachineState(loads=2, swaps=1), "box", events) == MachineState(loads=2, swaps=2)
