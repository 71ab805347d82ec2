"""Timers fire once, in order, not before they are due; setting again replaces, cancelling forgets."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.scheduling.timers import TimerKind, Timers


def test_a_timer_does_not_fire_before_it_is_due() -> None:
    """One millisecond early is early."""
    timers = Timers()
    timers.set(TimerKind.TTL, "a", 100)

    assert timers.pop_due(99) == []
    assert timers.pop_due(100) == [(TimerKind.TTL, "a")]
    assert timers.pop_due(1000) == []


def test_setting_again_replaces() -> None:
    """Moved later and moved earlier."""
    timers = Timers()
    timers.set(TimerKind.TTL, "a", 100)
    timers.set(TimerKind.TTL, "a", 200)
    assert timers.pop_due(150) == []
    timers.set(TimerKind.TTL, "a", 160)
    assert timers.next_ms() == 160
    assert timers.pop_due(160) == [(TimerKind.TTL, "a")]
    assert timers.next_ms() is None


def test_a_cancelled_timer_is_silent() -> None:
    """Also when it is set anew for the same instant afterwards, it fires once."""
    timers = Timers()
    timers.set(TimerKind.RETRY, "a", 10)
    timers.cancel(TimerKind.RETRY, "a")
    timers.cancel(TimerKind.RETRY, "never set")
    assert timers.next_ms() is None
    timers.set(TimerKind.RETRY, "a", 10)
    assert timers.pop_due(10) == [(TimerKind.RETRY, "a")]


steps = st.lists(
    st.tuples(st.sampled_from(["set", "cancel", "pop"]), st.sampled_from("abc"), st.integers(0, 50)), max_size=40
)


@given(steps)
def test_timers_behave_like_a_plain_dictionary_of_due_instants(actions: list[tuple[str, str, int]]) -> None:
    """Against the naive model."""
    timers, model, now = Timers(), dict[str, int](), 0
    for action, key, value in actions:
        if action == "set":
            timers.set(TimerKind.TTL, key, now + value)
            model[key] = now + value
        elif action == "cancel":
            timers.cancel(TimerKind.TTL, key)
            model.pop(key, None)
        else:
            now += value
            fired = [name for _, name in timers.pop_due(now)]
            expected = sorted((due, name) for name, due in model.items() if due <= now)
            assert sorted(str(name) for name in fired) == sorted(name for _, name in expected)
            assert [model[str(name)] for name in fired] == [due for due, _ in expected]
            for name in fired:
                del model[str(name)]
        assert timers.next_ms() == min(model.values(), default=None)
