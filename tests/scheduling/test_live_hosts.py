"""Live calls on managed hosts: they wait for a load as tasks do, lose patience as tasks do, and keep what they come
back for.
"""

from ostler.domain.fleet import HeldPhase
from ostler.domain.states import WaitCode
from ostler.domain.tasks import Priority, Usage
from ostler.hub.hosts_view import host_rows, model_rows
from ostler.scheduling.effects import Apply
from ostler.scheduling.host_views import host_views, model_queues
from tests.scheduling.hosts_made import ask, furnish, host, policy
from tests.scheduling.live_rig import LiveRig


def rig_with(*, slots: int = 1, loaded: tuple[str, ...] = (), **residency: object) -> LiveRig:
    """One machine that holds one large model at a time."""
    rig = LiveRig(policy(host("box"), **residency))
    furnish(rig, slots=slots, loaded=loaded)
    return rig


def test_a_call_has_its_model_loaded_and_runs_then() -> None:
    """It waits for the load with a reason; the model is named as it is loaded, and kept."""
    rig = rig_with()
    rig.call("c1", model="big")
    standing = rig.scheduler.standing("c1")
    assert standing is not None
    assert standing.wait.code is WaitCode.MODEL_SWAP
    assert "loading" in standing.wait.detail
    rig.load_ends()
    run = rig.running["c1"]

    assert (run.model, run.wait_ms, run.context_tokens) == ("big", 20_000, 32_768)
    assert run.keep_alive_s is not None


def test_a_call_waits_for_the_model_that_another_one_uses() -> None:
    """Nothing is unloaded under a call; it leaves when the call has ended."""
    rig = rig_with(loaded=("big",))
    rig.call("c1", model="big")
    rig.call("c2", model="other")
    assert not rig.loading
    rig.end_call("c1")
    rig.load_ends()

    assert rig.order == ["c1", "c2"]


def test_a_call_loses_patience_like_a_task() -> None:
    """Work that never ends for the loaded model does not keep it out for ever."""
    rig = rig_with(loaded=("big",), patience_ms=30_000)
    rig.call("a0", model="big", priority=Priority.NORMAL)
    rig.call("wants", model="other", priority=Priority.NORMAL, wait_ms=10**7)
    for number in range(1, 40):
        rig.call(f"a{number}", model="big", priority=Priority.NORMAL, wait_ms=10**7)
    while not rig.loading and rig.running:
        rig.pass_ms(2_000)
        rig.end_call(next(iter(rig.running)))
    began_ms = rig.now_ms
    rig.load_ends()

    assert "wants" in rig.running
    assert began_ms - 1_000_000 <= 40_000


def test_calls_and_tasks_that_want_one_model_want_it_together() -> None:
    """They are counted as one queue, the oldest first."""
    rig = rig_with(loaded=("other",))
    rig.call("busy", model="other")
    ask(rig, "t1", "big")
    rig.pass_ms(1_000)
    rig.call("c1", model="big")
    queue = next(queue for queue in model_queues(rig.scheduler.books, rig.now_ms) if queue.model == "big")

    assert (queue.waiting, queue.oldest_ms) == (2, 1_000_000)


def test_views_of_hosts_and_models_know_calls() -> None:
    """What runs is busy, what waits is waiting; nothing fails on a call."""
    rig = rig_with(slots=2, loaded=("big",))
    rig.call("c1", model="big")
    rig.call("c2", model="other")
    books = rig.scheduler.books
    (row,) = host_rows(books, rig.now_ms)
    models = {row.name: row for row in model_rows(books, rig.now_ms, {})}

    assert row.residents[0].busy == 1
    assert models["other"].waiting == 1
    assert [view.name for view in host_views(books, rig.now_ms)] == ["box"]


def test_a_model_whose_answer_asked_for_a_tool_is_kept_for_a_while() -> None:
    """The agent will be back; then others get their turn."""
    rig = rig_with(loaded=("big",), tool_hold_ms=10_000)
    rig.pass_ms(60_000)
    rig.call("c1", model="big")
    rig.end_call("c1", wants_tool=True)
    rig.call("c2", model="other")
    assert not rig.loading
    rig.call("c1-again", model="big")
    assert "c1-again" in rig.running
    rig.end_call("c1-again")
    rig.pass_ms(10_000)

    assert [effect.model for effect in rig.loading] == ["other"]


def test_a_call_that_is_denied_or_withdrawn_wants_nothing_more() -> None:
    """A decided swap that nobody wants any more is taken back."""
    rig = rig_with(loaded=("big",), patience_ms=1_000)
    rig.call("c1", model="big")
    rig.call("c2", model="other", wait_ms=5_000)
    rig.pass_ms(2_000)
    books = rig.scheduler.books.hosts.books["box"]
    phases = [held.phase for held in books.held.values()]
    rig.pass_ms(3_000)
    phases += [held.phase for held in books.held.values()]

    assert rig.denied["c2"].wait.code is WaitCode.MODEL_SWAP
    assert phases == [HeldPhase.LEAVING, HeldPhase.READY]
    rig.call("c3", model="other")
    rig.hang_up("c3")
    rig.end_call("c1")
    assert not rig.loading


def test_the_books_of_hosts_are_empty_when_all_calls_have_left() -> None:
    """Whatever ended them."""
    rig = rig_with(slots=3, loaded=("big",))
    for name in ("a", "b", "c"):
        rig.call(name, model="big")
    rig.end_call("a")
    rig.hang_up("b")
    rig.call("c", attempt=2, model="big")
    rig.hang_up("c")
    hosts = rig.scheduler.books.hosts

    assert (hosts.calls, hosts.due_ms) == ({}, {})


def test_speeds_that_calls_show_are_stored_now_and_then() -> None:
    """Not with every call; what came in between goes with the next one."""
    rig = rig_with(loaded=("big",))
    usage = Usage(input_tokens=1_000, output_tokens=100, prefill_ms=1_000, decode_ms=2_000)
    stored = []
    for number in range(12):
        rig.call(f"c{number}", model="big")
        before = len(rig.effects)
        rig.end_call(f"c{number}", usage=usage)
        stored.append(any(isinstance(effect, Apply) for effect in rig.effects[before:]))
        rig.pass_ms(1_000)
    seen = rig.scheduler.books.hosts.speeds.estimates("box", "big", rig.policy.catalog)

    assert stored == [number % 5 == 0 for number in range(12)]
    assert {found.samples for found in seen.values()} == {0, 12}, "nothing is forgotten"
