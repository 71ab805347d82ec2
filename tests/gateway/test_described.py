"""Schemathesis on the gateway's paths, as the hub that serves them describes them: whatever a request holds, its answer
is one of those described, and nothing that is sent makes an internal error.
"""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.generation.case import Case
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from ostler.gateway.description import paths
from ostler.web.routes import OPENAPI_PATH
from tests.gateway.stable import Stable, lone

EXAMPLES = 15
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]
LABELS = [f"{method.upper()} {path}" for path, methods in paths().items() for method in methods]
BARE = frozenset(
    {"HEAD /", "GET /v1/models", "GET /v1/models/{name}", "GET /api/tags", "GET /api/ps", "GET /api/version"}
)
"""Nothing about them can be wrong."""


@pytest.fixture(scope="module")
def operations(_stable: Stable) -> dict[str, APIOperation[Any, Any, Any, Any]]:
    """What the running hub says can be asked."""
    schema = schemathesis.openapi.from_url(_stable.url + OPENAPI_PATH)
    return {row.ok().label: row.ok() for row in schema.get_all_operations() if isinstance(row, Ok)}


def play(operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, model: str | None) -> set[int]:
    """The statuses of the answers to requests of one kind; `model` in place of the one they name."""
    seen: set[int] = set()

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        if model is not None and isinstance(case.body, dict):
            case.body["model"] = model
        answer = case.call()
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    ask()
    return seen


@pytest.mark.parametrize("label", LABELS)
def test_a_request_that_fits_the_description_is_answered_by_it(
    stable: Stable, operations: dict[str, APIOperation[Any, Any, Any, Any]], label: str
) -> None:
    """With any name for a model: most are known to nobody, and that is said."""
    seen = play(operations[label], GenerationMode.POSITIVE, None)

    assert seen <= {200, 400, 404}


@pytest.mark.parametrize("label", [label for label in LABELS if label.startswith("POST")])
def test_a_request_for_a_model_that_is_there_is_answered_too(
    stable: Stable, operations: dict[str, APIOperation[Any, Any, Any, Any]], label: str
) -> None:
    """Whatever stands beside its name."""
    seen = play(operations[label], GenerationMode.POSITIVE, lone("openai"))

    assert seen <= {200, 400}


@pytest.mark.parametrize("label", [label for label in LABELS if label not in BARE])
def test_a_request_that_does_not_fit_is_refused(
    stable: Stable, operations: dict[str, APIOperation[Any, Any, Any, Any]], label: str
) -> None:
    """In words, never with an internal error."""
    seen = play(operations[label], GenerationMode.NEGATIVE, None)

    assert all(status < 500 for status in seen)
