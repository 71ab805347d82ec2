"""Prompts that are too long where the profile says `trim`: the oldest turns go, and the client is told how many."""

import msgspec
import pytest

from ostler.domain.catalog import EndpointKind
from ostler.domain.fleet import EndpointView, Health, Resident
from ostler.domain.live import Denial, Dispatch, LiveCall
from ostler.domain.policy import ContextRule, GatewayPolicy, Policy
from ostler.domain.states import Wait, WaitCode
from ostler.gateway.room import room_for
from ostler.routing.facts import CallWish, describe_call
from tests.gateway.stage import ASK, WHOLE, Desk, Stage, spec
from tests.gateway.support import Answer, Upstream

ROOM = 2_000
LONG = {
    "model": "m",
    "max_tokens": 100,
    "field_of_tomorrow": {"kept": True},
    "messages": [
        {"role": "system", "content": "be brief"},
        *[
            {"role": role, "content": f"{number} " + "x" * 2_000}
            for number in range(8)
            for role in ("user", "assistant")
        ],
        {"role": "user", "content": "and now?"},
    ],
}


class Narrow(Desk):
    """Denies what needs more than there is room for."""

    async def admit(self, call: LiveCall) -> Dispatch:
        wait = Wait(code=WaitCode.NO_ROUTE, since_ms=0, detail=f"needs {call.facts.context_tokens} tokens")
        self.denial = None
        if call.facts.context_tokens > ROOM:
            self.denial = Denial(call_id=call.id, attempt=call.attempt, wait=wait)
        return await super().admit(call)


def stage(rule: ContextRule, *, window: int | None = ROOM, answers: int = 1) -> Stage:
    made = Stage(Upstream(*[Answer([WHOLE]) for _ in range(answers)]), Narrow())
    windows = {"m": window} if window is not None else {}
    views = {"a": EndpointView(spec=spec("a"), health=Health.UP, models=frozenset({"m"}), windows=windows)}
    policy = msgspec.structs.replace(made.gateway.hub.policy(), gateway=GatewayPolicy(context_rule=rule))
    made.gateway.hub = msgspec.structs.replace(made.gateway.hub, policy=lambda: policy, views=lambda: views)
    return made


async def test_the_oldest_turns_go_and_the_client_is_told() -> None:
    """What is sent fits, ends with the newest question, keeps the system's words and fields that we do not know."""
    made = stage(ContextRule.TRIM)
    client = await made.call(LONG)
    assert client.status == 200
    sent = msgspec.json.decode(made.upstream.sent[0][1].body)
    assert sent["messages"][0]["role"] == "system"
    assert sent["messages"][-1]["content"] == "and now?"
    assert sent["field_of_tomorrow"] == {"kept": True}
    gone = int(client.headers["x-ostler-trimmed"])
    assert gone == len(LONG["messages"]) - len(sent["messages"])  # type: ignore[arg-type]
    assert any("oldest" in what for what in made.record.dropped)
    assert made.desk.offers[-1].facts.context_tokens <= ROOM


@pytest.mark.parametrize("rule", [ContextRule.RELOAD, ContextRule.REROUTE, ContextRule.ERROR])
async def test_without_the_rule_nothing_is_left_out(rule: ContextRule) -> None:
    """The client is told how much it needs."""
    client = await stage(rule).call(LONG)
    assert client.status == 400
    assert "needs" in client.json()["error"]["message"]


async def test_what_cannot_be_made_short_enough_is_told() -> None:
    """One question that is too long by itself stays too long."""
    made = stage(ContextRule.TRIM)
    client = await made.call({"model": "m", "messages": [{"role": "user", "content": "x" * 20_000}]})
    assert client.status == 400
    assert not made.upstream.sent


async def test_a_prompt_that_fits_is_not_touched() -> None:
    """The rule is for those that do not."""
    made = stage(ContextRule.TRIM)
    client = await made.call(ASK)
    assert "x-ostler-trimmed" not in client.headers
    assert made.upstream.sent[0][1].body == msgspec.json.encode(ASK)


def test_the_room_is_the_largest_among_the_places_that_may_answer() -> None:
    """Of each place the smallest of what is known; one that is not known to be bounded bounds nothing."""
    made = stage(ContextRule.TRIM)
    policy: Policy = made.gateway.hub.policy()
    views = dict(made.gateway.hub.views())
    facts = describe_call(CallWish(model="m"), policy, views)
    assert room_for(facts, policy, views) == ROOM
    loaded = (Resident(model="m", context_tokens=500),)
    kind = spec("b", EndpointKind.OLLAMA)
    views["b"] = EndpointView(
        spec=kind, health=Health.UP, models=frozenset({"m"}), windows={"m": 9_000}, residents=loaded
    )
    assert room_for(facts, policy, views) == ROOM
    views["c"] = EndpointView(spec=spec("c"), health=Health.UP, models=frozenset({"m"}), windows={"m": 3_000})
    assert room_for(facts, policy, views) == 3_000
    views["d"] = EndpointView(spec=spec("d"), health=Health.DOWN, models=frozenset({"m"}))
    assert room_for(facts, policy, views) == 3_000
    views["e"] = EndpointView(spec=spec("e"), health=Health.UP, models=frozenset({"m"}))
    assert room_for(facts, policy, views) is None


async def test_the_limit_goes_by_what_endpoints_have_counted() -> None:
    """A model with two characters a token gets a prompt of half the length, and each answer teaches that."""
    plain, dense = stage(ContextRule.TRIM), stage(ContextRule.TRIM)
    for _ in range(100):
        dense.gateway.hub.rates.note("m", 20_000, 10_000)
    wide, narrow = await plain.call(LONG), await dense.call(LONG)
    assert int(narrow.headers["x-ostler-trimmed"]) > int(wide.headers["x-ostler-trimmed"])
    assert plain.gateway.hub.rates.rates["m"].tokens == 10, "what the answer reported was noted"
