"""Pieces of Ollama's protocol that are rules of their own."""

import pytest

from ostler.simulate.host_events import FOREVER_MS
from ostler.simulate.ollama_wire import GenerateRequest, OptionError, keep_alive_ms, metrics, timestamp
from ostler.simulate.reply import Message, ReplyRequest, compose
from ostler.simulate.timing import Timing


@pytest.mark.parametrize(
    ("value", "expected_ms"),
    [
        (None, None),
        (0, 0),
        ("0", 0),
        ("0s", 0),
        (300, 300_000),
        (0.5, 500),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("1.5s", 1500),
        ("250ms", 250),
        (-1, FOREVER_MS),
        ("-1s", FOREVER_MS),
        ("9999999h", FOREVER_MS),
    ],
)
def test_keep_alive_is_seconds_or_a_go_duration(value: str | float | None, expected_ms: int | None) -> None:
    """Below zero is for ever, zero is at once."""
    assert keep_alive_ms(value) == expected_ms


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("soon", 'time: invalid duration "soon"'),
        ("", 'time: invalid duration ""'),
        ("5", 'time: missing unit in duration "5"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("3d", 'time: unknown unit "d" in duration "3d"'),
    ],
)
def test_a_bad_keep_alive_is_told_as_go_tells_it(value: str, says: str) -> None:
    """A text without a unit is one of them, minus one too."""
    with pytest.raises(ValueError, match=r"^time") as caught:
        keep_alive_ms(value)

    assert str(caught.value) == says


@pytest.mark.parametrize(("options", "limit"), [(None, None), ({"num_predict": -1}, None), ({"num_predict": 7.0}, 7)])
def test_a_negative_limit_is_none(options: dict[str, object] | None, limit: int | None) -> None:
    """Ollama's default is minus one; a number may come as a float."""
    assert GenerateRequest(options=options).limit_tokens == limit


def test_an_option_of_another_type_is_told_as_ollama_tells_it() -> None:
    """By the option's name and the type it should have."""
    request = GenerateRequest(options={"num_ctx": "4096", "stop": "x"})

    with pytest.raises(OptionError, match=r'^option "num_ctx" must be of type integer$'):
        request.option("num_ctx")
    with pytest.raises(OptionError, match=r'^option "stop" must be of type array$'):
        _ = request.stop_sequences


def test_figures_are_modelled_nanoseconds() -> None:
    """And those that are zero are left out, except that a load never takes no time."""
    timing = Timing(submitted_ms=5, attached_ms=5, started_ms=5, prefill_ms=0, decode_ms=40)
    reply = compose(ReplyRequest(model="m", messages=(Message("user", "x"),), natural_tokens=2))

    assert metrics(0, reply, timing) == {
        "total_duration": 40_000_000,
        "load_duration": 1_000_000,
        "eval_count": 2,
        "eval_duration": 40_000_000,
    }


def test_time_stamps_are_utc() -> None:
    """With the Z that Go writes."""
    assert timestamp(1_767_225_600_123) == "2026-01-01T00:00:00.123000Z"
