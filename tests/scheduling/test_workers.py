"""Matching a decided route to a worker: who may run it, who should, and slots that are never given twice."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ostler.domain.catalog import EndpointSpec, Reach
from ostler.domain.fleet import Session, WorkerOffer
from ostler.domain.tasks import Classification, Complexity, TaskFacts, TaskKind
from ostler.scheduling.workers import Workers
from tests.scheduling.rig import cloud, local

CHAT, COMMAND, AGENT = TaskKind.CHAT, TaskKind.COMMAND, TaskKind.AGENT
FOUND = Classification(
    complexity=Complexity.STANDARD, inferred_complexity=Complexity.STANDARD, task_type="general", source="heuristic"
)
LOOPBACK_URLS = ("http://localhost:11434", "http://127.0.0.1:11434", "http://[::1]:11434")


def facts(kind: TaskKind = CHAT, **fields: object) -> TaskFacts:
    return TaskFacts(id="t", kind=kind, classification=FOUND, **fields)  # type: ignore[arg-type]


def offer(name: str, slots: int = 2, **fields: object) -> WorkerOffer:
    base = WorkerOffer(name=name, host=name, slots={CHAT: slots, COMMAND: slots})
    return msgspec.structs.replace(base, **fields)


def joined(*offers: WorkerOffer) -> Workers:
    """All of them joined; the session of each is its name with an s before."""
    workers = Workers()
    for one in offers:
        workers.join(Session(id=f"s-{one.name}", offer=one, joined_ms=0, renewed_ms=0), 0)
    return workers


def at(url: str, host: str) -> EndpointSpec:
    return msgspec.structs.replace(local("gpu", host=host), url=url)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (facts(), "s-plain"),
        (facts(requires=frozenset({"rust"})), "s-rust"),
        (facts(requires=frozenset({"rust", "gpu"})), None),
        (facts(AGENT), "s-agents"),
        (facts(worker="rust"), "s-rust"),
        (facts(worker="plain", requires=frozenset({"rust"})), "s-plain"),
        (facts(worker="nobody"), None),
        (facts(AGENT, worker="plain"), None),
        (facts(repo="a"), "s-plain"),
        (facts(repo="b", requires=frozenset({"rust"})), None),
    ],
)
def test_a_worker_runs_what_it_allows_and_is_able_to(task: TaskFacts, expected: str | None) -> None:
    """Kind, capabilities by name, repos; a pin skips the capabilities and nothing else."""
    workers = joined(
        offer("plain", slots=3),
        offer("rust", capabilities=frozenset({"rust"}), repos=("a",)),
        WorkerOffer(name="agents", host="agents", slots={AGENT: 1}),
    )

    assert workers.match(task, None, None) == expected
    assert workers.could_match(task, None) is (expected is not None)


def test_the_order_of_preference() -> None:
    """The endpoint's machine, then the repo's, then most free slots, then the name."""
    workers = joined(offer("near", slots=1), offer("repo", slots=1), offer("big", slots=9), offer("also-big", slots=9))
    place = local("gpu", host="near")

    assert workers.match(facts(), place, "repo") == "s-near"
    assert workers.match(facts(), cloud(), "repo") == "s-repo"
    assert workers.match(facts(), None, "elsewhere") == "s-also-big"
    workers.take("s-also-big", CHAT, "t", 1)
    assert workers.match(facts(), None, None) == "s-big"


def test_a_machine_is_known_by_all_its_names() -> None:
    """An endpoint may be written by address."""
    workers = joined(offer("far", slots=9), offer("near", slots=1, host_aliases=("10.0.0.7", "near.lan")))

    for host in ("near", "10.0.0.7", "near.lan"):
        assert workers.match(facts(), local("gpu", host=host), None) == "s-near"


@pytest.mark.parametrize("url", LOOPBACK_URLS)
def test_a_loopback_endpoint_is_reached_from_its_own_machine_and_from_the_hub_only(url: str) -> None:
    """To every other worker that address means another machine."""
    place = at(url, "studio")
    stranger, neighbour = offer("stranger", slots=9), offer("studio", slots=1)
    inside = offer("inside", slots=1, builtin=True)

    assert joined(stranger).match(facts(), place, None) is None
    assert not joined(stranger).could_match(facts(), place)
    assert joined(stranger, neighbour).match(facts(), place, None) == "s-studio"
    assert joined(stranger, inside).match(facts(), place, None) == "s-inside"


@pytest.mark.parametrize("url", [*LOOPBACK_URLS, "http://10.0.0.7:11434"])
def test_what_only_its_workers_reach_is_for_workers_of_its_machine(url: str) -> None:
    """Neither for a stranger nor for the one inside the hub, whatever the address; it is, where that is its machine."""
    place = msgspec.structs.replace(at(url, "studio"), reached_by=Reach.WORKER)
    stranger, neighbour = offer("stranger", slots=9), offer("studio", slots=1)
    inside = offer("inside", slots=9, builtin=True)

    assert joined(stranger, inside).match(facts(), place, None) is None
    assert not joined(stranger, inside).could_match(facts(), place)
    assert joined(stranger, inside, neighbour).match(facts(), place, None) == "s-studio"
    at_home = msgspec.structs.replace(place, host="inside")
    assert joined(stranger, inside, neighbour).match(facts(), at_home, None) == "s-inside"


@pytest.mark.parametrize("place", [local("gpu", host="gpu"), cloud(), None])
def test_an_address_that_others_can_reach_asks_for_no_particular_machine(place: EndpointSpec | None) -> None:
    """And a cloud even less."""
    assert joined(offer("stranger")).match(facts(), place, None) == "s-stranger"


def test_a_pin_does_not_make_a_loopback_address_reachable() -> None:
    """The user's wish cannot change what an address means."""
    place = at(LOOPBACK_URLS[0], "studio")

    assert joined(offer("stranger")).match(facts(worker="stranger"), place, None) is None


def test_a_suspect_worker_gets_nothing_but_could_again() -> None:
    """So its work waits for capacity, not for a worker nobody has."""
    workers = joined(offer("w"))
    workers.set_suspect("s-w", 5)
    assert workers.match(facts(), None, None) is None
    assert workers.could_match(facts(), None)
    workers.set_suspect("s-w", None)
    assert workers.match(facts(), None, None) == "s-w"


def test_a_worker_that_says_again_what_it_offers_keeps_its_attempts() -> None:
    """More slots at once, and no longer suspect."""
    workers = joined(offer("w", slots=1))
    workers.take("s-w", CHAT, "t", 1)
    workers.set_suspect("s-w", 5)
    assert workers.match(facts(), None, None) is None
    workers.join(Session(id="s-w", offer=offer("w", slots=2), joined_ms=0, renewed_ms=5), 5)

    assert workers.match(facts(), None, None) == "s-w"
    assert workers.states["s-w"].attempts == {"t": 1}
    assert workers.states["s-w"].free(CHAT) == 1


def test_a_slot_is_freed_once() -> None:
    """By whoever comes first; the second one is told so."""
    workers = joined(offer("w", slots=1))
    workers.take("s-w", CHAT, "t", 1)
    assert workers.release("s-w", CHAT, "t")
    assert not workers.release("s-w", CHAT, "t")
    assert not workers.release("s-nobody", CHAT, "t")
    assert workers.states["s-w"].free(CHAT) == 1
    workers.take("s-w", CHAT, "t", 2)
    state = workers.leave("s-w")
    assert state is not None
    assert state.attempts == {"t": 2}
    assert workers.leave("s-w") is None
    assert workers.match(facts(), None, None) is None


NAMES = st.sampled_from(["a", "b", "c", "d"])
ABILITIES = st.frozensets(st.sampled_from(["rust", "gpu"]))
REPOS = st.sampled_from([(), ("r",), ("r", "q")])
OFFERS = st.lists(
    st.builds(
        offer,
        NAMES,
        slots=st.integers(0, 3),
        capabilities=ABILITIES,
        repos=REPOS,
        builtin=st.booleans(),
        host=NAMES,
        host_aliases=st.sampled_from([(), ("localhost",)]),
    ),
    max_size=4,
    unique_by=lambda one: one.name,
)
TASKS = st.builds(
    facts,
    st.sampled_from(list(TaskKind)),
    requires=ABILITIES,
    worker=st.one_of(st.none(), NAMES),
    repo=st.sampled_from([None, "r", "q", "z"]),
)
TIED = st.one_of(
    st.builds(at, st.sampled_from(LOOPBACK_URLS), NAMES),
    NAMES.map(lambda host: msgspec.structs.replace(local("gpu", host=host), reached_by=Reach.WORKER)),
)
PLACES = st.one_of(st.none(), st.just(cloud()), st.builds(at, st.sampled_from(LOOPBACK_URLS), NAMES), NAMES.map(local))


@settings(max_examples=200)
@given(OFFERS, TASKS, PLACES, st.one_of(st.none(), NAMES))
def test_the_match_is_the_best_of_all_that_suit(
    offers: list[WorkerOffer], task: TaskFacts, place: EndpointSpec | None, repo_host: str | None
) -> None:
    """Against the rules written as one scan; a match is also a possible match."""

    def suits(one: WorkerOffer) -> bool:
        able = one.name == task.worker if task.worker is not None else task.requires <= one.capabilities
        knows = task.repo is None or not one.repos or task.repo in one.repos
        names = {one.host, *one.host_aliases}
        near = place is None or place.host in names
        loopback = place is not None and place.local and any(part in place.url for part in ("localhost", "127.", "::1"))
        return able and knows and (near or one.builtin or not loopback)

    def rank(one: WorkerOffer) -> tuple[bool, bool, int, str]:
        names = {one.host, *one.host_aliases}
        return (
            not (place is not None and place.host in names),
            not (repo_host is not None and repo_host in names),
            -one.slots.get(task.kind, 0),
            one.name,
        )

    workers = joined(*offers)
    able = sorted((one for one in offers if one.slots.get(task.kind, 0) > 0 and suits(one)), key=rank)

    assert workers.match(task, place, repo_host) == (f"s-{able[0].name}" if able else None)
    assert workers.could_match(task, place) is bool(able)
    assert workers.offers(task.kind) == [one for one in offers if one.slots.get(task.kind, 0) > 0]


@settings(max_examples=200)
@given(OFFERS, TASKS, st.lists(TIED, max_size=3))
def test_a_tied_endpoint_is_unreached_while_no_match_there_is_free(
    offers: list[WorkerOffer], task: TaskFacts, places: list[EndpointSpec]
) -> None:
    """Against a match for each; where nobody at all is free the place does not matter, and an agent's never does."""
    places = [msgspec.structs.replace(place, name=f"e{number}") for number, place in enumerate(places)]
    workers = joined(*offers)
    is_anybody_free = any(one.slots.get(task.kind, 0) > 0 for one in offers)
    expected = {place.name for place in places if workers.match(task, place, None) is None}

    assert workers.unreached(task, places) == (
        expected if is_anybody_free and task.kind is not TaskKind.AGENT else set()
    )


class Slots(RuleBasedStateMachine):
    """Workers join, leave, fall silent and speak; attempts are given by matching only."""

    @initialize()
    def begin(self) -> None:
        self.workers = Workers()
        self.offers: dict[str, WorkerOffer] = {}
        self.silent: set[str] = set()
        self.running: dict[str, tuple[str, TaskKind]] = {}
        self.count = 0

    @rule(name=NAMES, slots=st.integers(1, 2))
    def join(self, name: str, slots: int) -> None:
        session_id = f"s-{name}"
        if session_id not in self.offers:
            self.offers[session_id] = offer(name, slots=slots)
            self.workers.join(Session(id=session_id, offer=self.offers[session_id], joined_ms=0, renewed_ms=0), 0)

    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        state = self.workers.leave(f"s-{name}")
        held = {task for task, (session, _) in self.running.items() if session == f"s-{name}"}
        assert set(state.attempts if state is not None else ()) == held
        self.running = {task: place for task, place in self.running.items() if task not in held}
        self.offers.pop(f"s-{name}", None)
        self.silent.discard(f"s-{name}")

    @precondition(lambda self: self.offers)
    @rule(pick=st.integers(0, 9), suspect=st.booleans())
    def falls_silent_or_speaks(self, pick: int, suspect: bool) -> None:
        session_id = sorted(self.offers)[pick % len(self.offers)]
        self.workers.set_suspect(session_id, 5 if suspect else None)
        (self.silent.add if suspect else self.silent.discard)(session_id)

    @rule(kind=st.sampled_from([CHAT, COMMAND]))
    def assign(self, kind: TaskKind) -> None:
        session_id = self.workers.match(facts(kind), None, None)
        if session_id is None:
            return
        self.count += 1
        self.workers.take(session_id, kind, f"t{self.count}", 1)
        self.running[f"t{self.count}"] = (session_id, kind)

    @precondition(lambda self: self.running)
    @rule(pick=st.integers(0, 99))
    def ends(self, pick: int) -> None:
        task = sorted(self.running)[pick % len(self.running)]
        session_id, kind = self.running.pop(task)
        assert self.workers.release(session_id, kind, task)

    @invariant()
    def free_slots_are_what_is_left_and_never_negative(self) -> None:
        for session_id, one in self.offers.items():
            for kind in (CHAT, COMMAND):
                used = sum(place == (session_id, kind) for place in self.running.values())
                assert self.workers.states[session_id].free(kind) == one.slots[kind] - used >= 0

    @invariant()
    def a_free_slot_of_a_worker_that_speaks_is_found(self) -> None:
        for kind in (CHAT, COMMAND):
            free = any(
                self.workers.states[session_id].free(kind) > 0
                for session_id in self.offers
                if session_id not in self.silent
            )
            assert (self.workers.match(facts(kind), None, None) is not None) is free


TestSlots = Slots.TestCase
TestSlots.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_an_agent_works_at_the_machine_of_its_model() -> None:
    """Of those that may run it, the worker beside the decided endpoint is preferred, by any name of its machine. When
    that one is full or silent, another takes it: its calls go through the hub's gateway from anywhere.
    """
    slots = {AGENT: 1}
    beside = WorkerOffer(name="z-beside", host="box", host_aliases=("10.0.0.5", "gpu.lan"), slots=slots)
    workers = joined(WorkerOffer(name="a-far", host="a-far", slots=slots), beside)
    for host in ("box", "10.0.0.5", "gpu.lan"):
        assert workers.match(facts(AGENT), at("http://10.0.0.5:11434", host), None) == "s-z-beside"
    assert workers.match(facts(AGENT), at("http://elsewhere:1", "elsewhere"), None) == "s-a-far"
    workers.set_suspect("s-z-beside", 5)
    assert workers.match(facts(AGENT), at("http://10.0.0.5:11434", "box"), None) == "s-a-far"
    workers.set_suspect("s-z-beside", None)
    workers.take("s-z-beside", AGENT, "other", 1)

    assert workers.match(facts(AGENT), at("http://10.0.0.5:11434", "box"), None) == "s-a-far"


def test_a_slot_of_one_kind_is_none_of_another() -> None:
    """Taking and freeing it changes the place of the worker for that kind alone."""
    workers = joined(offer("a", 1), offer("b", 1))
    workers.take("s-a", CHAT, "t", 1)
    assert (workers.match(facts(CHAT), None, None), workers.match(facts(COMMAND), None, None)) == ("s-b", "s-a")
    workers.take("s-a", COMMAND, "u", 1)
    workers.take("s-b", CHAT, "v", 1)
    assert (workers.match(facts(CHAT), None, None), workers.match(facts(COMMAND), None, None)) == (None, "s-b")
    assert workers.release("s-a", CHAT, "t")
    assert (workers.match(facts(CHAT), None, None), workers.match(facts(COMMAND), None, None)) == ("s-a", "s-b")
