"""The board: three bands, tasks found by words, runs, charges, what was learned; each answer bounded."""

import msgspec
import pytest

from ostler.domain.commands import AppendEvents, Settle
from ostler.domain.event import Event
from ostler.domain.fleet import ProbeStatus, WorkerOffer
from ostler.domain.ledger import Amount, Basis, Scopes
from ostler.domain.limits import BudgetPolicy, Limit, Window, WindowKind
from ostler.domain.states import Failure, FailureClass, TaskState, WaitCode
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.domain.work import Finished, Started
from ostler.hub.board import ROWS_MAX, home
from ostler.hub.board_desk import LEARNED, PAGE
from ostler.hub.board_views import Find, Home, NeedKind, Savings
from ostler.scheduling.signals import Charged
from tests.hub.house import House, house
from tests.scheduling.rig import local, three_tiers

OFFER = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 2, TaskKind.CHAT: 2})
MANY = WorkerOffer(name="w", host="h", slots={TaskKind.COMMAND: 200})


def command(task_id: str, **fields: object) -> TaskSpec:
    return msgspec.convert({"id": task_id, "kind": "command", "argv": ["true"]} | fields, TaskSpec)


def chat(task_id: str, **fields: object) -> TaskSpec:
    return msgspec.convert({"id": task_id, "prompt": "say something", "complexity": "standard"} | fields, TaskSpec)


def kinds(found: Home) -> list[tuple[NeedKind, str]]:
    return [(need.kind, need.name) for need in found.needs]


async def fail(built: House, session: str, task_id: str, kind: FailureClass, generation: int = 1) -> None:
    """A worker says that an attempt failed."""
    at_ms = built.clock.now_ms()
    failure = Failure(kind=kind, message=f"no: {kind.value}", at_ms=at_ms)
    report = Finished(task_id=task_id, generation=generation, at_ms=at_ms, ok=False, failure=failure)
    await built.hub.link.report(session, [report])


async def test_an_empty_hub_has_three_empty_bands() -> None:
    """Nothing needs anybody, nothing runs, nothing waits."""
    async with house() as built:
        found = await built.hub.board.home()

        assert (found.needs, found.running, found.waiting) == ((), (), ())
        assert (found.running_count, found.waiting_count, found.paused_count) == (0, 0, 0)


async def test_what_runs_shows_where_since_when_and_what_it_costs() -> None:
    """Work on one's own machines costs nothing, and that is known, not guessed."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu", host="box"))
        await built.hub.submit([chat("a", title="Name a horse", batch="stable")])
        session = await built.hub.link.join(OFFER)
        started = Started(task_id="a", generation=1, at_ms=built.clock.now_ms())
        await built.hub.link.report(session.id, [started])
        found = await built.hub.board.home()

        (row,) = found.running
        assert (row.title, row.model, row.endpoint, row.host, row.worker) == ("Name a horse", "qwen", "gpu", "box", "w")
        assert (row.tier, row.batch, row.generation, row.state) == ("standard", "stable", 1, TaskState.RUNNING)
        assert (row.cost_micro_usd, row.basis, row.started_ms) == (0, "local", started.at_ms)
        assert not row.fallback_used


async def test_what_a_task_was_charged_shows_while_it_runs() -> None:
    """The calls of an agent are charged to its task one by one."""
    async with house() as built:
        await built.hub.submit([command("a")])
        await built.hub.link.join(OFFER)
        scopes = Scopes(task="a", provider="anthropic")
        spent = Settle(
            attempt="c-1/1",
            at_ms=built.clock.now_ms(),
            amount=Amount(micro_usd=1_284, input_tokens=900, output_tokens=300),
            basis=Basis.PRICED,
            scopes=scopes,
        )
        await built.pump.post(Charged(command=spent))
        (row,) = (await built.hub.board.home()).running

        assert (row.cost_micro_usd, row.tokens, row.basis) == (1_284, 1_200, "charged")


async def test_what_waits_is_grouped_with_the_time_it_is_looked_at_again() -> None:
    """Tasks that wait for the same thing are one row; one that is paused is counted apart too."""
    async with house() as built:
        await built.hub.submit([command("a"), command("b"), command("c", needs=["a"])])
        await built.hub.submit([command("later", not_before_ms=9_000_000_000_000)])
        await built.hub.pause("b")
        found = await built.hub.board.home()

        codes = {row.wait.code: row for row in found.waiting}
        assert codes[WaitCode.NO_WORKER].count == codes[WaitCode.PAUSED].count == codes[WaitCode.DEPS].count == 1
        assert codes[WaitCode.DEPS].due_ms is None
        assert (found.waiting_count, found.paused_count) == (3, 1)


async def test_a_task_that_waits_for_a_person_is_the_first_need() -> None:
    """With what it says, and since when."""
    async with house() as built:
        await built.hub.submit([command("a", title="Deploy")])
        session = await built.hub.link.join(OFFER)
        await fail(built, session.id, "a", FailureClass.AUTH)
        found = await built.hub.board.home()
        state = (await built.hub.task("a")).task.state

        assert state is TaskState.NEEDS_HUMAN
        assert kinds(found)[0] == (NeedKind.TASK, "a")
        assert (found.needs[0].title, found.needs[0].detail) == ("Deploy", "no: auth")


async def test_work_that_was_given_up_is_brought_up_for_a_day() -> None:
    """Not for ever: nobody clears the list by hand."""
    async with house() as built:
        await built.hub.submit([command("a", max_attempts=1)])
        session = await built.hub.link.join(OFFER)
        await fail(built, session.id, "a", FailureClass.COMMAND)
        soon = kinds(await built.hub.board.home())
        built.clock.pass_ms(25 * 3_600_000)
        later = kinds(await built.hub.board.home())

        assert soon == [(NeedKind.GIVEN_UP, "a")]
        assert later == []


async def test_work_that_nobody_can_do_needs_a_person() -> None:
    """No worker has joined: the group says how many wait."""
    async with house() as built:
        await built.hub.submit([command("a"), command("b")])
        (need,) = (await built.hub.board.home()).needs

        assert (need.kind, need.title, need.count) == (NeedKind.NO_ROUTE, "no_worker", 2)


async def test_an_endpoint_that_refuses_our_key_needs_a_person() -> None:
    """Nothing is routed around it silently."""
    async with house() as built:
        built.watch.status = ProbeStatus.KEY_INVALID
        await built.hub.endpoints.add(local("gpu"))
        found = await built.hub.board.home()

        assert (NeedKind.KEY, "gpu") in kinds(found)


async def test_a_tier_without_an_endpoint_names_one_to_look_at() -> None:
    """The answer is one click: list it now."""
    async with house() as built:
        await built.hub.endpoints.add(local("gpu"))
        built.watch.status = ProbeStatus.UNAVAILABLE
        for _ in range(2):
            await built.hub.endpoints.check("gpu")
        found = await built.hub.board.home()

        (need,) = [need for need in found.needs if need.kind is NeedKind.TIER]
        assert (need.name, need.where) == ("standard", "gpu")
        assert need.since_ms is not None


@pytest.mark.parametrize(("spent", "level"), [(80, "degraded"), (100, "exhausted"), (79, None)])
async def test_a_limit_at_one_of_its_values_needs_a_person(spent: int, level: str | None) -> None:
    """Below its soft value it is silent."""
    limits = (Limit(name="day", window=Window(kind=WindowKind.DAY), soft=80, hard=100),)
    policy = msgspec.structs.replace(three_tiers(), budget=BudgetPolicy(limits=limits))
    async with house(policy=policy) as built:
        spending = Settle(attempt="x", at_ms=built.clock.now_ms(), amount=Amount(micro_usd=spent), basis=Basis.REPORTED)
        await built.pump.post(Charged(command=spending))
        found = await built.hub.board.home()

        told = [need.detail for need in found.needs if need.kind is NeedKind.BUDGET]
        assert told == ([level] if level else [])


async def test_the_rows_are_bounded_and_the_counts_are_not() -> None:
    """However much runs, the page shows so many of it."""
    async with house() as built:
        await built.hub.submit([command(f"t{n}") for n in range(ROWS_MAX + 10)])
        await built.hub.link.join(MANY)
        found = await built.hub.board.home()

        assert (len(found.running), found.running_count) == (ROWS_MAX, ROWS_MAX + 10)


async def test_the_bands_are_a_function_of_the_books() -> None:
    """The same books give the same page, whoever asks."""
    async with house() as built:
        await built.hub.submit([command("a"), command("b", needs=["a"])])
        status, now_ms = await built.hub.status(), built.clock.now_ms()
        books = built.pump.scheduler.books

        assert home(books, status, [], now_ms) == home(books, status, [], now_ms)


async def found(built: House, **query: object) -> list[str]:
    page = await built.hub.board.find(msgspec.convert(query, Find))
    return [task.id for task in page.tasks]


async def test_every_word_must_be_found_in_what_a_row_shows() -> None:
    """In id, title, run, model, place, type of work, state or reason; upper and lower case are one."""
    async with house() as built:
        await built.hub.submit(
            [command("alpha", title="Parse the ledger", batch="night"), command("beta", title="Parse the mail")]
        )

        assert await found(built, text="PARSE ledger") == ["alpha"]
        assert await found(built, text="night") == ["alpha"]
        assert await found(built, text="no_worker") == ["beta", "alpha"]
        assert await found(built, text="command queued") == ["beta", "alpha"]
        assert await found(built, text="parse nothing") == []


async def test_an_id_is_found_however_old_it_is_and_once() -> None:
    """Beyond the tasks that are looked at for words."""
    async with house() as built:
        await built.hub.submit([command("old")])
        await built.hub.submit([command(f"t{n}") for n in range(5)])

        assert await found(built, text="old") == ["old"]
        assert await found(built, text="old", states=["succeeded"]) == []


async def test_pages_follow_each_other_without_a_gap_or_a_double() -> None:
    """Newest first, by the number of the last one; the last page says that there is no more."""
    async with house() as built:
        await built.hub.submit([command(f"t{n}") for n in range(7)])
        seen: list[str] = []
        before: int | None = None
        for _ in range(4):
            page = await built.hub.board.find(Find(limit=3, before_seq=before))
            seen += [task.id for task in page.tasks]
            before = page.next_before
            if before is None:
                break

        assert seen == [f"t{n}" for n in reversed(range(7))]


async def test_words_are_looked_for_page_by_page() -> None:
    """A match behind a whole page of others is found, and how many were looked at is told."""
    async with house() as built:
        await built.hub.submit([command("needle-1", title="the one")])
        await built.hub.submit([command(f"t{n}") for n in range(PAGE + 20)])
        page = await built.hub.board.find(Find(text="the one"))

        assert [task.id for task in page.tasks] == ["needle-1"]
        assert page.looked_at == PAGE + 21


async def test_runs_are_told_by_state_the_newest_change_first() -> None:
    """A batch of tasks with how many of them are where."""
    async with house() as built:
        await built.hub.submit([command("a.1", batch="a"), command("a.2", batch="a"), command("lone")])
        await built.hub.submit([command("b.1", batch="b")])
        await built.hub.cancel("a.2")
        first, second = await built.hub.board.runs()

        assert (first.name, second.name) == ("a", "b")
        assert first.states == {TaskState.QUEUED: 1, TaskState.CANCELLED: 1}
        assert (first.tasks, first.planned) == (2, False)


async def test_what_an_attempt_cost_is_the_newest_word_of_the_ledger() -> None:
    """Attempts that the ledger does not know are left out."""
    async with house() as built:
        amount = Amount(micro_usd=42)
        settle = Settle(attempt="a/2", at_ms=built.clock.now_ms(), amount=amount, basis=Basis.PRICED)
        await built.pump.apply([settle])
        charges = await built.hub.board.charges("a", [1, 2])

        assert list(charges) == [2]
        assert (charges[2].micro_usd, charges[2].basis, charges[2].open) == (42, "priced", False)


async def test_what_was_learned_is_told_newest_first_and_kept_for_a_while() -> None:
    """Other events are left out; a second look in a moment asks nothing of the store."""
    async with house() as built:
        events = [Event(name=LEARNED, at_ms=n, metadata={"task_type": f"k{n}"}) for n in (1, 2)]
        await built.pump.apply([AppendEvents(events=(events[0], Event(name="hub.started", at_ms=1), events[1]))])
        changes = await built.hub.board.changes()
        await built.pump.apply([AppendEvents(events=(events[0],))])
        again = await built.hub.board.changes()

        assert [change.event.metadata["task_type"] for change in changes.changes] == ["k2", "k1"]
        assert again == changes


async def test_savings_are_reckoned_beside_the_loop_and_kept() -> None:
    """The page of money waits only a moment for them."""
    asked = []

    def reckon() -> Savings:
        asked.append(1)
        return Savings(micro_usd=5, of="haiku")

    async with house() as built:
        built.hub.board.savings = reckon
        first, second = await built.hub.board.money(), await built.hub.board.money()
        await built.hub.board.stop()

        assert first.savings == second.savings == Savings(micro_usd=5, of="haiku")
        assert asked == [1]
