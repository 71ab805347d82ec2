"""`from ostler import ModelRouter`: decisions and calls through the ladder inside a program, without a server."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ostler import ContextManager, ModelRouter, TaskType
from ostler.app.model_router import NoAnswerError, _spec
from ostler.context.manager import By
from ostler.domain.errors import ConflictError, InvalidInputError
from tests.library.simulated import ladder, machine


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with machine(tmp_path_factory.mktemp("machine")) as found:
        yield found


@pytest.fixture(scope="module")
def router(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelRouter]:
    folder = tmp_path_factory.mktemp("router")
    with ModelRouter(ladder(folder, url), data=folder / "data") as found:
        yield found


def test_a_question_is_answered_by_the_cheapest_tier_that_may(router: ModelRouter) -> None:
    """With what it took: tier, model, tokens, cost, and the whole decision."""
    answer = router.ask("name three horses", timeout_s=60)
    assert answer.text.startswith("[simulated qwen2.5-coder:7b-instruct]")
    assert (answer.tier, answer.model, answer.cost) == ("local_cheap", "qwen2.5-coder:7b-instruct", 0.0)
    assert answer.input_tokens > 0
    assert answer.output_tokens > 0
    assert answer.decision is not None
    assert answer.decision.candidate_count >= 1


def test_where_a_question_would_go_is_said_without_calling_anyone(router: ModelRouter) -> None:
    """Type, tier, model and why; the type alone, too."""
    choice = router.route("plan the strategy for spring")
    assert (choice.runs, choice.task_type, choice.tier) == (True, TaskType.PLANNING, "local_strong")
    assert "would run now" in choice.summary
    assert choice.why
    assert router.classify("debug the function") == TaskType.CODING


def test_what_is_said_beside_the_words_is_obeyed(router: ModelRouter) -> None:
    """A tier, a type, errors of earlier tries."""
    assert router.route("hello", tier="local_strong").tier == "local_strong"
    assert router.route("hello", task_type="planning").tier == "local_strong"
    assert router.route("hello", recent_errors=("timed out",) * 3).tier == "local_strong"


def test_messages_are_sent_by_their_roles() -> None:
    """The last one is the prompt. Only what a task cannot say, results of tools, becomes one transcript."""
    talk: list[Mapping[str, object]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a horse."},
        {"role": "assistant", "content": [{"type": "text", "text": "Bucephalus."}]},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "Another one."},
    ]
    spec = _spec(talk, {"system": "You breed horses."})

    assert (spec.system, spec.prompt) == ("You breed horses.\n\nBe brief.", "Another one.")
    assert [(message.role, message.text) for message in spec.talk] == [
        ("user", "Name a horse."),
        ("assistant", "Bucephalus."),
    ]
    others: list[Mapping[str, object]] = [{"role": "tool", "content": "42"}, {"role": "assistant", "content": "And"}]
    for other in others:
        told = _spec([*talk, other], {})
        assert told.talk == ()
        assert "Bucephalus." in told.prompt


def test_a_talk_is_read_whole(router: ModelRouter) -> None:
    """The tokens show it."""
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Name a horse."},
        {"role": "assistant", "content": "Bucephalus."},
        {"role": "user", "content": "Another one."},
    ]
    answer = router.ask(talk, timeout_s=60)
    assert answer.input_tokens > router.ask("Another one.", timeout_s=60).input_tokens


def test_coroutines_ask_at_once(router: ModelRouter) -> None:
    """Five questions together, from another event loop; each has its own answer."""

    async def ask() -> list[str]:
        answers = await asyncio.gather(*(router.aask(f"question {number}", timeout_s=60) for number in range(5)))
        choice = await router.aroute("hello")
        return [*(answer.id for answer in answers), choice.tier or ""]

    *ids, tier = asyncio.run(ask())
    assert len(set(ids)) == 5
    assert tier == "local_cheap"


def test_threads_may_share_a_router(router: ModelRouter) -> None:
    """Each waits for its own."""
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda number=number: found.append(router.ask(f"thread {number}", timeout_s=60).text))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4


def test_the_same_question_by_its_id_is_not_asked_twice(router: ModelRouter) -> None:
    """The answer of the first time; with other words it is a conflict."""
    first = router.ask("name a horse", id="q-1", timeout_s=60)
    again = router.ask("name a horse", id="q-1", timeout_s=60)
    assert (again.text, again.attempts) == (first.text, 1)
    with pytest.raises(ConflictError):
        router.ask("name a cow", id="q-1")


def test_what_cannot_be_asked_is_refused(router: ModelRouter) -> None:
    """With the nearest name, as everywhere."""
    with pytest.raises(InvalidInputError, match="did you mean 'local_cheap'"):
        router.ask("hello", tier="local_chaep")


def test_who_does_not_want_to_wait_is_told_why_there_is_no_answer(url: str, tmp_path: Path) -> None:
    """Nothing listens at its endpoint: the question is given up, and another start does not take it up again."""
    profile = ladder(tmp_path, "http://127.0.0.1:9")
    with ModelRouter(profile, data=tmp_path / "data") as lonely:
        with pytest.raises(NoAnswerError, match=r"no answer within 0\.3 s") as caught:
            lonely.ask("hello", timeout_s=0.3)
        assert caught.value.id.startswith("ask-")
        assert not lonely.route("hello").runs
    again = ModelRouter(ladder(tmp_path, url), data=tmp_path / "data")
    with again, pytest.raises(NoAnswerError, match=r"nobody waits|cancelled"):
        again.ask("hello", id=caught.value.id, timeout_s=30)


def test_one_program_at_a_time_has_a_folder(url: str, tmp_path: Path) -> None:
    """The second is told; after the first is closed it may."""
    profile = ladder(tmp_path, url)
    first, second = (ModelRouter(profile, data=tmp_path / "data") for _ in range(2))
    first.route("hello")
    with pytest.raises(ConflictError, match="in use"):
        second.route("hello")
    first.close()
    first.close()
    assert second.route("hello").runs
    second.close()


def test_a_talk_is_summarised_by_the_ladder(router: ModelRouter) -> None:
    """`summarize` of a context manager asks the cheapest tier that may."""
    context = ContextManager("You keep a garden.")
    context.summarize = router.summarize
    for day in range(15):
        context.say("user", f"day {day}: what is next?")
        context.say("assistant", f"day {day}: row {day}")
    record = context.compact()
    assert record is not None
    assert record.by is By.MODEL
    assert context.summary.startswith("[simulated")


def test_every_face_is_imported_when_it_is_first_named() -> None:
    """`import ostler` loads nothing of it; each name that is offered can be had; others are told."""
    code = """
import sys, ostler
assert not [name for name in sys.modules if name.startswith("ostler.") and name != "ostler.version"]
assert {"ModelRouter", "BudgetTracker", "ContextManager", "TickScheduler", "Tier", "TaskType", "ContextBudget",
        "WorkingSet", "ScheduleConfig"} < set(dir(ostler))
for name in ostler.__all__:
    assert getattr(ostler, name) is not None
try:
    ostler.ModelRooter
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "module 'ostler' has no attribute 'ModelRooter'\n"


def test_who_schedules_ticks_loads_no_database() -> None:
    """`TickScheduler` and `WorkingSet` are light, as the talks are."""
    code = (
        "import sys; from ostler import ScheduleConfig, TickScheduler, WorkingSet; "
        "print([name for name in ('sqlalchemy', 'aiohttp', 'click') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_who_gives_up_asking_may_ask_again(url: str, tmp_path: Path) -> None:
    """Also while the router starts: it goes on starting, and a router that is closed meanwhile leaves its folder."""

    async def given_up(router: ModelRouter) -> bool:
        asking = asyncio.ensure_future(router.aroute("hello"))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking})
        return asking.cancelled()

    path = ladder(tmp_path, url)
    with ModelRouter(path, data=tmp_path / "data") as router:
        assert asyncio.run(given_up(router))
        assert router.route("hello").runs
    with ModelRouter(path, data=tmp_path / "data") as router:
        assert asyncio.run(given_up(router))
    with ModelRouter(path, data=tmp_path / "data") as router:
        assert router.route("hello").runs
