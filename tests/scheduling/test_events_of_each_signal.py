"""Every event that the scheduler can emit is emitted in some life, with exactly the fields of the catalogue."""

from collections.abc import Callable

import msgspec
import pytest

from ostler.domain.allowances import Reported
from ostler.domain.catalog import HostSpec, ModelSpec
from ostler.domain.event import CATALOGUE
from ostler.domain.fleet import GIB, ProbeStatus, Session, WorkerOffer
from ostler.domain.limits import BudgetPolicy, Limit, Subscription
from ostler.domain.states import FailureClass, TaskState, may_move
from ostler.domain.tasks import Attempt, TaskKind
from ostler.domain.work import Finished
from ostler.planning.guide import Guide
from ostler.planning.plan import Placement
from ostler.scheduling import signals as sig
from tests.scheduling.rig import Rig, cloud, local

Scene = Callable[[Rig], None]

OF_THE_HUB = {
    "task.submitted",
    "scheduler.classification_disagreement",
    "config.refused",
    "learning.changed",
    "call.refused",
    "call.records_dropped",
    "hub.started",
    "hub.respawn",
    "alert.raised",
    "alert.cleared",
    "alert.undelivered",
    "alert.acknowledged",
    "hub.stopped",
    "key.created",
    "key.revoked",
    "task.results_trimmed",
    "plan.kept",
}
"""Said by the shell around the scheduler."""


def _one_chat(rig: Rig) -> None:
    rig.worker()
    rig.up(local("gpu", slots=4))
    rig.chat("t")


def assigned(rig: Rig) -> None:
    _one_chat(rig)


def succeeded(rig: Rig) -> None:
    _one_chat(rig)
    rig.pass_ms(1_000)
    rig.finish("t")


def queued(rig: Rig) -> None:
    rig.command("t")


def retry_wait(rig: Rig) -> None:
    _one_chat(rig)
    rig.finish("t", FailureClass.VERIFICATION)


def reclaimed(rig: Rig) -> None:
    session = rig.worker()
    rig.command("t")
    rig.tell(sig.WorkerLeft(session_id=session))


def needs_human(rig: Rig) -> None:
    _one_chat(rig)
    rig.finish("t", FailureClass.POLICY)


def failed(rig: Rig) -> None:
    _one_chat(rig)
    rig.finish("t", FailureClass.REFUSAL)


def dead_letter(rig: Rig) -> None:
    rig.worker()
    rig.command("t", max_attempts=1)
    rig.finish("t", FailureClass.COMMAND)


def expired(rig: Rig) -> None:
    rig.chat("t", ttl_ms=5_000)
    rig.pass_ms(5_000)


def cancelled(rig: Rig) -> None:
    rig.command("t")
    rig.tell(sig.Cancel(task_id="t"))


def paused_and_resumed(rig: Rig) -> None:
    rig.command("t")
    rig.tell(sig.Pause(task_id="t"))
    rig.tell(sig.Resume(task_id="t"))


def retried(rig: Rig) -> None:
    cancelled(rig)
    rig.tell(sig.Retry(task=rig.rows["t"]))


def unanswered(rig: Rig) -> None:
    rules = msgspec.structs.replace(rig.policy.scheduler, answer_within_ms=1_000)
    rig.tell(sig.PolicyChanged(policy=msgspec.structs.replace(rig.policy, scheduler=rules)))
    needs_human(rig)
    rig.pass_ms(1_000)


def answered(rig: Rig) -> None:
    _one_chat(rig)
    rig.finish("t", FailureClass.QUESTION)
    rig.tell(sig.Answered(task=rig.rows["t"], text="the green one"))


def late(rig: Rig) -> None:
    reclaimed(rig)
    rig.report_finished("t", 1, "s1")
    rig.report_finished("nobody", 1, "s1", FailureClass.COMMAND)


def fallback(rig: Rig) -> None:
    rig.worker()
    rig.up(local("gpu"))
    rig.up(cloud(), models=("claude",))
    rig.down("gpu")
    rig.chat("t")
    rig.pass_ms(5_000)


def model_fallback(rig: Rig) -> None:
    rig.worker()
    rig.up(local("gpu"))
    rig.up(cloud(), models=("claude",))
    rig.down("anthropic")
    rig.chat("t", model="claude", fallback_models=["qwen"])
    rig.pass_ms(5_000)


def refused(rig: Rig) -> None:
    rig.worker()
    rig.refuse_next.add("t")
    rig.command("t")


def endpoint_comes_and_goes(rig: Rig) -> None:
    rig.up(local("gpu"))
    rig.down("gpu")
    rig.pass_ms(1_000)
    rig.up(local("gpu"))
    rig.tell(sig.EndpointRemoved(name="gpu"))


def breaker(rig: Rig) -> None:
    rig.worker()
    rig.up(local("gpu", slots=4))
    for number in range(3):
        rig.chat(f"t{number}")
    for number in range(3):
        rig.finish(f"t{number}", FailureClass.SERVER)
    rig.tell(sig.EndpointReset(name="gpu"))


def rate_limited(rig: Rig) -> None:
    _one_chat(rig)
    rig.finish("t", FailureClass.QUOTA, retry_after_ms=4_000)


def resident(rig: Rig) -> None:
    rig.up(local("gpu"), residents=("a",))
    rig.probe("gpu", ProbeStatus.AVAILABLE, residents=("b",))


def worker_falls_silent(rig: Rig) -> None:
    rig.worker()
    rig.pass_ms(60_000)


def worker_returns(rig: Rig) -> None:
    _one_chat(rig)
    rig.pass_ms(12_000)
    rig.tell(sig.WorkerRenewed(session_id="s1"))


def worker_resumes(rig: Rig) -> None:
    offer = WorkerOffer(name="w", host="w", slots={TaskKind.COMMAND: 1}, instance="i")
    session = Session(id="s1", offer=offer, joined_ms=rig.now_ms, renewed_ms=rig.now_ms)
    rig.tell(sig.WorkerJoined(session=session))
    rig.tell(sig.WorkerJoined(session=session))


def gathered(rig: Rig) -> None:
    rig.command("t", held=True)
    rig.tell(sig.Gather(batch="b", task_ids=("t",), limit=2))


def quiet(rig: Rig) -> None:
    rig.worker()
    rig.command("t")
    rig.start("t")
    for _ in range(130):
        rig.pass_ms(5_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))


def hub_away(rig: Rig) -> None:
    _one_chat(rig)
    rig.now_ms += 3_600_000
    rig.tell(sig.Wake())


def late_adopted(rig: Rig) -> None:
    rig.command("t")
    lost = Attempt(task_id="t", generation=0, session="s", worker="w", tier="direct", assigned_ms=rig.now_ms)
    end = Finished(task_id="t", generation=0, at_ms=rig.now_ms, ok=True)
    rig.tell(sig.AdoptLate(task=rig.rows["t"], attempt=lost, report=end))


def worker_leaves(rig: Rig) -> None:
    rig.tell(sig.WorkerLeft(session_id=rig.worker()))


def alert(rig: Rig) -> None:
    rig.up(local("gpu"))
    rig.down("gpu")
    rig.pass_ms(60_000)
    rig.up(local("gpu"))


def profile(rig: Rig) -> None:
    rig.tell(sig.PolicyChanged(policy=msgspec.structs.replace(rig.policy, version="next")))


def swap(rig: Rig) -> None:
    """One load that fails and one that goes well, instead of what is there."""
    machine = {"box": HostSpec(name="box", memory_bytes=8 * GIB)}
    models = {name: ModelSpec(name=name, memory_bytes=6 * GIB) for name in ("qwen", "claude")}
    catalog = msgspec.structs.replace(rig.policy.catalog, hosts=machine, models=models)
    rig.tell(sig.PolicyChanged(policy=msgspec.structs.replace(rig.policy, catalog=catalog)))
    rig.up(local("box"), models=("qwen",), residents=("claude",))
    rig.chat("t")
    rig.pass_ms(5_000)
    rig.load_ends("no luck")
    rig.pass_ms(30_000)
    rig.load_ends()


def planned(rig: Rig) -> None:
    """A plan that a failure leaves, one that is given up, and one that comes to its end."""
    rig.up(local("gpu"))
    rig.worker()
    rig.chat("t", batch="run")
    for batch in ("run", "other"):
        row = Placement(task="t", host="gpu", start_ms=0, end_ms=1000)
        guide = Guide(batch=batch, version=1, started_ms=0, strategy="by-hand", makespan_ms=1000, placements=(row,))
        rig.tell(sig.PlanAdopted(guide=guide))
    rig.tell(sig.PlanDropped(batch="other", reason="by hand"))
    rig.finish("t", FailureClass.SERVER)
    rig.pass_ms(5_000)
    rig.finish("t")


def limit_reached(rig: Rig) -> None:
    budget = BudgetPolicy(limits=(Limit(name="month", soft=1),))
    rig.tell(sig.PolicyChanged(policy=msgspec.structs.replace(rig.policy, budget=budget)))
    rig.worker()
    rig.up(cloud(), models=("claude",))
    rig.chat("t", tier="complex")


def window_near_its_end(rig: Rig) -> None:
    budget = BudgetPolicy(subscriptions=(Subscription(provider="anthropic"),))
    rig.tell(sig.PolicyChanged(policy=msgspec.structs.replace(rig.policy, budget=budget)))
    rig.worker()
    rig.up(cloud(), models=("claude",))
    rig.chat("t", tier="complex")
    rig.finish("t", allowances=(Reported(window="5h", used_percent=90.0, at_ms=rig.now_ms),))


SCENES: dict[str, Scene] = {
    "alert.allowance": window_near_its_end,
    "alert.budget": limit_reached,
    "plan.adopted": planned,
    "plan.left": planned,
    "plan.dropped": planned,
    "plan.ended": planned,
    "model.loading": swap,
    "model.loaded": swap,
    "model.unloaded": swap,
    "model.load_failed": swap,
    "task.queued": queued,
    "task.assigned": assigned,
    "task.started": succeeded,
    "task.evaluating": succeeded,
    "task.succeeded": succeeded,
    "task.retry_wait": retry_wait,
    "task.reclaimed": reclaimed,
    "task.needs_human": needs_human,
    "task.failed": failed,
    "task.dead_letter": dead_letter,
    "task.expired": expired,
    "task.cancelled": cancelled,
    "task.paused": paused_and_resumed,
    "task.resumed": paused_and_resumed,
    "task.retried": retried,
    "task.unanswered": unanswered,
    "task.answered": answered,
    "task.late_report": late,
    "scheduler.route": assigned,
    "scheduler.fallback": fallback,
    "scheduler.model_fallback": model_fallback,
    "scheduler.refused": refused,
    "endpoint.added": endpoint_comes_and_goes,
    "endpoint.removed": endpoint_comes_and_goes,
    "endpoint.up": endpoint_comes_and_goes,
    "endpoint.down": endpoint_comes_and_goes,
    "endpoint.breaker": breaker,
    "endpoint.rate_limited": rate_limited,
    "endpoint.resident": resident,
    "worker.joined": assigned,
    "worker.left": worker_leaves,
    "worker.suspect": worker_falls_silent,
    "worker.lost": worker_falls_silent,
    "worker.returned": worker_returns,
    "worker.resumed": worker_resumes,
    "hub.stalled": hub_away,
    "task.gathered": gathered,
    "task.quiet": quiet,
    "task.late_adopted": late_adopted,
    "alert.tier_down": alert,
    "alert.tier_up": alert,
    "config.changed": profile,
}


def test_every_event_of_the_catalogue_has_its_scene() -> None:
    """Here, or it is one of those that the shell says."""
    of_loops = {name for name in CATALOGUE if name.startswith("loop.")}
    assert set(SCENES) | OF_THE_HUB | of_loops == set(CATALOGUE)
    assert not set(SCENES) & OF_THE_HUB


@pytest.mark.parametrize("name", sorted(SCENES))
def test_an_event_carries_exactly_what_the_catalogue_says(name: str) -> None:
    """No field is missing, none is made up, and no measurement is negative."""
    rig = Rig()
    SCENES[name](rig)
    found = rig.named(name)

    assert found, f"nothing emitted {name}"
    for event in found:
        assert set(event.measurements) == set(CATALOGUE[name].measurements)
        assert set(event.metadata) == set(CATALOGUE[name].metadata)
        assert all(value >= 0 for value in event.measurements.values())
        assert event.at_ms <= rig.now_ms


@pytest.mark.parametrize("name", sorted(name for name in SCENES if name.startswith("task.")))
def test_an_event_of_a_task_names_it_and_its_states(name: str) -> None:
    """The state it is in now and the one before, from the table of transitions."""
    rig = Rig()
    SCENES[name](rig)
    for event in rig.named(name):
        assert event.task_id is not None
        state, before = event.metadata.get("state"), event.metadata.get("prev_state")
        if state is not None and before is not None:
            assert may_move(TaskState(str(before)), TaskState(str(state))), (name, before, state)


def test_what_was_measured_is_what_happened() -> None:
    """Durations are those of the clock that the signals came with."""
    rig = Rig()
    rig.chat("t")
    rig.pass_ms(3_000)
    rig.worker()
    rig.up(local("gpu"))
    rig.pass_ms(200)
    rig.start("t")
    rig.pass_ms(4_000)
    rig.finish("t")

    def measured(name: str) -> dict[str, float]:
        (event,) = rig.named(name)
        return dict(event.measurements)

    assert measured("task.assigned") == {"wait_ms": 3_000}
    assert measured("task.started") == {"start_delay_ms": 200}
    assert measured("task.evaluating") == {"duration_ms": 4_000}
    assert measured("task.succeeded") == {"duration_ms": 4_000, "attempts": 1}
    assert measured("scheduler.route")["scoring_duration_us"] == 1
