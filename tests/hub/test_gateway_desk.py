"""Keys made, listed and revoked, calls listed and explained, old calls pruned: the hub's side of the gateway."""

import re

import pytest

from ostler.domain.commands import PutCalls, PutKey
from ostler.domain.errors import ConflictError, InvalidInputError, LimitReachedError, NotFoundError
from ostler.domain.ports import CallQuery
from ostler.domain.tasks import Priority
from ostler.hub.gateway_desk import KEEP_CALLS_MS, PRUNE_BATCH, GatewayDesk
from ostler.hub.gateway_views import KeyRow, KeyWish
from ostler.hub.tokens import token_hash
from ostler.hub.windows import DAY_MS
from ostler.store.memory import MemoryStore
from tests.hub.house import House, house
from tests.scheduling.rig import local
from tests.store.rows_made import make_call, make_call_decision, make_event, make_key


async def names_of_events(built: House) -> list[str]:
    return [event.name for event in await built.store.events() if event.name.startswith("key.")]


async def test_a_key_is_shown_once_and_kept_as_a_hash() -> None:
    """Long and made of characters that need no quoting; nothing that is stored or listed holds it."""
    async with house() as built:
        made = await built.hub.gateway.make_key(KeyWish(name="laptop"))

        assert re.fullmatch(r"ost-[A-Za-z0-9_-]{43}", made.key)
        (stored,) = await built.store.keys()
        assert stored.key_hash == token_hash(made.key)
        assert made.key not in f"{stored}{await built.hub.gateway.keys()}{await built.store.events()}"
        assert built.hub.gateway.ring.find(made.key) == stored
        assert await names_of_events(built) == ["key.created"]


async def test_a_key_carries_what_was_wished_for() -> None:
    """Aliases become the names they stand for, once each."""
    wish = KeyWish(
        name="agent",
        models=("qwen:latest", "qwen"),
        tiers=("complex", "complex"),
        task="nightly",
        priority=Priority.LOW,
        limit_micro_usd=5,
        limit_window="day",
        local_only=True,
    )
    async with house() as built:
        made = await built.hub.gateway.make_key(wish)

        assert made.row == KeyRow(
            name="agent",
            created_ms=made.row.created_ms,
            models=("qwen",),
            tiers=("complex",),
            task="nightly",
            priority=Priority.LOW,
            local_only=True,
            limit_micro_usd=5,
            limit_window="day",
            window_ends_ms=DAY_MS,
        )
        assert (await built.hub.gateway.keys()).keys == (made.row,)
        (event,) = [event for event in await built.store.events() if event.name == "key.created"]
        assert event.measurements == {"limit_micro_usd": 5}
        assert event.metadata == {"key": "agent", "task": "nightly", "limit_window": "day"}


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (
            KeyWish(name="a", models=("qwn",)),
            r"models: neither .* a model 'qwn' \(did you mean 'qwen'\?\)",
        ),
        (KeyWish(name="a", tiers=("standart",)), r"tiers: .*tier 'standart' \(did you mean 'standard'\?\)"),
        (KeyWish(name="a", tiers=("direct",)), "tier 'direct'"),
        (KeyWish(name=""), "name: a key needs a name"),
        (KeyWish(name="a\n"), "name: a key needs a name"),
        (KeyWish(name="a", limit_window="dya"), "did you mean 'day'"),
        (KeyWish(name="a", limit_micro_usd=0), "a limit is more than nothing"),
        (KeyWish(name="a", limit_micro_usd=-1), "a limit is more than nothing"),
    ],
)
async def test_a_wish_that_cannot_be_is_refused(wish: KeyWish, words: str) -> None:
    """With the place and the nearest valid name; nothing is stored."""
    async with house() as built:
        with pytest.raises(InvalidInputError, match=words):
            await built.hub.gateway.make_key(wish)

        assert await built.store.keys() == []


async def test_a_model_that_an_endpoint_offers_is_known() -> None:
    """Although the profile does not name it."""
    async with house() as built:
        built.watch.models = ("homemade",)
        await built.hub.endpoints.add(local("gpu"))

        made = await built.hub.gateway.make_key(KeyWish(name="a", models=("homemade",)))

        assert made.row.models == ("homemade",)


async def test_a_name_is_given_once() -> None:
    """Not again while the key is open, not after it was revoked; the remedy is a name that is free."""
    async with house() as built:
        first = await built.hub.gateway.make_key(KeyWish(name="laptop"))
        with pytest.raises(ConflictError, match=r"laptop exists; .* such as laptop-2"):
            await built.hub.gateway.make_key(KeyWish(name="laptop"))
        await built.hub.gateway.make_key(KeyWish(name="laptop-2"))
        await built.hub.gateway.revoke_key("laptop")
        with pytest.raises(ConflictError, match=r"existed and was revoked; .* such as laptop-3"):
            await built.hub.gateway.make_key(KeyWish(name="laptop"))

        assert built.hub.gateway.ring.find(first.key) is None


async def test_a_revoked_key_opens_nothing_and_stays_listed() -> None:
    """At once; again is fine; a name that is none is told with the nearest one that is open."""
    async with house() as built:
        made = await built.hub.gateway.make_key(KeyWish(name="laptop"))

        row = await built.hub.gateway.revoke_key("laptop")

        assert row.revoked_ms is not None
        assert built.hub.gateway.ring.find(made.key) is None
        assert await built.hub.gateway.revoke_key("laptop") == row
        assert (await built.hub.gateway.keys()).keys == (row,)
        assert await names_of_events(built) == ["key.created", "key.revoked"]
        await built.hub.gateway.make_key(KeyWish(name="phone"))
        with pytest.raises(NotFoundError, match=r"no key named phon \(did you mean 'phone'"):
            await built.hub.gateway.revoke_key("phon")


async def test_the_list_tells_what_a_key_has_spent() -> None:
    """What was just recorded is in it: of its window, of all calls, and when the last one came in."""
    async with house() as built:
        await built.hub.gateway.make_key(KeyWish(name="laptop", limit_micro_usd=100, limit_window="day"))
        await built.hub.gateway.make_key(KeyWish(name="phone"))
        book, at_ms = built.hub.gateway.book, built.clock.now_ms()
        book.add(make_call("c-1", at_ms=at_ms, key="laptop", cost_micro_usd=7))
        book.add(make_call("c-2", at_ms=at_ms + 1, key="laptop"))

        laptop, phone = (await built.hub.gateway.keys()).keys

        assert (laptop.spent_micro_usd, laptop.calls, laptop.last_used_ms) == (7, 2, at_ms + 1)
        assert (phone.spent_micro_usd, phone.calls, phone.last_used_ms) == (0, 0, None)


async def test_a_hub_that_starts_again_knows_keys_and_what_they_have_spent() -> None:
    """Each in its own window, pruned calls included; a revoked key stays shut."""
    store = MemoryStore()
    now_ms = 40 * DAY_MS
    keys = [
        make_key("daily", "h1", limit_micro_usd=10, limit_window="day"),
        make_key("monthly", "h2", limit_micro_usd=10, limit_window="month"),
        make_key("ever", "h3", limit_micro_usd=10),
        make_key("shut", "h4", revoked_ms=5),
    ]
    await store.apply([PutKey(key=key, event=make_event(None)) for key in keys])
    calls = [
        make_call(f"c-{key.name}-{at_ms}", at_ms=at_ms, key=key.name, cost_micro_usd=4)
        for key in keys
        for at_ms in (DAY_MS, 32 * DAY_MS, 40 * DAY_MS)
    ]
    await store.apply([PutCalls(records=tuple(calls))])
    async with house(store) as built:
        built.clock.pass_ms(now_ms)
        desk = GatewayDesk(built.pump, store)
        await desk.start()

        spent = {key.name: desk.ring.use(key).micro_usd for key in keys}

        assert spent == {"daily": 4, "monthly": 8, "ever": 12, "shut": 12}
        desk.ring.check(keys[0])
        with pytest.raises(LimitReachedError):
            desk.ring.check(keys[2])
        await desk.prune()
        assert [record.at_ms for record in await store.calls(CallQuery())] == [40 * DAY_MS] * 4 + [32 * DAY_MS] * 4
        assert {row.name: row.calls for row in (await desk.keys()).keys} == dict.fromkeys(spent, 3)
        await desk.stop()


async def test_old_calls_are_pruned_in_small_batches() -> None:
    """All of them that are too old, none that is not, and decisions that nobody used for long."""
    async with house() as built:
        store, desk = built.store, built.hub.gateway
        built.clock.pass_ms(2 * KEEP_CALLS_MS)
        bound_ms = built.clock.now_ms() - KEEP_CALLS_MS
        old = [make_call(f"c-{n:05}", at_ms=n) for n in range(2 * PRUNE_BATCH + 1)]
        young = make_call("c-young", at_ms=bound_ms + 60_000, decision_key="new")
        decisions = (make_call_decision("old", bound_ms - 3 * DAY_MS), make_call_decision("new", bound_ms - DAY_MS))
        await store.apply([PutCalls(records=(*old, young), decisions=decisions)])

        await desk.prune()

        assert await store.calls(CallQuery()) == [young]
        found = await store.call("c-young")
        assert found is not None
        assert found.decision is not None
        assert await store.oldest_call_ms() == young.at_ms


async def test_calls_can_be_kept_for_a_shorter_time() -> None:
    """As the profile says, also when it says so later."""
    async with house() as built:
        built.clock.pass_ms(10 * DAY_MS)
        await built.store.apply([PutCalls(records=(make_call(at_ms=DAY_MS),))])
        await built.hub.gateway.prune()
        assert len(await built.store.calls(CallQuery())) == 1

        built.hub.gateway.keep_calls_ms = DAY_MS
        await built.hub.gateway.prune()

        assert await built.store.calls(CallQuery()) == []


async def test_a_list_of_calls_holds_no_prompts() -> None:
    """Those stand with the call alone, where they were kept."""
    async with house() as built:
        built.hub.gateway.book.add(make_call("c-1", prompt="why?", answer="so"))

        (listed,) = (await built.hub.gateway.calls(CallQuery())).calls
        answer = await built.hub.gateway.call("c-1")

        assert (listed.prompt, listed.answer) == (None, None)
        assert (answer.record.prompt, answer.record.answer) == ("why?", "so")


async def test_a_call_that_has_just_ended_is_explained() -> None:
    """What was recorded a moment ago need not be waited for; what is not kept is said to be nowhere."""
    async with house() as built:
        decision = make_call_decision().decision
        built.hub.gateway.book.add(make_call("c-1", decision_key="d1"), decision)

        answer = await built.hub.gateway.call("c-1")

        assert answer.headline.startswith("c-1 was answered by m on box")
        assert answer.decision == decision
        with pytest.raises(NotFoundError, match=r"no call c-2 .*`ostler calls list`"):
            await built.hub.gateway.call("c-2")
