"""The description of all routes in OpenAPI 3.1, made from the route table and the types of its handlers."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ostler.hub.views import ErrorAnswer
from ostler.version import __version__
from ostler.web.call import Access, Route, Text
from ostler.web.decode import is_optional
from ostler.web.errors import FORM

_REF = "#/components/schemas/{name}"
_DOCUMENT_TYPE = "application/json"
_STREAM_TYPE = "text/event-stream"
_TEXT_TYPE = "text/plain"


def describe(routes: Iterable[Route], others: Mapping[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """The OpenAPI document; `others` are path items of what stands in front of these routes."""
    rows = tuple(routes)
    kinds = [kind for row in rows for kind in (row.answer, row.body, row.query)]
    schemas, components = msgspec.json.schema_components([*kinds, ErrorAnswer], ref_template=_REF)
    shapes = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        answer, body, query = next(shapes), next(shapes), next(shapes)
        parameters = [_in_path(name) for name in row.path_names] + _in_query(query, components)
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, answer, body, parameters)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ostler hub", "version": __version__},
        "paths": paths | dict(others or {}),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(row: Route, answer: object, body: object, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    content_type = _STREAM_TYPE if row.streams else _TEXT_TYPE if row.answer is Text else _DOCUMENT_TYPE
    if row.answer is Text:
        answer = {"type": "string"}
    operation: dict[str, Any] = {
        "operationId": row.handler.__name__,
        "summary": row.doc.partition(". ")[0].rstrip("."),
        "description": row.doc,
        "parameters": parameters,
        "responses": {
            str(row.status): {"description": "Done", "content": {content_type: {"schema": answer}}},
            "default": {
                "description": "An error",
                "content": {_DOCUMENT_TYPE: {"schema": {"$ref": _REF.format(name=ErrorAnswer.__name__)}}},
            },
        },
        "security": [] if row.access is Access.OPEN else [{"token": []}],
        "x-access": row.access.value,
    }
    if row.later:
        operation["responses"]["202"] = {
            "description": "It has begun and goes on",
            "content": {_DOCUMENT_TYPE: {"schema": answer}},
        }
    if row.takes_body:
        kinds = (_DOCUMENT_TYPE, FORM) if row.takes_forms else (_DOCUMENT_TYPE,)
        content = {kind: {"schema": body} for kind in kinds}
        operation["requestBody"] = {"required": not is_optional(row.body), "content": content}
    return operation


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(query: Mapping[str, str], components: Mapping[str, Any]) -> list[dict[str, Any]]:
    shape = components[query["$ref"].rpartition("/")[2]]
    return [
        {"name": name, "in": "query", "required": False, "explode": False, "schema": schema}
        for name, schema in shape["properties"].items()
    ]
