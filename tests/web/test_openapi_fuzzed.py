"""Schemathesis on the API: whatever a request holds, valid or not, its answer is one that the description names.

In process, without a socket, over a hub that records; the same requests on every run.
"""

import asyncio
from collections import Counter
from functools import cache
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.applications import Starlette

from ostler.domain.work import Poll
from ostler.web.app import build_app
from ostler.web.routes import OPENAPI_PATH, hub_routes
from tests.web.recording_hub import RecordingHub, RecordingLink

EXAMPLES = 20
TEST_CLIENT = "testserver"
"""The name under which the client in process asks."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
LABELS = [f"{row.method} {row.path}" for row in hub_routes()]
Operation = APIOperation[Any, Any, Any, Any]
TOKEN = {"authorization": "Bearer admin-token"}


class PromptLink(RecordingLink):
    async def poll(self, session_id: str, wait_ms: int) -> Poll:
        await asyncio.sleep(0)
        return Poll()


def app() -> Starlette:
    """The web application over a hub that keeps nobody waiting."""
    hub = RecordingHub()
    hub.link = PromptLink(hub)
    hub.stop_following = True
    return build_app(hub, require_token=False, hosts=(TEST_CLIENT,))


@cache
def schema() -> BaseSchema:
    """The description as it is served."""
    return schemathesis.openapi.from_asgi(OPENAPI_PATH, app())


@cache
def operations() -> dict[str, Operation]:
    """What can be asked, by method and path."""
    found = schema().get_all_operations()
    return {row.ok().label: row.ok() for row in found if isinstance(row, Ok)}


def statuses(label: str, mode: GenerationMode) -> Counter[int]:
    """The answers to requests of one kind, each checked against the description."""
    seen: Counter[int] = Counter()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operations()[label].as_strategy(generation_mode=mode))
    def play(case: Case[Any]) -> None:
        answer = case.call(headers=TOKEN)
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    play()
    return seen


def test_every_route_is_tried() -> None:
    """Schemathesis reads the description, and finds there what the table has."""
    assert set(operations()) == set(LABELS)


@pytest.mark.parametrize("label", LABELS)
def test_the_answer_to_a_valid_request_is_in_the_description(label: str) -> None:
    """Status, type and shape; never an internal error. What only the hub can judge may be refused, with 4xx."""
    seen = statuses(label, GenerationMode.POSITIVE)

    assert set(seen) <= {200, 201, 202, 204, 400, 404, 409}


@pytest.mark.parametrize("label", [label for label in LABELS if label != "GET /healthz"])
def test_the_answer_to_an_invalid_request_is_in_the_description(label: str) -> None:
    """An error in the one shape of all errors, never an internal one. Nothing about `GET /healthz` can be wrong."""
    seen = statuses(label, GenerationMode.NEGATIVE)

    assert all(status < 500 for status in seen)
