"""Strict decoding: whatever comes in is a value of the type or an error with a place."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ostler.domain.errors import InvalidInputError
from ostler.domain.tasks import TaskSpec
from ostler.domain.work import Report
from ostler.web.bodies import EndpointBody, SubmitBody, TaskListQuery
from ostler.web.decode import check_names, decode_json, decode_query, explained, is_optional
from ostler.web.errors import on_http_error
from tests.web import samples

SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e9, 1e9) | st.text()
JSON_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*TaskSpec.__struct_fields__, "promt", ""])


@given(st.dictionaries(FIELDS, JSON_VALUES, max_size=5))
def test_any_object_is_a_task_or_an_explained_mistake(fields: dict[str, Any]) -> None:
    """No document gets through half understood, and none raises anything else; the place is in the document."""
    raw = json.dumps({"tasks": [fields]}).encode()
    try:
        body = decode_json(raw, SubmitBody)
    except InvalidInputError as error:
        message, where = error.what, error.where
    else:
        assert isinstance(body, SubmitBody)
        message, where = "fine", "$"

    assert message
    assert where.startswith("$")


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_decoded(raw: bytes) -> None:
    """Broken JSON, broken UTF-8, nothing at all: always the one kind of error."""
    try:
        found = decode_json(raw, TaskSpec)
    except InvalidInputError as error:
        found, where = None, error.where
    else:
        where = "$"

    assert found is None or isinstance(found, TaskSpec)
    assert where


@given(
    st.lists(st.tuples(st.sampled_from(["state", "limit", "batch", "before", "x"]), st.text(max_size=6)), max_size=4)
)
def test_any_query_is_decoded_or_refused(pairs: list[tuple[str, str]]) -> None:
    """Parameters are as strict as bodies."""
    where = "query"
    try:
        found = decode_query(pairs, TaskListQuery)
    except InvalidInputError as error:
        found, where = TaskListQuery(), error.where

    assert 1 <= found.limit <= 1000
    assert where.startswith("query")


class Deep(msgspec.Struct):
    """Every way in which a type can hold another."""

    by_name: dict[str, TaskSpec] = {}
    pair: tuple[int, TaskSpec] | None = None
    some: list[TaskSpec | None] = []


PLACES = [
    ({"by_name": {"x": {"id": "a", "promt": 1}}}, "$.by_name[...]", "did you mean 'prompt'?"),
    ({"pair": [1, {"id": "a", "kind": "chta"}]}, "$.pair[1].kind", "did you mean 'chat'?"),
    ({"some": [None, {"id": "a", "kinds": 1}]}, "$.some[1]", "did you mean 'kind'?"),
    ({"some": 3}, "$.some", ""),
]


@pytest.mark.parametrize(("document", "where", "remedy"), PLACES, ids=[row[1] for row in PLACES])
def test_the_nearest_choice_is_found_at_any_depth(document: object, where: str, remedy: str) -> None:
    """In mappings, pairs and lists, with and without null."""
    with pytest.raises(InvalidInputError) as caught:
        decode_json(json.dumps(document).encode(), Deep)

    assert (caught.value.where, caught.value.remedy) == (where, remedy)


def test_a_message_without_a_place_is_about_the_whole() -> None:
    """Nothing is lost when the decoder names no place."""
    error = explained("Something odd", TaskSpec)

    assert (error.what, error.where) == ("something odd", "$")


@pytest.mark.parametrize(
    ("kind", "optional"), [(TaskSpec | None, True), (TaskSpec, False), (type(None), False), (tuple[Report, ...], False)]
)
def test_only_a_type_with_null_is_optional(kind: object, optional: bool) -> None:
    """An empty body stands for null, where null is allowed."""
    assert is_optional(kind) is optional


def test_an_empty_body_is_null_where_that_is_allowed() -> None:
    """And a mistake elsewhere."""
    assert decode_json(b"", TaskSpec | None) is None
    with pytest.raises(InvalidInputError, match="the body is empty"):
        decode_json(b"", TaskSpec)


@given(st.text(max_size=140))
def test_a_name_is_taken_exactly_when_it_can_stand_in_a_path(name: str) -> None:
    """What is taken needs no quoting; what is refused is told with its place."""
    where = ""
    try:
        check_names({"$.name": name})
    except InvalidInputError as error:
        where = error.where

    fits = name.isascii() and not set(name) & set("/?#% \n") and 1 <= len(name) <= 128
    assert where in (("", "$.name") if fits else ("$.name",))


def test_an_endpoint_body_becomes_the_endpoint_it_says() -> None:
    """No field is lost between the strict body and the domain's own type."""
    body = msgspec.convert(msgspec.to_builtins(samples.STABLE), EndpointBody)

    assert body.spec() == samples.STABLE
    assert type(body.spec()) is type(samples.STABLE)


async def test_what_starlette_refuses_has_the_same_shape() -> None:
    """An error that comes from below our routes is told in four parts too."""
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})

    answer = await on_http_error(request, HTTPException(431, "too many headers", {"X-Hint": "y"}))

    assert answer.status_code == 431
    assert answer.headers["x-hint"] == "y"
    assert json.loads(bytes(answer.body))["error"]["message"] == "too many headers"
