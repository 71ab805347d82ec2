"""Rounds: who gets the place when classes contend, what a worker is told, and what is said when nobody can take it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.decision import TargetType
from ostler.domain.fleet import ProbeStatus, Session, WorkerOffer
from ostler.domain.states import FailureClass, TaskState
from ostler.domain.tasks import Complexity, Priority, TaskKind, TaskSpec
from ostler.scheduling import signals as sig
from ostler.scheduling.holding import MAX_PARKED
from tests.scheduling.rig import Rig, cloud, local, three_tiers


def sent(rig: Rig) -> list[str]:
    """Tasks in the order in which they were assigned."""
    return [effect.command.task.id for effect in rig.sent]


def test_classes_that_contend_for_one_slot_are_served_by_priority_then_arrival() -> None:
    """Three classes (a repo and a capability make their own), one slot: the order is that of one queue."""
    rig = Rig()
    rig.worker(chat=1, capabilities=("rare",))
    rig.up(local("gpu", slots=1))
    rig.chat("running")
    for name, fields in (
        ("n1", {}),
        ("n2", {"repo": "a"}),
        ("low", {"priority": 3}),
        ("n3", {"requires": ["rare"]}),
        ("urgent", {"repo": "a", "priority": 0}),
        ("n4", {}),
        ("high", {"requires": ["rare"], "priority": 1}),
    ):
        rig.chat(name, **fields)
    order = ["urgent", "high", "n1", "n2", "n3", "n4", "low"]
    for done in ["running", *order]:
        rig.finish(done)

    assert sent(rig) == ["running", *order]


def test_a_blocked_class_does_not_block_others() -> None:
    """Urgent work that nobody can take, and a full cloud, leave the rest to run."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=2))
    rig.up(cloud(slots=1), models=("claude",))
    rig.chat("in-cloud", Complexity.COMPLEX, priority=0)
    rig.chat("cloud-full", Complexity.COMPLEX, priority=0)
    rig.chat("nobody", requires=["rare"], priority=0)
    rig.chat("here", priority=3)
    rig.command("program", priority=3)

    assert rig.wait_code("cloud-full") == "capacity"
    assert rig.wait_code("nobody") == "no_worker"
    assert rig.state("here") is TaskState.ASSIGNED
    assert rig.state("program") is TaskState.ASSIGNED


def test_a_freed_slot_goes_to_the_best_waiting_task_of_all_classes_at_once() -> None:
    """In the same turn as the report that freed it."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu", slots=1))
    rig.chat("a")
    rig.chat("b", repo="x")
    rig.chat("c", priority=1)
    rig.finish("a")

    assert sent(rig) == ["a", "c"]


def test_more_than_are_parked_at_once_still_leave_together_when_their_tier_is_back() -> None:
    """Those beyond the bound are held behind the parked ones, and miss nothing."""
    rig = Rig()
    rig.worker(chat=500)
    rig.up(local("gpu", slots=500))
    rig.up(cloud(), models=("claude",))
    rig.probe("gpu", ProbeStatus.RATE_LIMITED, retry_after_ms=3_000)
    names = [rig.chat(f"t{i:03}") for i in range(MAX_PARKED + 20)]
    assert len(rig.scheduler.books.queue.pending_fallbacks) == MAX_PARKED
    rig.pass_ms(3_000)

    assert sent(rig) == names
    assert {row.endpoint for row in rig.rows.values()} == {"gpu"}
    assert rig.named("scheduler.fallback") == []


def test_an_endpoint_that_nobody_knew_when_the_task_was_held_is_used_as_soon_as_it_offers_the_model() -> None:
    """What a class is blocked on cannot name what did not exist."""
    rig = Rig()
    rig.worker()
    rig.up(msgspec.structs.replace(local("declares-another"), models=("other",)), models=("other",))
    rig.chat("t")
    rig.pass_ms(5_000)
    assert rig.wait_code("t") == "endpoint_down"
    rig.up(local("new"))

    assert rig.rows["t"].endpoint == "new"


# -- what a worker is told ---------------------------------------------------------------------------------------------


def test_an_assignment_carries_the_route_with_its_limits() -> None:
    """Endpoint, model, the tier's output limit, and the window to ask a local engine for."""
    policy = three_tiers()
    tiers = tuple(
        msgspec.structs.replace(tier, max_output_tokens={"standard": 777, "complex": 999}.get(tier.name, 1))
        for tier in policy.catalog.tiers
    )
    rig = Rig(msgspec.structs.replace(policy, catalog=msgspec.structs.replace(policy.catalog, tiers=tiers)))
    rig.worker()
    rig.up(local("gpu"))
    rig.up(cloud(), models=("claude",))
    rig.chat("here")
    rig.chat("there", Complexity.COMPLEX)
    rig.command("program")
    here, there, program = (rig.assignment(name) for name in ("here", "there", "program"))

    assert here.route is not None
    assert (here.route.endpoint, here.route.model) == (local("gpu"), "qwen")
    assert (here.route.max_output_tokens, here.route.context_tokens, here.tier) == (777, 32_768, "standard")
    assert there.route is not None
    assert (there.route.max_output_tokens, there.route.context_tokens, there.tier) == (999, None, "complex")
    assert (program.route, program.tier) == (None, "direct")
    assert all(one.command.want_spec and one.command.decision is not None for one in (here, there, program))


def test_without_any_endpoint_the_worker_uses_its_own_access() -> None:
    """Assigned without a route."""
    rig = Rig()
    rig.worker()
    rig.chat("t")
    found = rig.assignment("t")

    assert found.route is None
    assert found.command.decision is not None
    assert found.command.decision.target_type is TargetType.WORKER


def test_the_repo_draws_to_the_machine_that_worked_on_it_last() -> None:
    """Of two equal workers the one whose working tree is warm."""
    rig = Rig()
    rig.worker("aa", command=4)
    rig.worker("zz", command=4)
    rig.command("first", repo="r", worker="zz")
    rig.finish("first")
    rig.command("second", repo="r")
    rig.command("other", repo="q")

    assert rig.rows["second"].worker == "zz"
    assert rig.rows["other"].worker == "aa"


# -- nobody can take it ------------------------------------------------------------------------------------------------


def _nobody(rig: Rig) -> None:
    rig.chat("t")


def _no_agents(rig: Rig) -> None:
    _join(rig, WorkerOffer(name="w", host="w", slots={TaskKind.COMMAND: 1}))
    rig.chat("t")


def _pinned(rig: Rig) -> None:
    rig.worker()
    rig.chat("t", worker="zoe")


def _unable(rig: Rig) -> None:
    rig.worker(capabilities=("rust",))
    rig.chat("t", requires=["rust", "gpu"])


def _unreachable(rig: Rig) -> None:
    _loopback(rig)
    rig.worker()
    rig.chat("t")


def _able_but_unreachable(rig: Rig) -> None:
    _loopback(rig)
    rig.worker(capabilities=("rust",))
    rig.chat("t", requires=["rust"])


def _unreachable_for_any_repo(rig: Rig) -> None:
    _loopback(rig)
    _join(rig, WorkerOffer(name="w", host="w", slots={TaskKind.CHAT: 1}, repos=("a",)))
    rig.chat("t")


def _other_repos(rig: Rig) -> None:
    _join(rig, WorkerOffer(name="w", host="w", slots={TaskKind.CHAT: 1}, repos=("a",)))
    rig.chat("t", repo="b")


def _join(rig: Rig, offer: WorkerOffer) -> None:
    rig.tell(sig.WorkerJoined(session=Session(id="s", offer=offer, joined_ms=rig.now_ms, renewed_ms=rig.now_ms)))


def _loopback(rig: Rig) -> None:
    rig.up(msgspec.structs.replace(local("gpu", host="studio"), url="http://localhost:11434"))


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (_nobody, "no worker has joined; 'ostler worker --hub URL' starts one"),
        (
            _no_agents,
            "no joined worker allows chat work; 'worker.allow' in its profile, or 'ostler up --allow chat'",
        ),
        (_pinned, "no joined worker named zoe takes it"),
        (_unable, "no joined worker has gpu, rust"),
        (_unreachable, "no joined worker for chat work can reach it"),
        (_able_but_unreachable, "no joined worker for chat work can reach it"),
        (_unreachable_for_any_repo, "no joined worker for chat work can reach it"),
        (_other_repos, "no joined worker for chat work has repo b"),
    ],
)
def test_what_is_missing_is_named(scene: object, words: str) -> None:
    """A person reads what to do, and a reason that is true."""
    rig = Rig()
    scene(rig)  # type: ignore[operator]
    wait = rig.scheduler.wait_of("t")

    assert wait is not None
    assert (wait.code.value, wait.detail) == ("no_worker", words)
    assert rig.rows["t"].wait == wait, "stored, so that it is in the log"


def test_a_busy_worker_is_no_missing_one() -> None:
    """Its slot is waited for, and the log is not filled with it."""
    rig = Rig()
    rig.worker(command=1)
    rig.command("a")
    rig.command("b")
    wait = rig.scheduler.wait_of("b")

    assert wait is not None
    assert (wait.code.value, wait.detail) == ("capacity", "every worker slot for command work is taken")
    assert [event.task_id for event in rig.named("task.queued")] == []
    rig.finish("a")
    assert rig.state("b") is TaskState.ASSIGNED


def test_a_reason_keeps_its_beginning_while_it_lasts() -> None:
    """However often it is looked at again, it says since when."""
    rig = Rig()
    rig.command("t", requires=["rare"])
    since_ms = rig.now_ms
    for _ in range(3):
        rig.pass_ms(7_000)
        rig.worker()
        wait = rig.scheduler.wait_of("t")
        assert wait is not None
        assert (wait.code.value, wait.since_ms) == ("no_worker", since_ms)
    assert len([event for event in rig.named("task.queued") if event.task_id == "t"]) == 1


# -- waiting that is no queueing ---------------------------------------------------------------------------------------


def test_a_task_whose_needs_are_met_before_its_time_says_that_it_waits_for_its_time() -> None:
    """Not for tasks that have succeeded; also after a pause in between."""
    rig = Rig()
    session = rig.worker()
    start_ms = rig.now_ms + 60_000
    rig.submit(
        TaskSpec(id="a", kind=TaskKind.COMMAND, argv=("true",)),
        TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",), needs=("a",), not_before_ms=start_ms),
    )
    rig.finish("a")
    for _ in range(2):
        wait = rig.scheduler.wait_of("t")
        assert wait is not None
        assert (wait.code.value, wait.next_check_ms) == ("scheduled", start_ms)
        rig.tell(sig.Pause(task_id="t"))
        assert rig.wait_code("t") == "paused"
        rig.tell(sig.Resume(task_id="t"))
    for _ in range(59):
        rig.pass_ms(1_000)
        rig.tell(sig.WorkerRenewed(session_id=session))
    rig.pass_ms(999)
    assert rig.state("t") is TaskState.QUEUED
    rig.pass_ms(1)

    assert rig.state("t") is TaskState.ASSIGNED


def test_a_need_that_is_met_is_not_named_any_more() -> None:
    """Two of three have succeeded: the reason names the third."""
    rig = Rig()
    rig.worker()
    names = ("a", "b", "c")
    rig.submit(
        *(TaskSpec(id=name, kind=TaskKind.COMMAND, argv=("true",)) for name in names),
        TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",), needs=names),
    )
    for name in ("a", "c"):
        rig.finish(name)

    wait = rig.scheduler.wait_of("t")
    assert wait is not None
    assert wait.detail == "needs b"


@pytest.mark.parametrize("ending", ["fails", "is cancelled"])
def test_a_long_chain_ends_whole_when_its_first_task_does(ending: str) -> None:
    """Three thousand tasks, each needing the one before: no stack is deep enough for recursion."""
    rig = Rig()
    specs = [
        TaskSpec(id=f"t{i}", kind=TaskKind.COMMAND, argv=("true",), needs=(f"t{i - 1}",) if i else (), max_attempts=1)
        for i in range(3_000)
    ]
    rig.submit(*specs)
    if ending == "fails":
        rig.worker()
        rig.finish("t0", FailureClass.COMMAND)
    else:
        rig.tell(sig.Cancel(task_id="t0"))

    states = [row.state for row in rig.rows.values()]
    assert states[0] is (TaskState.DEAD_LETTER if ending == "fails" else TaskState.CANCELLED)
    assert set(states[1:]) == {TaskState.CANCELLED}
    assert rig.scheduler.books.tasks == {}
    failure = rig.rows["t2999"].failure
    assert failure is not None
    assert failure.message.startswith("needs t2998, which ended as cancelled")


# -- nothing stays idle ------------------------------------------------------------------------------------------------

WORK = st.lists(
    st.tuples(
        st.sampled_from([Complexity.STANDARD, Complexity.COMPLEX, None]),
        st.sampled_from(list(Priority)),
        st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=40)
@given(work=WORK, slots=st.integers(1, 3), seats=st.integers(1, 4), ends=st.lists(st.integers(0, 99), max_size=20))
def test_no_ready_task_waits_beside_a_free_place(
    work: list[tuple[Complexity | None, Priority, bool]], slots: int, seats: int, ends: list[int]
) -> None:
    """With every endpoint up: a waiting chat has all slots of its tier, or all seats of the workers, before it."""
    rig = Rig()
    rig.worker(chat=seats, capabilities=("rare",))
    rig.up(local("gpu", slots=slots))
    rig.up(cloud(slots=slots), models=("claude",))
    for number, (complexity, priority, rare) in enumerate(work):
        rig.chat(f"t{number:02}", complexity, priority=int(priority), requires=["rare"] if rare else [])
    _conserved(rig, slots, seats)
    for pick in ends:
        running = sorted(name for name, row in rig.rows.items() if row.state is TaskState.ASSIGNED)
        if running:
            rig.finish(running[pick % len(running)])
        _conserved(rig, slots, seats)


def _conserved(rig: Rig, slots: int, seats: int) -> None:
    running = [row for row in rig.rows.values() if row.state is TaskState.ASSIGNED]
    waiting = [row for row in rig.rows.values() if row.state is TaskState.QUEUED]
    in_flight = rig.scheduler.books.in_flight
    place = {"standard": "gpu", "complex": "anthropic"}
    for row in waiting:
        hold = rig.scheduler.books.queue.class_of(row.id)
        assert hold is not None
        assert hold.hold is not None
        tier = hold.hold.decision.effective_tier
        full = in_flight.get(place[tier], 0) == slots
        assert full or len(running) == seats, f"{row.id} waits beside a free place"
