"""The description of the API, and the documentation, cover exactly the routes there are."""

import json
import re
from pathlib import Path

import pytest

from ostler.web.call import Access, Route
from ostler.web.openapi import describe
from ostler.web.routes import OPENAPI_PATH, hub_routes
from tests.web.asking import ask
from tests.web.recording_hub import ServedHub

ROUTES = hub_routes()
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "reference" / "http.md"


def test_the_description_is_served(served: ServedHub) -> None:
    """It is what the table says, and open to everyone."""
    got = ask(served, "GET", OPENAPI_PATH)

    assert got.status == 200
    assert got.body == json.loads(json.dumps(describe(ROUTES)))


def test_the_description_has_every_route_and_no_other() -> None:
    """Routes and description cannot drift apart: one is made from the other."""
    described = {(method.upper(), path) for path, methods in describe(ROUTES)["paths"].items() for method in methods}

    assert described == {(row.method, row.path) for row in ROUTES}


def test_every_reference_in_the_description_resolves() -> None:
    """A generated client finds each schema it is pointed to."""
    document = describe(ROUTES)
    names = re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))

    assert set(names) <= set(document["components"]["schemas"])


@pytest.mark.parametrize("row", ROUTES, ids=[f"{row.method} {row.path}" for row in ROUTES])
def test_a_route_is_fully_described(row: Route) -> None:
    """Summary, parameters, body, answer and needed token are all there."""
    operation = describe([row])["paths"][row.path][row.method.lower()]

    assert operation["summary"]
    assert {item["name"] for item in operation["parameters"] if item["in"] == "path"} == set(row.path_names)
    assert ("requestBody" in operation) == row.takes_body
    assert str(row.status) in operation["responses"]
    assert (operation["security"] == []) == (row.access is Access.OPEN)


def test_a_body_is_called_required_where_its_absence_is_refused() -> None:
    """A generated client knows which documents it can leave out."""
    paths = describe(ROUTES)["paths"]

    assert paths["/hub/tasks"]["post"]["requestBody"]["required"]
    assert not paths["/hub/tasks/{id}/cancel"]["post"]["requestBody"]["required"]


def test_handlers_have_names_of_their_own() -> None:
    """Operation ids are unique, as generated clients need them to be."""
    names = [row.handler.__name__ for row in ROUTES]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", ROUTES, ids=[f"{row.method} {row.path}" for row in ROUTES])
def test_every_route_is_documented(row: Route) -> None:
    """A route that the documentation does not name is a mistake."""
    assert f"`{row.method} {row.path}`" in DOCUMENTATION.read_text(encoding="utf-8")


def test_the_documentation_names_no_route_that_is_not_there() -> None:
    """A route that went away leaves the documentation too."""
    text = DOCUMENTATION.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:GET|POST|PUT|DELETE) /[^`?]*)`", text))

    assert named == {f"{row.method} {row.path}" for row in ROUTES} | {f"GET {OPENAPI_PATH}"}


@pytest.mark.parametrize("row", [row for row in ROUTES if row.query.__struct_fields__], ids=lambda row: row.path)
def test_every_query_parameter_is_documented(row: Route) -> None:
    """Each parameter stands in the documentation beside its route."""
    text = DOCUMENTATION.read_text(encoding="utf-8")

    assert [name for name in row.query.__struct_fields__ if f"`{name}`" not in text] == []
