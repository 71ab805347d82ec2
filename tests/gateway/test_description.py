"""The gateway's paths are in the hub's OpenAPI document, and are none of the hub's own."""

from ostler.gateway.description import paths
from ostler.gateway.face import TALKS
from ostler.gateway.listing import ROUTES
from ostler.gateway.vectors import FACES
from ostler.web.openapi import describe
from ostler.web.routes import hub_routes


def test_every_path_of_the_gateway_is_described() -> None:
    """With its methods, what it takes and what it answers; no path of the hub is hidden by one of them."""
    served = {("POST", path) for path in (*TALKS, *FACES)}
    served |= {(method, path.replace("*", "{name}")) for method, path in ROUTES}
    document = describe(hub_routes(), paths())["paths"]

    described = {(method.upper(), path) for path in paths() for method in document[path]}
    assert described == served
    assert not {row.path for row in hub_routes()} & set(paths())


def test_what_streams_is_described_with_both_its_types() -> None:
    """A client that reads the document learns of the stream's type beside the whole answer's."""
    for path in TALKS:
        answers = paths()[path]["post"]["responses"]["200"]["content"]
        assert len(answers) == 2, path


def test_each_operation_has_a_name_of_its_own() -> None:
    """Generators of clients make functions of them."""
    names = [operation["operationId"] for item in paths().values() for operation in item.values()]
    assert len(names) == len(set(names))
