"""Keys and calls of the gateway, as the hub of `samples` would answer."""

import msgspec

from ostler.domain.live import CallAttempt, CallRecord
from ostler.domain.states import FailureClass
from ostler.domain.tasks import Priority
from ostler.hub.gateway_views import CallAnswer, CallList, KeyList, KeyMade, KeyRow, KeyWish
from tests.web import samples

NOW_MS = samples.NOW_MS
CALL_ID = "c-3dqsw5k2ha7pm4tzv6yr2nbxce"

AGENT = KeyRow(
    name="agent",
    created_ms=NOW_MS - 86_400_000,
    models=("sonnet",),
    tiers=("strong",),
    task="nightly",
    priority=Priority.LOW,
    local_only=True,
    limit_micro_usd=5_000_000,
    limit_window="day",
    spent_micro_usd=10_484,
    window_ends_ms=NOW_MS + 7_200_000,
    calls=12,
    last_used_ms=NOW_MS - 3_000,
)
SPENT = msgspec.structs.replace(AGENT, name="greedy", spent_micro_usd=5_000_001)
GONE = KeyRow(name="old", created_ms=NOW_MS - 9_000_000, revoked_ms=NOW_MS - 60_000)
KEYS = KeyList(keys=(AGENT, SPENT, GONE), now_ms=NOW_MS)

GOOD = CallRecord(
    id=CALL_ID,
    at_ms=NOW_MS - 12_000,
    key="agent",
    format="anthropic_messages",
    path="/v1/messages",
    asked_model="auto",
    stream=True,
    status=200,
    tier="strong",
    model="sonnet",
    endpoint="anthropic",
    fallback="stable was overloaded",
    attempts=(
        CallAttempt(
            endpoint="stable",
            model="qwen",
            tier="strong",
            started_ms=NOW_MS - 11_990,
            duration_ms=120,
            failure=FailureClass.OVERLOADED,
            message="too many requests",
            status=529,
        ),
        CallAttempt(
            endpoint="anthropic",
            model="sonnet",
            tier="strong",
            started_ms=NOW_MS - 11_800,
            duration_ms=2_310,
            status=200,
            input_tokens=5_120,
            cache_read_tokens=4_096,
            output_tokens=412,
            cost_micro_usd=10_484,
            cost_basis="priced",
        ),
    ),
    decision_key="d1",
    duration_ms=2_450,
    first_token_ms=640,
    wait_ms=3,
    overhead_us=420,
    cost_micro_usd=10_484,
    cost_basis="priced",
    dropped=("seed",),
)
FAILED = CallRecord(
    id="c-3dqsw5k2ha7pm4tzv6yr2nbxcd",
    at_ms=NOW_MS - 90_000,
    format="openai_chat",
    path="/v1/chat/completions",
    asked_model="big",
    stream=False,
    status=503,
    failure=FailureClass.NO_ENDPOINT,
    message="no endpoint is up",
    duration_ms=4,
)
CALLS = CallList(calls=(GOOD, FAILED), now_ms=NOW_MS)
CALL = CallAnswer(record=GOOD, headline="It was answered by sonnet.", lines=("Attempts", "  1. stable"), now_ms=NOW_MS)


def made(wish: KeyWish) -> KeyMade:
    """A key as it was wished for."""
    fields = {field: getattr(wish, field) for field in KeyWish.__struct_fields__}
    return KeyMade(key="ost-secret", row=KeyRow(created_ms=NOW_MS, **fields))
