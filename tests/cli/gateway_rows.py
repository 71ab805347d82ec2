"""Verbs about keys and calls of the gateway: rows of the table of `test_verbs`."""

from typing import Any

from ostler.domain.ports import CallQuery
from ostler.domain.tasks import Priority
from ostler.hub.gateway_views import CallAnswer, CallList, KeyList, KeyMade, KeyRow, KeyWish
from tests.web.call_samples import CALL_ID

GATEWAY: list[tuple[tuple[str, ...], tuple[Any, ...], type, list[str]]] = [
    (("keys", "create", "mac"), ("make_key", KeyWish(name="mac")), KeyMade, ["ost-secret"]),
    (
        ("keys", "create", "mac", "--model", "m", "--model", "n", "--tier", "t", "--task", "x", "--limit", "$2.50"),
        (
            "make_key",
            KeyWish(name="mac", models=("m", "n"), tiers=("t",), task="x", limit_micro_usd=2_500_000),
        ),
        KeyMade,
        ["ost-secret"],
    ),
    (
        ("keys", "create", "mac", "--limit", "5usd", "--per", "day", "--priority", "low", "--local-only"),
        (
            "make_key",
            KeyWish(name="mac", limit_micro_usd=5_000_000, limit_window="day", priority=Priority.LOW, local_only=True),
        ),
        KeyMade,
        ["ost-secret"],
    ),
    (
        ("keys", "list"),
        ("keys",),
        KeyList,
        [
            "sonnet, tier strong, local only, for nightly",
            "$5.00 a day",
            "$0.010484",
            "limit reached, again in 2 h",
            "revoked 1 min ago",
            "any model",
        ],
    ),
    (("keys", "revoke", "old"), ("revoke_key", "old"), KeyRow, ["revoked old"]),
    (
        ("calls", "list"),
        ("live_calls", CallQuery(limit=50)),
        CallList,
        [
            "sonnet on anthropic",
            "5120 in, 412 out",
            "$0.010484",
            "good after 2 attempts",
            "503 no_endpoint",
            "unknown",
            "2 calls, 1 failed, $0.010484 and 1 of unknown price",
        ],
    ),
    (
        (
            "calls",
            "list",
            "--key",
            "nobody",
            "--model",
            "m",
            "--endpoint",
            "e",
            "--failed",
            "--limit",
            "2",
            "--before",
            "c-9",
        ),
        ("live_calls", CallQuery(key="nobody", model="m", endpoint="e", failed=True, limit=2, before="c-9")),
        CallList,
        ["no calls"],
    ),
    (("why", CALL_ID), ("live_call", CALL_ID), CallAnswer, ["It was answered by sonnet.", "  Attempts"]),
]
