"""Errors say what, where and what to do; command line and API agree on what each one means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain import errors
from ostler.domain.errors import (
    MAX_NAMES_SHOWN,
    ConflictError,
    CycleError,
    ExitCode,
    InvalidInputError,
    LimitReachedError,
    NotAllowedError,
    NotFoundError,
    OstlerError,
    Problem,
    ProfileError,
    UnreachableError,
    nearest,
)


@pytest.mark.parametrize(
    ("where", "remedy", "text"),
    [
        ("", "", "it is wrong"),
        ("a.yaml:3", "", "a.yaml:3: it is wrong"),
        ("", "mend it", "it is wrong (mend it)"),
        ("a.yaml:3", "mend it", "a.yaml:3: it is wrong (mend it)"),
    ],
)
def test_the_text_is_made_of_the_parts_that_are_there(where: str, remedy: str, text: str) -> None:
    """Place first, remedy last, no empty brackets."""
    error = OstlerError("it is wrong", where=where, remedy=remedy)

    assert str(error) == text
    assert (error.what, error.where, error.remedy) == ("it is wrong", where, remedy)


@pytest.mark.parametrize(
    ("kind", "exit_code", "http_status", "code"),
    [
        (OstlerError, ExitCode.FAILED, 500, "error"),
        (InvalidInputError, ExitCode.USAGE, 400, "invalid_input"),
        (Problem, ExitCode.USAGE, 400, "problem"),
        (ProfileError, ExitCode.USAGE, 400, "invalid_profile"),
        (CycleError, ExitCode.USAGE, 400, "cycle"),
        (NotFoundError, ExitCode.REFUSED, 404, "not_found"),
        (ConflictError, ExitCode.REFUSED, 409, "conflict"),
        (NotAllowedError, ExitCode.REFUSED, 403, "not_allowed"),
        (LimitReachedError, ExitCode.REFUSED, 429, "limit_reached"),
        (UnreachableError, ExitCode.UNREACHABLE, 502, "unreachable"),
    ],
)
def test_each_kind_has_one_meaning_at_the_command_line_and_in_the_api(
    kind: type[OstlerError], exit_code: ExitCode, http_status: int, code: str
) -> None:
    """Exit code, status and name, as documented."""
    assert (kind.exit_code, kind.http_status, kind.code) == (exit_code, http_status, code)


def test_the_codes_of_the_api_are_distinct_and_no_kind_is_forgotten_above() -> None:
    """A client tells errors apart by their code."""
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, OstlerError)]

    assert len({kind.code for kind in kinds}) == len(kinds) == 10
    assert all(kind.exit_code is not ExitCode.OK for kind in kinds)


def test_exit_codes_are_what_scripts_rely_on() -> None:
    """0 good, 1 failed, 2 usage, 3 no hub, 4 refused, 130 interrupted."""
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "REFUSED": 4,
        "INTERRUPTED": 130,
    }


def test_a_refused_profile_lists_every_mistake() -> None:
    """One line each, not only the first."""
    problems = [Problem("a is no size", where="p.yaml:1"), Problem("no tier b", where="p.yaml:9", remedy="say c")]
    error = ProfileError(iter(problems))

    assert str(error).splitlines() == ["p.yaml:1: a is no size", "p.yaml:9: no tier b (say c)"]
    assert error.problems == tuple(problems)


def test_a_ring_is_told_from_task_to_task() -> None:
    """With what to do about it."""
    error = CycleError(("a", "b", "a"))

    assert str(error) == "needs: tasks need each other in a ring: a -> b -> a (remove one of these needs)"


@pytest.mark.parametrize(
    ("name", "valid", "remedy"),
    [
        ("standart", ["trivial", "standard"], "did you mean 'standard'?"),
        ("zzz", ["trivial", "standard"], "valid: standard, trivial"),
        ("x", [], "none is defined"),
        ("qqq", ["aa", "aa"], "valid: aa"),
    ],
)
def test_a_misspelt_name_gets_the_nearest_one_else_all(name: str, valid: list[str], remedy: str) -> None:
    """Sorted, each once."""
    assert nearest(name, valid) == remedy


@given(st.text(max_size=8), st.lists(st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1, max_size=6)))
def test_a_remedy_names_valid_names_only_and_never_too_many(name: str, valid: list[str]) -> None:
    """Whatever was typed."""
    text = nearest(name, valid)
    if text.startswith("did you mean"):
        assert text.removeprefix("did you mean '").removesuffix("'?") in valid
    elif valid:
        shown = text.removeprefix("valid: ").split(", ")
        cut = len(set(valid)) > MAX_NAMES_SHOWN
        assert shown == sorted(set(valid))[:MAX_NAMES_SHOWN] + (["..."] if cut else [])
    else:
        assert text == "none is defined"


@given(st.lists(st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1), min_size=1))
def test_a_name_that_is_valid_is_its_own_nearest(valid: list[str]) -> None:
    """No other one can be closer."""
    assert nearest(valid[0], valid) == f"did you mean '{valid[0]}'?"
