"""A fixed number of hostile inputs for each reader, the same ones each time; and what once crashed does so no more.

`make fuzz SECONDS=600` plays on from there.
"""

from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.app.prices import read_table
from ostler.app.working_set import _state
from ostler.client.http1 import NotHttpError
from ostler.domain.calls import CallError
from ostler.domain.errors import InvalidInputError, OstlerError
from ostler.domain.fleet import WorkerOffer
from ostler.store.postgres_engine import place_of
from ostler.web.decode import decode_json
from ostler.wire.classify import classify_stream_error
from ostler.wire.codec import Format
from ostler.wire.formats import codec
from tests.config.support import problems
from tests.fuzz.mutate import of_bytes, of_trees
from tests.fuzz.play import Crash, Target, mutant, play, shrunk
from tests.fuzz.targets import targets

INPUTS = 150
"""For each reader; those that take long get a share of it."""
NAMES = [target.name for target in targets()]
SHARED = ("bodies", "claims of a plan", "tasks", "ask", "embed")
"""Beginnings of readers that share their inputs with others: there one of ten must be good, and for some none can."""
NEVER = ("bodies", "claims of a plan")
"""No input suits all routes, or a plan that is not there."""


@cache
def named() -> dict[str, Target]:
    return {target.name: target for target in targets()}


@pytest.mark.parametrize("name", NAMES)
def test_every_input_ends_in_a_value_or_in_an_error_of_the_house(name: str) -> None:
    """Soon, without much memory, and with words that say what is wrong; never in anything else."""
    target = named()[name]
    seeds = target.seeds()
    assert seeds, "no good input to begin with"
    for number in range(max(len(seeds) + 10, round(INPUTS * target.share))):
        play(target, mutant(target, seeds, number), measured=number % 50 == 25)


@pytest.mark.parametrize("name", NAMES)
def test_the_inputs_to_begin_with_are_good(name: str) -> None:
    """Else nothing behind the first check would ever be reached: at least half of them end in a value."""
    target = named()[name]
    seeds, good = target.seeds(), 0
    for seed in seeds:
        with suppress(OstlerError, *target.errors):
            target.read(seed)
            good += 1

    assert name in NEVER or good * (10 if name.startswith(SHARED) else 2) >= len(seeds)


MANY_FOR_ONE = {"bodies", "claims of a plan", "tasks"} | {
    name for name in NAMES if name.startswith(("ask", "embed", "answer", "stream"))
}
"""Readers that share their inputs with others, and take only their own."""


def test_a_crash_is_found_and_shrunk() -> None:
    """The net itself: a reader with a mistake is caught, and what is left of the input is what matters."""

    def reads(data: bytes) -> object:
        return 1 // (b"!" not in data)

    target = Target(name="broken", read=reads, seeds=lambda: [b"a" * 50], mutate=of_bytes((b"!",)))
    data = next(data for data in (mutant(target, target.seeds(), number) for number in range(200)) if b"!" in data)
    with pytest.raises(Crash, match="ZeroDivisionError") as caught:
        play(target, data)

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert shrunk(target, data) == b"!"


def test_too_slow_and_too_large_are_crashes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that takes too long, or too much memory, is none."""
    monkeypatch.setattr("tests.fuzz.play.INPUT_S_MAX", 0.01)
    slow = Target(name="slow", read=lambda _data: sum(range(3_000_000)), seeds=list, mutate=of_bytes())
    with pytest.raises(Crash, match="took"):
        play(slow, b"x")
    monkeypatch.undo()
    large = Target(name="large", read=lambda _data: bytearray(20 * 1024 * 1024), seeds=list, mutate=of_bytes())
    play(large, b"x")
    with pytest.raises(Crash, match="MB"):
        play(large, b"x", measured=True)


@pytest.mark.parametrize(
    "error", [OstlerError(""), OstlerError("what", where="here"), OstlerError("what", remedy="do")]
)
def test_an_error_that_does_not_help_is_a_crash(error: OstlerError) -> None:
    """Where a person reads it without the input at hand."""

    def reads(_data: bytes) -> object:
        raise error

    with pytest.raises(Crash):
        play(Target(name="mute", read=reads, seeds=list, mutate=of_bytes(), remedied=True), b"x")


@given(st.integers(0, 10**6))
def test_an_input_is_found_again_by_its_number(number: int) -> None:
    """The same one each time, and of bounded size."""
    target = Target(name="again", read=len, seeds=lambda: [b'{"a":[1,2],"b":"c"}', b"x" * 90], mutate=of_trees())
    first, second = (mutant(target, target.seeds(), number) for _ in range(2))

    assert first == second
    assert len(first) <= 90 * 4 + 64 * 1024


def test_mutants_of_trees_are_mostly_whole_json() -> None:
    """So that what is behind the parser is reached."""
    mutate, whole = of_trees(), 0
    for seed in range(400):
        data = mutate(b'{"a":[1,2,{"b":"c"}],"d":null}', Random(seed))
        try:
            msgspec.json.decode(data)
            whole += 1
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue

    assert whole > 150


# what was found


@pytest.mark.parametrize("url", ["postgresql://u:p@h:port/d", "postgresql://:x", "l://:", "postgresql://h:1:2/d"])
def test_an_address_with_a_port_that_is_no_number_is_refused(url: str) -> None:
    """It ended in a traceback, with the password in it."""
    with pytest.raises(InvalidInputError) as caught:
        place_of(url)

    assert caught.value.where == "hub.database"
    assert "p@h" not in str(caught.value)


@pytest.mark.parametrize("data", [b'{"dated":"\xad"}', b"[" * 100_000, b'{"x":' * 100_000, b""])
def test_a_table_of_prices_that_is_no_text_or_too_deep_is_refused(data: bytes, tmp_path: Path) -> None:
    """A traceback before."""
    path = tmp_path / "prices.json"
    path.write_bytes(data)
    with pytest.raises(InvalidInputError, match="no table of prices"):
        read_table(path)


@pytest.mark.parametrize("data", [b'{"objectives":"\xad"}', b'{"x":' * 100_000])
def test_a_working_set_that_is_no_text_or_too_deep_is_told(data: bytes, tmp_path: Path) -> None:
    """The same in the library."""
    path = tmp_path / "state.json"
    with pytest.raises(OstlerError):
        _state(data, path)


def test_a_character_that_yaml_does_not_allow_is_told_with_its_place() -> None:
    """Neither line nor remedy before."""
    (problem,) = problems("name: x\nhub: {host: \x19}\n")

    assert (problem.where, problem.remedy) == ("ostler.yaml:2:13", "leave it out")
    assert "U+0019" in problem.what


def test_an_error_of_an_endpoint_without_a_readable_word_has_one() -> None:
    """An empty message said nothing in records and to the client."""
    assert classify_stream_error(b'{"error":"\\u0007"}', 0).message == "the endpoint reported an error"
    with pytest.raises(CallError) as caught:
        codec(Format.OPENAI_RESPONSES).decode_answer(b'{"error":"\\ud7ff","status":"failed"}')
    assert caught.value.message


def test_a_body_that_is_nested_too_deeply_is_the_callers_mistake() -> None:
    """It was answered with 500, as ours."""
    with pytest.raises(InvalidInputError, match="nested too deeply") as caught:
        decode_json(b'{"more":' + b"[" * 100_000, WorkerOffer)

    assert (caught.value.where, caught.value.http_status) == ("body", 400)


HUGE = (
    b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\ncontent-length: 900000000000\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 5_000,
    b"HTTP/1.1 100 Continue\r\n\r\n" * 500,
)


@pytest.mark.parametrize("data", HUGE, ids=["beyond numbers", "beyond memory", "a huge chunk", "trailers", "interim"])
def test_an_answer_that_is_said_to_be_huge_costs_nothing(data: bytes) -> None:
    """The command line asked for so much memory at once, and read trailers and interim answers without end."""
    target = named()["http client"]
    with pytest.raises((NotHttpError, ConnectionError)):
        target.read(data)
    play(target, data, measured=True)
