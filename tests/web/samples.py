"""One small, complete world: what a hub with one local machine and one cloud would answer."""

from ostler.domain.catalog import CostClass, EndpointKind, EndpointSpec, Speeds
from ostler.domain.decision import Adjustment, Candidate, Cause, Decision, Estimate, Rejection, Route, TargetType
from ostler.domain.event import Event
from ostler.domain.fleet import (
    EndpointView,
    Health,
    HeldPhase,
    HostReport,
    Probe,
    ProbeStatus,
    Resident,
    Session,
    WorkerOffer,
)
from ostler.domain.managed import Counts, ModelQueue, ResidentView, SwapView
from ostler.domain.states import Failure, FailureClass, Outcome, TaskState, Wait, WaitCode
from ostler.domain.tasks import Attempt, Classification, Complexity, Task, TaskFacts, TaskKind, TaskSpec, Usage
from ostler.hub.fleet_views import (
    Figure,
    HostList,
    HostRow,
    LoadFailure,
    ModelChange,
    ModelList,
    ModelPlace,
    ModelRow,
    SpeedRow,
)
from ostler.hub.plan_views import PlanVersion, RunPlan
from ostler.hub.simulated import Saved
from ostler.hub.views import (
    EndpointList,
    EndpointRow,
    HubStatus,
    SettingList,
    SettingRow,
    TaskAnswer,
    TierRow,
    WaitGroup,
    Why,
    WorkerList,
    WorkerRow,
)
from ostler.planning.actual import Call, actual
from ostler.planning.figures import figures
from ostler.planning.guide import Guide, drawn, versus
from ostler.planning.plan import Episode, Placement
from ostler.residency import measured

NOW_MS = 1_700_000_100_000
GIB = 1024**3

CLASSIFICATION = Classification(
    complexity=Complexity.STANDARD,
    inferred_complexity=Complexity.STANDARD,
    task_type="code",
    source="heuristic",
    confidence=0.7,
    word_count=12,
)

SPEC = TaskSpec(id="t-one", prompt="write the parser", title="parser")


def task(task_id: str = "t-one", state: TaskState = TaskState.QUEUED, **changes: object) -> Task:
    """A task in a state, with the fields that the state demands."""
    fields: dict[str, object] = {
        "id": task_id,
        "seq": 7,
        "state": state,
        "facts": TaskFacts(id=task_id, kind=TaskKind.CHAT, classification=CLASSIFICATION),
        "created_ms": NOW_MS - 60_000,
        "updated_ms": NOW_MS - 12_000,
        "title": "parser",
    }
    if state is TaskState.QUEUED:
        fields["wait"] = WAIT
    return Task(**{**fields, **changes})  # type: ignore[arg-type]


WAIT = Wait(
    code=WaitCode.FALLBACK_WAIT,
    since_ms=NOW_MS - 12_000,
    detail="no endpoint of tier standard is up",
    next_check_ms=NOW_MS + 3_000,
)

DECISION = Decision(
    task_id="t-one",
    generation=1,
    decided_ms=NOW_MS - 30_000,
    policy_version="p1",
    profile="default",
    classification=CLASSIFICATION,
    classification_reason=CLASSIFICATION.reason,
    requested_tier="standard",
    minimum_tier="standard",
    effective_tier="strong",
    target_type=TargetType.LOCAL,
    estimated_cost_tier=CostClass.LOCAL,
    selected_endpoint="stable",
    selected_model="qwen2.5:7b",
    selected_host="box",
    adjustments=(
        Adjustment(cause=Cause.AVAILABILITY, from_tier="standard", to_tier="strong", reason="standard is down"),
    ),
    candidates=(
        Candidate(
            endpoint="stable",
            model="qwen2.5:7b",
            tier="strong",
            warm=True,
            score=1.25,
            terms={"warm": 1.15, "load": 0.9},
            estimate=Estimate(queue_ms=100, decode_ms=4_000, cost_micro_usd=0),
        ),
        Candidate(endpoint="cloud", model="big", tier="strong", rejection=Rejection.RATE_LIMITED, detail="for 30 s"),
    ),
    candidate_count=1,
    fallback_used=True,
    fallback_reason="standard is down",
    fallback_from_tier="standard",
    estimate=Estimate(queue_ms=100, decode_ms=4_000, cost_micro_usd=0),
    summary="qwen2.5:7b on stable, because standard is down.",
)

WHY = Why(
    task_id="t-one",
    headline="It runs on stable with qwen2.5:7b.",
    lines=("asked for standard", "standard is down, so strong"),
    decision=DECISION,
)

ATTEMPTS = (
    Attempt(
        task_id="t-one",
        generation=1,
        session="s-1",
        worker="box-worker",
        tier="strong",
        endpoint="stable",
        model="qwen2.5:7b",
        assigned_ms=NOW_MS - 30_000,
        started_ms=NOW_MS - 29_000,
        finished_ms=NOW_MS - 12_000,
        ok=False,
        failure=Failure(kind=FailureClass.CUT, message="the stream was cut", at_ms=NOW_MS - 12_000),
        usage=Usage(input_tokens=120, output_tokens=45),
        counted=False,
    ),
)

EVENTS = tuple(
    Event(name=name, at_ms=NOW_MS - 60_000 + 1_000 * seq, task_id="t-one", seq=seq, metadata={"state": state})
    for seq, (name, state) in enumerate([("task.submitted", "queued"), ("task.assigned", "assigned")], start=1)
)

ANSWER = TaskAnswer(
    task=task(prev_state=TaskState.RUNNING, generation=1),
    spec=SPEC,
    attempts=ATTEMPTS,
    decisions=(DECISION,),
    events=EVENTS,
    output="the first half",
    now_ms=NOW_MS,
)

SUCCEEDED = task(
    "t-done",
    TaskState.SUCCEEDED,
    seq=6,
    started_ms=NOW_MS - 50_000,
    finished_ms=NOW_MS - 40_000,
    tier="standard",
    model="qwen2.5:7b",
    endpoint="stable",
    outcome=Outcome.VERIFIED,
)

ROUTE = Route(decision=DECISION)

STABLE = EndpointSpec(
    name="stable",
    kind=EndpointKind.OLLAMA,
    url="http://127.0.0.1:11434",
    provider="ollama",
    host="box",
    local=True,
)

REPORT = HostReport(
    host="box", at_ms=NOW_MS - 4_000, cpu_percent=31.0, ram_total_bytes=32 * GIB, ram_used_bytes=8 * GIB
)

ENDPOINTS = EndpointList(
    endpoints=(
        EndpointRow(
            view=EndpointView(
                spec=STABLE,
                health=Health.UP,
                models=frozenset({"qwen2.5:7b", "llama3"}),
                residents=(Resident(model="qwen2.5:7b", size_bytes=5 * GIB),),
                checked_ms=NOW_MS - 9_000,
            ),
            in_flight=1,
            source="profile",
            report=REPORT,
        ),
    ),
    now_ms=NOW_MS,
)

PROBE = Probe(endpoint="stable", status=ProbeStatus.AVAILABLE, at_ms=NOW_MS, latency_ms=8, models=("llama3",))

OFFER = WorkerOffer(name="box-worker", host="box", slots={TaskKind.COMMAND: 2, TaskKind.CHAT: 4})
SESSION = Session(id="s-1", offer=OFFER, joined_ms=NOW_MS - 90_000, renewed_ms=NOW_MS - 2_000)
WORKERS = WorkerList(
    workers=(WorkerRow(session=SESSION, busy={TaskKind.CHAT: 1}, tasks=("t-one",), report=REPORT),), now_ms=NOW_MS
)

STATUS = HubStatus(
    version="0.1.0",
    profile="default",
    profile_path="ostler.yaml",
    policy_version="p1",
    started_ms=NOW_MS - 3_600_000,
    now_ms=NOW_MS,
    counts={"queued": 3, "running": 1, "succeeded": 12},
    in_flight=1,
    waiting=(WaitGroup(wait=WAIT, count=3, tier="standard", example="t-one"),),
    tiers=(
        TierRow(name="direct", rank=0, aliases=(), models=(), enabled=True, available=None),
        TierRow(
            name="standard",
            rank=1,
            aliases=("sonnet",),
            models=("qwen2.5:7b",),
            enabled=True,
            available=False,
            down_since_ms=NOW_MS - 20_000,
        ),
    ),
    endpoints_up=1,
    endpoints_total=2,
    workers=1,
    idle_because="no endpoint of tier standard is up",
)

SETTINGS = SettingList(
    settings=(
        SettingRow(setting="scheduler.task_ttl_ms", value="600000", origin="default"),
        SettingRow(setting="routing.fallback_wait_ms", value="2000", origin="ostler.yaml:4"),
    )
)

HOSTS = HostList(
    hosts=(
        HostRow(
            name="box",
            managed=True,
            endpoints=("stable",),
            total_bytes=32 * GIB,
            reserve_bytes=2 * GIB,
            used_bytes=25 * GIB,
            free_bytes=5 * GIB,
            residents=(
                ResidentView(
                    endpoint="stable",
                    model="qwen-latest",
                    context_tokens=131_072,
                    memory_bytes=20 * GIB,
                    phase=HeldPhase.LEAVING,
                    busy=1,
                    slots=2,
                    since_ms=NOW_MS - 4_000,
                    used_ms=NOW_MS - 20_000,
                    pinned=False,
                ),
                ResidentView(
                    endpoint="stable",
                    model="qwen-fast",
                    context_tokens=32_768,
                    memory_bytes=5 * GIB,
                    phase=HeldPhase.READY,
                    busy=0,
                    since_ms=NOW_MS - 600_000,
                    used_ms=NOW_MS - 5_000,
                    pinned=True,
                    held_until_ms=NOW_MS + 8_000,
                ),
            ),
            swap=SwapView(
                kind="load",
                endpoint="stable",
                model="qwen-quality",
                evict=("qwen-latest",),
                reason="4 waiting",
                since_ms=NOW_MS - 4_000,
                begun=False,
                ready_ms=NOW_MS + 41_000,
            ),
            queues=(
                ModelQueue(
                    model="qwen-quality",
                    waiting=4,
                    oldest_ms=NOW_MS - 95_000,
                    hosts=("box",),
                    patience_ends_ms=NOW_MS + 85_000,
                ),
            ),
            failed=(LoadFailure(model="broken", message="no such file", until_ms=NOW_MS + 30_000),),
            pins=("qwen-fast",),
            since_start=Counts(loads=7, unloads=5, swaps=4, failed=1, lost_ms=150_000),
            last_hour=Counts(loads=3, unloads=2, swaps=2, lost_ms=70_000),
        ),
        HostRow(
            name="cloud",
            managed=False,
            unmanaged_because="a cloud: nothing is loaded there",
            endpoints=("anthropic",),
        ),
    ),
    now_ms=NOW_MS,
    saved=Saved(
        tasks=14,
        minutes=9.5,
        happened_wait_ms=600_000,
        fifo_wait_ms=1_170_000,
        fifo_swaps=9,
        said="14 tasks waited 10.0 minutes in all; first-in-first-out, simulated, would have made them wait 19.5"
        " minutes, with 9 swaps: 9.5 minutes saved",
    ),
    saved_at_ms=NOW_MS - 30_000,
)

_SEEN = measured.Estimate(value=38_000.0, low=30_000.0, high=48_000.0, samples=6)

MODELS = ModelList(
    models=(
        ModelRow(
            name="qwen-latest",
            aliases=("gpt-4",),
            tiers=("standard",),
            configured=True,
            context_tokens=131_072,
            memory_bytes=20 * GIB,
            speeds=Speeds(prefill_tokens_per_s=500.0, decode_tokens_per_s=30.0, load_s=40.0, unload_s=18.0),
            places=(
                ModelPlace(
                    host="box",
                    endpoint="stable",
                    local=True,
                    phase=HeldPhase.LEAVING,
                    context_tokens=131_072,
                    memory_bytes=21 * GIB,
                    busy=1,
                ),
            ),
            measured=(
                SpeedRow(
                    host="box",
                    context_tokens=131_072,
                    load_ms=Figure(configured=40_000.0, measured=_SEEN),
                    unload_ms=Figure(configured=18_000.0),
                    prefill_tokens_per_s=Figure(configured=500.0),
                    decode_tokens_per_s=Figure(
                        configured=30.0, measured=measured.Estimate(value=24.0, low=21.0, high=28.0, samples=11)
                    ),
                ),
            ),
            succeeded=12,
            failed=1,
        ),
        ModelRow(
            name="qwen-quality",
            tiers=("strong",),
            configured=True,
            memory_bytes=20 * GIB,
            places=(ModelPlace(host="box", endpoint="stable", local=True),),
            waiting=4,
            oldest_ms=NOW_MS - 95_000,
        ),
        ModelRow(
            name="sonnet",
            configured=True,
            input_usd_per_mtok=3.0,
            output_usd_per_mtok=15.0,
            places=(ModelPlace(host="cloud", endpoint="anthropic", local=False),),
        ),
    ),
    now_ms=NOW_MS,
    counted=13,
)

CHANGE = ModelChange(
    kind="load",
    host="box",
    endpoint="stable",
    model="qwen-quality",
    evict=("qwen-latest",),
    under_way=False,
    ready_ms=NOW_MS,
    took_ms=41_000,
    now_ms=NOW_MS,
)


def run_plan(run: str) -> RunPlan:
    """One task, planned and run."""
    row = Placement(task=f"{run}.a", host="gpu-box", start_ms=20_000, end_ms=50_000)
    stay = Episode(host="gpu-box", model="qwen", load_start_ms=0, ready_ms=20_000)
    guide = Guide(
        batch=run,
        version=1,
        started_ms=NOW_MS,
        strategy="portfolio",
        makespan_ms=50_000,
        bound_ms=50_000,
        placements=(row,),
        episodes=(stay,),
        models={row.task: ("qwen",)},
        reason="start",
    )
    call = Call(label=row.task, host=row.host, model="qwen", start_ms=NOW_MS + 21_000, end_ms=NOW_MS + 55_000)
    planned = drawn(guide)
    happened = actual([call], (), started_ms=NOW_MS, until_ms=NOW_MS + 60_000)
    return RunPlan(
        run=run,
        started_ms=NOW_MS,
        now_ms=NOW_MS + 60_000,
        following=False,
        versions=(
            PlanVersion(
                version=1, made_ms=NOW_MS, strategy="portfolio", reason="start", makespan_ms=50_000, bound_ms=50_000
            ),
        ),
        rows=versus(guide, [call]),
        planned=planned,
        actual=happened,
        planned_figures=figures(planned.instance, planned.plan),
        actual_figures=figures(happened.instance, happened.plan),
    )
