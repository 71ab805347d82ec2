"""The desk for what is in memory: rows of hosts and models, wishes of people and their ends, the comparison."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest

from ostler.domain.catalog import Reach
from ostler.domain.errors import ConflictError, InvalidInputError, NotFoundError, OstlerError
from ostler.domain.fleet import GIB, EndpointView, Health, HeldPhase, Probe, ProbeStatus, Resident, Unloaded
from ostler.domain.managed import Counts
from ostler.domain.policy import Policy
from ostler.domain.states import Failure, FailureClass
from ostler.domain.tasks import TaskSpec
from ostler.hub.fleet_views import HostRow, LoadOrder, SwapOrder, UnloadOrder
from ostler.hub.host_desk import HostDesk, SwapFailedError
from ostler.hub.hosts_view import why_unmanaged
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.scheduling.signals import LoadEnded, Probed, UnloadEnded
from tests.hub.house import House, house
from tests.scheduling.hosts_made import MODELS, host, policy
from tests.scheduling.rig import cloud, local

SECOND_MS = 1_000


class Machine:
    """An engine that holds what it is told, and ends a load when the test says so, or at once."""

    def __init__(self, built: House) -> None:
        self._pump = built.pump
        self.asked: list[LoadModel | UnloadModel] = []
        self.at_once = True
        self.fails = ""
        built.pump.load = self.begin

    def begin(self, effect: LoadModel | UnloadModel) -> None:
        self.asked.append(effect)
        if self.at_once:
            self._task = asyncio.ensure_future(self.end(effect))

    async def end(self, effect: LoadModel | UnloadModel) -> None:
        failure = Failure(kind=FailureClass.SERVER, message=self.fails, at_ms=0) if self.fails else None
        at_ms = self._pump.clock.now_ms()
        if isinstance(effect, UnloadModel):
            ended = UnloadEnded(
                endpoint=effect.endpoint, model=effect.model, started_ms=at_ms, at_ms=at_ms, failure=failure
            )
            await self._pump.post(ended)
            return
        gone = tuple(Unloaded(endpoint=at.endpoint, model=at.model, unload_ms=5_000) for at in effect.evict)
        resident = Resident(model=effect.model, context_tokens=effect.context_tokens, size_bytes=19 * GIB)
        await self._pump.post(
            LoadEnded(
                endpoint=effect.endpoint,
                model=effect.model,
                started_ms=at_ms,
                at_ms=at_ms,
                load_ms=30_000,
                unloaded=gone,
                resident=None if failure else resident,
                failure=failure,
            )
        )


def rules(*hosts: object, aliases: dict[str, str] | None = None) -> Policy:
    """The machines of the scheduler's tests, with another name for a model."""
    made = policy(*hosts)  # type: ignore[arg-type]
    named = aliases or {"gpt-4": "big"}
    return msgspec.structs.replace(made, catalog=msgspec.structs.replace(made.catalog, model_aliases=named))


@asynccontextmanager
async def machine(
    *loaded: str, rule: Policy | None = None, names: Sequence[str] = ("box",)
) -> AsyncIterator[tuple[House, HostDesk, Machine]]:
    """A hub with these machines, `loaded` in the memory of each."""
    async with house(policy=rule or rules()) as built:
        built.watch.models = MODELS
        engine = Machine(built)
        for name in names:
            await built.desk.start(local(name), "profile")
            await listed(built, name, *loaded)
        yield built, HostDesk(built.pump, built.store), engine


async def listed(built: House, name: str, *loaded: str) -> None:
    """A listing of an endpoint comes back now."""
    size = {"big": 20 * GIB, "other": 20 * GIB, "small": 5 * GIB}
    residents = tuple(Resident(model=model, context_tokens=32_768, size_bytes=size[model]) for model in loaded)
    at_ms = built.clock.now_ms()
    probe = Probe(endpoint=name, status=ProbeStatus.AVAILABLE, at_ms=at_ms, models=MODELS, residents=residents)
    await built.pump.post(Probed(probe=probe))


async def row_of(desk: HostDesk, name: str = "box") -> HostRow:
    rows = (await desk.hosts(saved=False)).hosts
    return next(row for row in rows if row.name == name)


def loaded_in(row: HostRow) -> dict[str, HeldPhase]:
    return {one.model: one.phase for one in row.residents}


async def test_a_managed_host_tells_what_is_in_its_memory() -> None:
    """Memory in total, reserved, used and free, and every resident with what it does."""
    async with machine("big", "small") as (_, desk, _engine):
        row = await row_of(desk)

        assert (row.managed, row.unmanaged_because, row.endpoints) == (True, "", ("box",))
        assert (row.total_bytes, row.reserve_bytes) == (32 * GIB, 2 * GIB)
        assert (row.used_bytes, row.free_bytes) == (25 * GIB, 5 * GIB)
        assert [(one.model, one.context_tokens, one.busy, one.slots) for one in row.residents] == [
            ("big", 32_768, 0, 1),
            ("small", 32_768, 0, 1),
        ]
        assert (row.since_start, row.last_hour) == (Counts(), Counts())


async def test_work_that_waits_stands_with_the_host_that_could_do_it() -> None:
    """By model, with the oldest and how many; a host that is not managed has none."""
    async with machine("big") as (built, desk, engine):
        engine.at_once = False
        await built.hub.submit([TaskSpec(id=f"t{n}", prompt="x", model="other", local_only=True) for n in range(3)])
        row = await row_of(desk)

        assert [(queue.model, queue.waiting, queue.hosts) for queue in row.queues] == [("other", 3, ("box",))]
        models = {model.name: model for model in (await desk.models()).models}
        assert (models["other"].waiting, models["big"].waiting) == (3, 0)


UNMANAGED = [
    ((), "no endpoint of it is registered"),
    ((cloud("box"),), "a cloud: nothing is loaded there"),
    ((msgspec.structs.replace(local("box"), reached_by=Reach.WORKER),), "only workers on it reach it"),
    ((local("box"),), "its memory is not declared"),
]


@pytest.mark.parametrize(("specs", "said"), UNMANAGED, ids=[said for _, said in UNMANAGED])
def test_a_host_that_is_not_managed_says_why(specs: tuple[object, ...], said: str) -> None:
    """And what would change that."""
    views = [EndpointView(spec=spec, health=Health.UP) for spec in specs]  # type: ignore[arg-type]
    catalog = policy(host("elsewhere")).catalog

    assert said in why_unmanaged(catalog, "box", views)


def test_only_engines_that_load_on_request_can_be_managed() -> None:
    """A declared memory alone is not enough, nor is an engine that has not answered yet."""
    openai = msgspec.structs.replace(local("box"), kind=cloud().kind)

    assert "do not load on request; Ollama and llama.cpp's router do" in why_unmanaged(
        rules().catalog, "box", [EndpointView(spec=openai)]
    )
    assert "has not said yet" in why_unmanaged(rules().catalog, "box", [EndpointView(spec=local("box"))])


async def test_an_unmanaged_host_shows_what_its_endpoints_list() -> None:
    """Residents are seen even where nobody decides about them."""
    async with machine("small", names=("free",)) as (_, desk, _engine):
        free, box = await row_of(desk, "free"), await row_of(desk, "box")

        assert (free.managed, list(loaded_in(free)), free.used_bytes) == (False, ["small"], None)
        assert box.unmanaged_because == "no endpoint of it is registered"


async def test_a_load_is_waited_for() -> None:
    """The answer says that it is done, and what went for it."""
    async with machine("big") as (_, desk, engine):
        change = await desk.load("box", LoadOrder(model="other", wait_ms=5 * SECOND_MS))

        assert (change.kind, change.under_way, change.model, change.evict) == ("load", False, "other", ("big",))
        assert change.took_ms is not None
        assert loaded_in(await row_of(desk)) == {"other": HeldPhase.READY}
        assert len(engine.asked) == 1


async def test_without_waiting_the_answer_says_what_is_under_way() -> None:
    """It comes when the order is durable; when it should end stands in it, and the host shows the change."""
    async with machine("big") as (_, desk, engine):
        engine.at_once = False
        change = await desk.load("box", LoadOrder(model="small"))
        row = await row_of(desk)

        assert (change.under_way, change.took_ms, change.ready_ms - change.now_ms > 15_000) == (True, None, True)
        assert loaded_in(row) == {"big": HeldPhase.READY, "small": HeldPhase.LOADING}
        assert row.swap is not None
        assert (row.swap.reason, row.swap.ready_ms) == ("by hand", change.ready_ms)


async def test_an_alias_means_its_model() -> None:
    """People call models as they call them in their tasks."""
    async with machine("big") as (_, desk, _engine):
        change = await desk.unload("box", UnloadOrder(model="gpt-4", wait_ms=5 * SECOND_MS))

        assert (change.kind, change.model, change.under_way) == ("unload", "big", False)
        assert loaded_in(await row_of(desk)) == {}


async def test_a_load_that_fails_says_why() -> None:
    """Whoever waits hears the engine's words; the host shows them until it may be tried again."""
    async with machine("big") as (_, desk, engine):
        engine.fails = "the file is damaged"
        with pytest.raises(SwapFailedError) as raised:
            await desk.load("box", LoadOrder(model="small", wait_ms=5 * SECOND_MS))
        (failed,) = (await row_of(desk)).failed

        assert "small could not be loaded on box: the file is damaged" in str(raised.value)
        assert (failed.model, failed.message) == ("small", "the file is damaged")
        counts = (await row_of(desk)).since_start
        assert counts is not None
        assert (counts.failed, counts.loads) == (1, 0)


async def test_an_unload_that_fails_says_so() -> None:
    """The model is still there."""
    async with machine("big") as (_, desk, engine):
        engine.fails = "busy"
        with pytest.raises(SwapFailedError, match="big is still loaded on box"):
            await desk.unload("box", UnloadOrder(model="big", wait_ms=5 * SECOND_MS))


REFUSED: list[tuple[str, LoadOrder | UnloadOrder, type[OstlerError], str]] = [
    ("box", LoadOrder(model="bgi"), NotFoundError, "there is no model bgi (did you mean 'big'?)"),
    ("bxo", LoadOrder(model="big"), NotFoundError, "there is no host bxo (did you mean 'box'?)"),
    ("free", LoadOrder(model="big"), ConflictError, "is left to its engine (its memory is not declared"),
    ("box", LoadOrder(model="big", endpoint="free"), NotFoundError, "free is no managed endpoint of box"),
    ("box", UnloadOrder(model="other"), NotFoundError, "other is not loaded on box"),
    ("box", LoadOrder(model="small", evict=("other",)), NotFoundError, "other is not loaded on box"),
    ("box", LoadOrder(model="big"), ConflictError, "big is loaded on box already"),
]


@pytest.mark.parametrize(("name", "order", "kind", "message"), REFUSED, ids=[row[3] for row in REFUSED])
async def test_an_order_that_cannot_be_is_refused(
    name: str, order: LoadOrder | UnloadOrder, kind: type[OstlerError], message: str
) -> None:
    """With its reason and what to do; nothing is asked of an engine."""
    async with machine("big", names=("box", "free")) as (_, desk, engine):
        with pytest.raises(kind) as raised:
            await (desk.load(name, order) if isinstance(order, LoadOrder) else desk.unload(name, order))

        assert message in str(raised.value)
        assert engine.asked == []


async def test_where_no_host_is_named_the_soonest_is_taken() -> None:
    """An empty machine before one where another model would have to go; unloaded is it where it is."""
    two = rules(host("alpha"), host("beta"))
    async with machine(rule=two, names=("alpha", "beta")) as (built, desk, _engine):
        await listed(built, "alpha", "other")
        loaded = await desk.load("any", LoadOrder(model="big", wait_ms=5 * SECOND_MS))
        gone = await desk.unload("any", UnloadOrder(model="other", wait_ms=5 * SECOND_MS))
        await desk.load("any", LoadOrder(model="big", wait_ms=5 * SECOND_MS))

        assert (loaded.host, loaded.evict, gone.host) == ("beta", (), "alpha")
        with pytest.raises(ConflictError, match="big is loaded wherever it can be"):
            await desk.load("any", LoadOrder(model="big"))
        with pytest.raises(ConflictError, match=r"other is loaded on no managed host \(loaded are big\)"):
            await desk.unload("any", UnloadOrder(model="other"))


async def test_without_a_managed_host_nothing_can_be_wished() -> None:
    """The remedy says how a host becomes one."""
    async with machine("big", names=("free",)) as (_, desk, _engine):
        with pytest.raises(NotFoundError, match=r"no managed host has big.*under 'hosts' in the profile"):
            await desk.load("any", LoadOrder(model="big"))


async def test_a_swap_finds_where_the_old_model_is() -> None:
    """Two machines, the old model on one of them: that one swaps; aliases are names too."""
    async with machine(rule=rules(host("box"), host("mac")), names=("box", "mac")) as (built, desk, engine):
        await listed(built, "mac", "big")
        change = await desk.swap(SwapOrder(old="gpt-4", new="other", wait_ms=5 * SECOND_MS))

        assert (change.host, change.model, change.evict, change.under_way) == ("mac", "other", ("big",), False)
        assert [effect.endpoint for effect in engine.asked] == ["mac"]


async def test_an_evicted_model_goes_even_where_there_is_room() -> None:
    """A swap is what it says: the old model is gone afterwards."""
    async with machine("small") as (_, desk, _engine):
        await desk.swap(SwapOrder(old="small", new="big", wait_ms=5 * SECOND_MS))

        assert loaded_in(await row_of(desk)) == {"big": HeldPhase.READY}


async def test_a_swap_of_a_busy_model_is_refused_unless_it_may_drain() -> None:
    """Nothing is stopped: without `drain` nothing happens, with it the swap waits for the last call."""
    async with machine("big") as (built, desk, engine):
        engine.at_once = False
        built.pump.scheduler.books.take_slot("box", "big")
        with pytest.raises(SwapFailedError, match="big is working on box"):
            await desk.swap(SwapOrder(old="big", new="other"))
        assert loaded_in(await row_of(desk)) == {"big": HeldPhase.READY}

        change = await desk.swap(SwapOrder(old="big", new="other", drain=True))

        assert (change.under_way, engine.asked) == (True, [])
        assert loaded_in(await row_of(desk)) == {"big": HeldPhase.LEAVING}


@pytest.mark.parametrize(
    ("order", "kind", "message"),
    [
        (SwapOrder(old="other", new="big"), SwapFailedError, "other is loaded on no managed host"),
        (SwapOrder(old="other", new="big", host="box"), SwapFailedError, "other is not loaded on box"),
        (SwapOrder(old="small", new="other"), SwapFailedError, "small is pinned on box"),
        (SwapOrder(old="big", new="tiny"), NotFoundError, "there is no model tiny"),
        (SwapOrder(old="big", new="gpt-4"), InvalidInputError, "big cannot be loaded in place of itself"),
    ],
)
async def test_a_swap_that_cannot_be_says_what_is_in_the_way(
    order: SwapOrder, kind: type[OstlerError], message: str
) -> None:
    """Conflicts are failed swaps, which a client may try again; a name that nobody has is not."""
    async with machine("big", "small", rule=rules(host("box", pinned=("small",)))) as (_, desk, engine):
        with pytest.raises(kind, match=message):
            await desk.swap(order)

        assert engine.asked == []


async def test_a_pin_holds_until_it_is_taken_back() -> None:
    """It is shown, and a model that the host does not have cannot be pinned."""
    async with machine("big") as (_, desk, _engine):
        pinned = await desk.pin("box", "gpt-4", pinned=True)
        assert (pinned.pins, pinned.residents[0].pinned) == (("big",), True)
        with pytest.raises(ConflictError, match="big is pinned on box"):
            await desk.unload("box", UnloadOrder(model="big"))

        assert (await desk.pin("box", "big", pinned=False)).pins == ()


async def test_models_tell_where_they_are_and_what_they_take() -> None:
    """Installed and loaded places, memory as configured and as seen, measured beside configured."""
    async with machine("big") as (built, desk, _engine):
        await desk.load("box", LoadOrder(model="other", wait_ms=5 * SECOND_MS))
        await built.desk.start(cloud(), "profile")
        models = {model.name: model for model in (await desk.models()).models}
        other = models["other"]

        assert set(MODELS) <= set(models)
        assert (other.tiers, other.configured, other.memory_bytes) == (("other",), True, 20 * GIB)
        assert [(place.host, place.phase, place.memory_bytes) for place in other.places] == [
            ("box", HeldPhase.READY, 19 * GIB)
        ]
        (row,) = other.measured
        assert (row.host, row.context_tokens, row.load_ms.configured) == ("box", 32_768, 20_000.0)
        assert row.load_ms.measured is not None
        assert (row.load_ms.measured.samples, row.decode_tokens_per_s.measured) == (1, None)
        assert models["big"].places[0].phase is None
