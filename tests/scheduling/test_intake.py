"""Priorities, needs, time to live, pauses, start times, alerts and restarts."""

from ostler.domain.fleet import GIB, HostReport, ProbeStatus, Session, WorkerOffer
from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import Complexity, TaskKind
from ostler.scheduling import Scheduler
from ostler.scheduling import signals as sig
from tests.scheduling.rig import HandClock, Rig, cloud, local, three_tiers


def test_urgent_before_high_before_normal_and_first_in_first_out() -> None:
    """The order of service."""
    rig = Rig()
    for name, priority in (("n1", 2), ("l", 3), ("h", 1), ("u", 0), ("n2", 2)):
        rig.command(name, priority=priority)
    rig.worker(command=5)

    assert [effect.command.task.id for effect in rig.sent] == ["u", "h", "n1", "n2", "l"]


def test_a_task_runs_when_all_it_needs_has_succeeded() -> None:
    """And says what it waits for until then."""
    rig = Rig()
    rig.worker()
    rig.command("a")
    rig.command("b")
    rig.finish("a")
    rig.finish("b")
    rig2 = Rig()
    rig2.worker()
    from ostler.domain.tasks import TaskSpec

    rig2.submit(
        TaskSpec(id="a", kind=TaskKind.COMMAND, argv=("true",)),
        TaskSpec(id="b", kind=TaskKind.COMMAND, argv=("true",)),
        TaskSpec(id="c", kind=TaskKind.COMMAND, argv=("true",), needs=("a", "b")),
    )
    wait = rig2.scheduler.wait_of("c")
    assert wait is not None
    assert wait.detail == "needs a, b"
    rig2.finish("a")
    assert rig2.state("c") is TaskState.QUEUED
    rig2.finish("b")
    assert rig2.state("c") is TaskState.ASSIGNED


def test_what_needs_a_dead_task_ends_with_the_reason_and_an_optional_one_is_skipped() -> None:
    """Nobody waits for ever for something that cannot come."""
    from ostler.domain.tasks import TaskSpec

    rig = Rig()
    rig.worker()
    rig.submit(
        TaskSpec(id="a", kind=TaskKind.COMMAND, argv=("true",), max_attempts=1),
        TaskSpec(id="o", kind=TaskKind.COMMAND, argv=("true",), max_attempts=1, optional=True),
        TaskSpec(id="b", kind=TaskKind.COMMAND, argv=("true",), needs=("a",)),
        TaskSpec(id="c", kind=TaskKind.COMMAND, argv=("true",), needs=("b",)),
        TaskSpec(id="d", kind=TaskKind.COMMAND, argv=("true",), needs=("o",)),
    )
    rig.finish("a", FailureClass.COMMAND)
    rig.finish("o", FailureClass.COMMAND)

    assert rig.state("b") is TaskState.CANCELLED
    assert rig.state("c") is TaskState.CANCELLED
    failure = rig.rows["b"].failure
    assert failure is not None
    assert failure.kind is FailureClass.DEPENDENCY
    assert "needs a" in failure.message
    assert rig.state("d") is TaskState.ASSIGNED


def test_the_time_to_live_counts_from_the_moment_a_task_became_eligible() -> None:
    """Waiting for needs, and pauses, do not count."""
    from ostler.domain.tasks import TaskSpec

    rig = Rig()
    rig.worker()
    rig.submit(
        TaskSpec(id="a", kind=TaskKind.COMMAND, argv=("true",)),
        TaskSpec(id="b", prompt="x", complexity=Complexity.STANDARD, needs=("a",), requires=frozenset({"none"})),
    )
    rig.tell(sig.WorkerRenewed(session_id="s1"))
    rig.start("a")
    for _ in range(300):
        rig.pass_ms(3_000)
        rig.tell(sig.WorkerRenewed(session_id="s1"))
    assert rig.state("b") is TaskState.QUEUED
    rig.finish("a")
    rig.pass_ms(599_999)
    assert rig.state("b") is TaskState.QUEUED
    rig.pass_ms(1)
    assert rig.state("b") is TaskState.EXPIRED


def test_work_that_needs_no_model_never_expires() -> None:
    """A command waits for a worker as long as it takes."""
    rig = Rig()
    rig.command("t")
    rig.pass_ms(3_600_000)

    assert rig.state("t") is TaskState.QUEUED
    assert rig.wait_code("t") == "no_worker"


def test_a_paused_task_does_not_start_and_resumes() -> None:
    """Its reason says paused."""
    rig = Rig()
    rig.command("t")
    rig.tell(sig.Pause(task_id="t"))
    rig.worker()
    assert rig.state("t") is TaskState.QUEUED
    assert rig.wait_code("t") == "paused"
    rig.tell(sig.Resume(task_id="t"))

    assert rig.state("t") is TaskState.ASSIGNED


def test_pausing_twice_and_resuming_what_is_not_paused_change_nothing() -> None:
    """Safe to repeat."""
    rig = Rig()
    rig.command("t")
    rig.tell(sig.Pause(task_id="t"))
    before = len(rig.events)
    rig.tell(sig.Pause(task_id="t"))
    assert len(rig.events) == before
    rig.tell(sig.Resume(task_id="t"))
    before = len(rig.events)
    rig.tell(sig.Resume(task_id="t"))
    assert len(rig.events) == before


def test_a_task_does_not_start_before_its_time() -> None:
    """Scheduled, then queued."""
    rig = Rig()
    session = rig.worker()
    rig.command("t", not_before_ms=rig.now_ms + 9_000)
    assert rig.state("t") is TaskState.SCHEDULED
    rig.pass_ms(8_999)
    rig.tell(sig.WorkerRenewed(session_id=session))
    assert rig.state("t") is TaskState.SCHEDULED
    rig.pass_ms(1)

    assert rig.state("t") is TaskState.ASSIGNED


def test_one_alert_after_the_threshold_and_one_on_recovery() -> None:
    """Blips are silent."""
    rig = Rig()
    rig.up(local("gpu"))
    rig.up(cloud(), models=("claude",))
    rig.down("gpu")
    rig.pass_ms(59_999)
    assert rig.named("alert.tier_down") == []
    rig.pass_ms(1)
    (alert,) = rig.named("alert.tier_down")
    assert alert.metadata == {"tier": "standard"}
    assert alert.measurements == {"down_ms": 60_000}
    rig.pass_ms(600_000)
    assert len(rig.named("alert.tier_down")) == 1
    rig.up(local("gpu"))
    assert len(rig.named("alert.tier_up")) == 1


def test_a_blip_raises_no_alert() -> None:
    """Back before the threshold: nothing, and nothing later."""
    rig = Rig()
    rig.up(local("gpu"))
    rig.down("gpu")
    rig.pass_ms(59_000)
    rig.up(local("gpu"))
    rig.pass_ms(600_000)

    assert rig.named("alert.tier_down") == []
    assert rig.named("alert.tier_up") == []


def test_no_endpoint_gets_more_than_its_slots() -> None:
    """In-flight work is counted, in the same round too."""
    rig = Rig()
    rig.worker(chat=50)
    rig.up(local("a", slots=2))
    rig.up(local("b", slots=1))
    for i in range(10):
        rig.chat(f"t{i}")

    assert rig.scheduler.books.in_flight == {"a": 2, "b": 1}
    assert rig.wait_code("t9") == "capacity"


def test_a_worker_on_the_endpoints_host_is_preferred() -> None:
    """The run happens where the decision says."""
    rig = Rig()
    rig.worker("far")
    rig.worker("near", host="gpu")
    rig.up(local("gpu"))
    rig.chat("t")

    assert rig.rows["t"].worker == "near"


def test_an_endpoint_that_comes_into_being_is_used() -> None:
    """Registration and first listing trigger a round; unchecked is not used."""
    rig = Rig()
    rig.worker()
    rig.tell(sig.EndpointAdded(spec=local("gpu")))
    rig.chat("t")
    assert rig.state("t") is TaskState.QUEUED
    rig.probe("gpu", ProbeStatus.AVAILABLE, models=("qwen",))

    assert rig.state("t") is TaskState.ASSIGNED


def test_a_changed_profile_is_obeyed_by_what_waits() -> None:
    """A tier that is switched off is left by the tasks that wait for it."""
    rig = Rig()
    rig.worker()
    rig.up(cloud(), models=("claude",))
    rig.tell(sig.EndpointAdded(spec=local("gpu")))
    rig.chat("t")
    policy = three_tiers()
    import msgspec

    tiers = tuple(msgspec.structs.replace(tier, enabled=tier.name != "standard") for tier in policy.catalog.tiers)
    rig.policy = msgspec.structs.replace(policy, catalog=msgspec.structs.replace(policy.catalog, tiers=tiers))
    rig.tell(sig.PolicyChanged(policy=rig.policy))

    assert rig.rows["t"].tier == "complex"
    assert not rig.rows["t"].fallback_used


def test_a_restart_takes_everything_up_again() -> None:
    """Queued work waits on, a built-in worker's attempts are taken back, a remote worker's go on."""
    rig = Rig()
    rig.worker("remote", command=1)
    builtin = Session(
        id="b",
        offer=WorkerOffer(name="builtin", host="hub", slots={TaskKind.COMMAND: 1}, builtin=True),
        joined_ms=rig.now_ms,
        renewed_ms=rig.now_ms,
    )
    rig.tell(sig.WorkerJoined(session=builtin))
    for name in ("a", "b", "c"):
        rig.command(name)
    held = {row.session: name for name, row in rig.rows.items() if row.session}
    assert set(held) == {"s1", "b"}
    rig.start(held["s1"])
    rig.start(held["b"])
    sessions = tuple(state.session for state in rig.scheduler.books.workers.states.values())

    rig.scheduler = Scheduler(rig.policy, HandClock())
    rig.tell(sig.Restored(tasks=tuple(rig.rows.values()), sessions=sessions))
    assert rig.state(held["s1"]) is TaskState.RUNNING
    assert rig.state(held["b"]) is TaskState.QUEUED
    rig.finish(held["s1"])
    assert rig.state(held["s1"]) is TaskState.SUCCEEDED
    assert "b" not in rig.scheduler.books.workers.states
    assert rig.rows[held["b"]].session == "s1"


def test_a_host_report_is_found_under_every_name_of_the_machine() -> None:
    """A load that arrives is used: an endpoint at localhost is on the machine of the worker inside the hub."""
    rig = Rig()
    offer = WorkerOffer(
        name="w", host="studio", host_aliases=("localhost", "10.0.0.7"), slots={TaskKind.CHAT: 4}, builtin=True
    )
    rig.tell(sig.WorkerJoined(session=Session(id="s", offer=offer, joined_ms=rig.now_ms, renewed_ms=rig.now_ms)))
    report = HostReport(host="studio", at_ms=rig.now_ms, cpu_percent=20.0, ram_total_bytes=32 * GIB)
    rig.tell(sig.WorkerRenewed(session_id="s", report=report))
    rig.up(local("gpu", host="localhost"), residents=("qwen",))
    rig.chat("t")

    decision = rig.assignment("t").command.decision
    assert decision is not None
    (chosen,) = decision.candidates
    assert round(chosen.terms["load_score"], 6) == round(0.8 * 1.5 * 0.9 * 1.15, 6)
