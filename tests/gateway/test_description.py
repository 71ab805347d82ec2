"""The gateway's paths are in the OpenAPI document, and whatever is sent to them, the answer is one that it names."""

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
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from ostler.domain.live import Denial, DeniedError, Dispatch, LiveCall
from ostler.domain.states import Wait, WaitCode
from ostler.gateway.asgi import TALKS, GatewayApp
from ostler.gateway.description import paths
from ostler.gateway.listing import ROUTES
from ostler.gateway.vectors import FACES
from ostler.web.app import build_app
from ostler.web.openapi import describe
from ostler.web.routes import hub_routes
from tests.gateway.stage import Desk, Stage
from tests.gateway.support import Upstream
from tests.web.recording_hub import RecordingHub

EXAMPLES = 25
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
Operation = APIOperation[Any, Any, Any, Any]


class Nowhere(Desk):
    """No model can ever take a call: what is answered is all ours."""

    async def admit(self, call: LiveCall) -> Dispatch:
        wait = Wait(code=WaitCode.NO_ROUTE, since_ms=0, detail="nothing can take it")
        raise DeniedError(Denial(call_id=call.id, attempt=call.attempt, wait=wait))


LABELS = sorted(
    [f"POST {path}" for path in (*TALKS, *FACES)]
    + [f"{method} {path.replace('*', '{name}')}" for method, path in ROUTES]
)


@cache
def operations() -> dict[str, Operation]:
    """What can be asked of the gateway, read from the document as a hub with a gateway serves it."""
    stage = Stage(Upstream(), Nowhere())
    behind = build_app(RecordingHub(), require_token=False, hosts=("testserver",), others=paths())
    stage.gateway.door._hosts = frozenset({"testserver"})
    app = GatewayApp(stage.gateway, behind)
    document = schemathesis.openapi.from_dict(describe((), paths()))
    document.app = app
    found = document.get_all_operations()
    return {row.ok().label: row.ok() for row in found if isinstance(row, Ok)}


def test_every_path_of_the_gateway_is_described() -> None:
    """And is no path of the hub's own."""
    assert sorted(operations()) == LABELS
    assert not {row.path for row in hub_routes()} & set(paths())


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("label", LABELS)
def test_the_answer_to_any_request_is_in_the_description(label: str, mode: GenerationMode) -> None:
    """An error is JSON with `error` in it, in every format; never an internal one."""
    if label == "HEAD /" or (mode is GenerationMode.NEGATIVE and label.startswith("GET")):
        return  # nothing about these can be wrong
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
        answer = case.call()
        seen[answer.status_code] += 1
        if answer.status_code != 405:  # a method that a path does not have is the hub's to refuse
            case.validate_response(answer, checks=CHECKS)

    play()
    assert seen
    assert all(status < 500 for status in seen), seen
