"""What must hold for a simulated host whatever is asked of it and whenever, over generated machines and histories."""

from collections.abc import Callable, Iterable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.simulate.faults import Fault, FaultKind
from ostler.simulate.host_events import (
    Call,
    CallRefused,
    CallStarted,
    Decision,
    HostView,
    LoadEnded,
    LoadStarted,
    UnloadEnded,
    UnloadStarted,
)
from ostler.simulate.host_model import HostModel
from ostler.simulate.spec import SimulatedHostSpec, SimulatedModelSpec

NAMES = ("a", "b", "c", "d")
CONTEXTS = (1024, 4096)


class Step(msgspec.Struct, frozen=True):
    """One thing that happens to the host, `after_ms` later than the one before."""

    after_ms: int
    kind: str
    name: str
    num_ctx: int
    keep_alive_ms: int | None
    pick: int


class Driver:
    """Applies steps to a host, keeps the books from its decisions alone and checks them after each."""

    def __init__(self, spec: SimulatedHostSpec) -> None:
        self.spec = spec
        self.host = HostModel(spec)
        self.models = {model.key: model for model in spec.models}
        self.now_ms = self.last_ms = 0
        self.log: list[Decision] = []
        self.accepted: dict[int, Call] = {}
        self.started: dict[int, int] = {}
        self.ended: set[int] = set()
        self.in_memory: dict[tuple[str, str], int] = {}
        self.next_id = 0

    def step(self, step: Step) -> None:
        self.now_ms += step.after_ms
        if step.kind in {"finish", "cancel"}:
            self.take(self.host.advance(self.now_ms))  # which calls there are depends on what happened until now
        running = sorted(set(self.started) - self.ended)
        waiting = sorted(set(self.accepted) - set(self.started) - self.ended)
        if step.kind == "submit":
            self._submit(step)
        elif step.kind == "finish" and running:
            self._end(running[step.pick % len(running)], self.host.finish)
        elif step.kind == "cancel" and (running or waiting):
            ids = running + waiting
            self._end(ids[step.pick % len(ids)], self.host.cancel)
        elif step.kind == "expire":
            self.take(self.host.expire(step.name, self.now_ms))
        else:
            self.take(self.host.advance(self.now_ms))

    def drain(self) -> None:
        """Let everything that was accepted come to its end, and the host become empty."""
        for _ in range(10_000):
            running = sorted(set(self.started) - self.ended)
            due_ms = self.host.next_timer_ms()
            if running:
                self.now_ms = max(self.now_ms, self.started[running[0]])
                self.take(self.host.advance(self.now_ms))
                self._end(running[0], self.host.finish)
            elif due_ms is not None:
                self.now_ms = max(self.now_ms, due_ms)
                self.take(self.host.advance(self.now_ms))
            else:
                return
        raise AssertionError("the host never comes to rest")

    def take(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            at_ms = decision.timing.started_ms if isinstance(decision, CallStarted) else decision.at_ms
            assert self.last_ms <= at_ms <= self.now_ms, "decisions are out of order or in the future"
            self.last_ms = at_ms
            self.log.append(decision)
            if isinstance(decision, CallStarted):
                assert decision.call_id in self.accepted, "a call that was refused or never made is started"
                assert decision.call_id not in self.started, "a call is started twice"
                assert decision.call_id not in self.ended, "a call whose client has gone is started"
                self.started[decision.call_id] = decision.timing.ends_ms
            elif isinstance(decision, CallRefused):
                assert decision.call_id not in self.started, "a call that runs is refused"
                self.ended.add(decision.call_id)
            else:
                self._book(decision)
            assert sum(self.in_memory.values()) <= self.spec.capacity_bytes, "more memory is taken than there is"
        self._check(self.host.view())

    def _book(self, decision: Decision) -> None:
        if isinstance(decision, LoadStarted):
            assert not any(state == "loading" for _name, state in self.in_memory), "two models load at once"
            model = self.models[decision.model]
            self.in_memory[decision.model, "loading"] = model.resident_bytes(decision.num_ctx)
        elif isinstance(decision, LoadEnded):
            taken = self.in_memory.pop((decision.model, "loading"))
            if decision.error is None:
                self.in_memory[decision.model, "ready"] = taken
            elif decision.error == "aborted":
                self.in_memory[decision.model, "ready"] = taken  # leaves by an unload, which follows
        elif isinstance(decision, UnloadStarted):
            users = [i for i in set(self.started) - self.ended if self.accepted[i].model == decision.model]
            assert not users, "a model is unloaded while a call uses it"
            taken = self.in_memory.pop((decision.model, "ready"))
            key = (decision.model, f"unloading at {decision.at_ms}")
            self.in_memory[key] = self.in_memory.get(key, 0) + taken
        elif isinstance(decision, UnloadEnded):
            oldest = min(key for key in self.in_memory if key[0] == decision.model and key[1].startswith("unloading"))
            del self.in_memory[oldest]

    def _check(self, view: HostView) -> None:
        for resident in view.residents:
            assert resident.running <= resident.slots + self._load_only(resident.model), "more calls run than slots"
        waiting = sum(resident.waiting for resident in view.residents)
        assert len(view.queue) + waiting <= self.spec.max_queue, "more calls wait than the queue holds"
        assert sum(r.state == "ready" for r in view.residents) <= self.spec.max_loaded, "too many models are loaded"
        assert view.used_bytes == sum(resident.memory_bytes for resident in view.residents)

    def _load_only(self, model: str) -> int:
        running = set(self.started) - self.ended
        return sum(self.accepted[i].load_only and self.accepted[i].model == model for i in running)

    def _submit(self, step: Step) -> None:
        self.next_id += 1
        call = Call(
            call_id=self.next_id,
            model=step.name,
            num_ctx=step.num_ctx,
            prompt_tokens=step.pick,
            output_tokens=step.pick,
            keep_alive_ms=step.keep_alive_ms,
            load_only=step.pick % 5 == 0,
        )
        self.accepted[call.call_id] = call
        self.take(self.host.submit(call, self.now_ms))

    def _end(self, call_id: int, event: Callable[[int, int], list[Decision]]) -> None:
        self.ended.add(call_id)
        self.take(event(call_id, self.now_ms))


def models() -> st.SearchStrategy[tuple[SimulatedModelSpec, ...]]:
    one = st.builds(
        lambda weights, load, unload, slots: (weights, load, unload, slots),
        st.integers(1, 12),
        st.sampled_from([0.0, 0.5, 3.0]),
        st.sampled_from([0.0, 0.2, 2.0]),
        st.integers(1, 3),
    )
    return st.tuples(*[one] * len(NAMES)).map(
        lambda rows: tuple(
            SimulatedModelSpec(name=name, weights_gib=w, load_s=load, unload_s=unload, slots=slots)
            for name, (w, load, unload, slots) in zip(NAMES, rows, strict=True)
        )
    )


def hosts() -> st.SearchStrategy[SimulatedHostSpec]:
    faults = st.lists(
        st.builds(
            Fault,
            kind=st.sampled_from([FaultKind.LOAD_FAILURE, FaultKind.OUT_OF_MEMORY]),
            times=st.integers(0, 3),
            model=st.sampled_from([None, *NAMES]),
        ),
        max_size=2,
    )
    return st.builds(
        SimulatedHostSpec,
        models=models(),
        memory_gib=st.just(16.0),
        reserve_gib=st.just(1.0),
        max_loaded=st.integers(1, 3),
        max_queue=st.integers(0, 4),
        keep_alive_s=st.sampled_from([-1.0, 0.0, 2.0]),
        fit_percent=st.sampled_from([80, 100]),
        faults=faults.map(tuple),
    )


def steps() -> st.SearchStrategy[list[Step]]:
    return st.lists(
        st.builds(
            Step,
            after_ms=st.sampled_from([0, 1, 300, 2500]),
            kind=st.sampled_from(["submit", "submit", "submit", "finish", "finish", "cancel", "expire", "advance"]),
            name=st.sampled_from(NAMES),
            num_ctx=st.sampled_from(CONTEXTS),
            keep_alive_ms=st.sampled_from([None, None, 0, 1000]),
            pick=st.integers(0, 20),
        ),
        max_size=40,
    )


@given(hosts(), steps())
def test_memory_slots_and_busy_models_are_safe_in_every_history(spec: SimulatedHostSpec, history: list[Step]) -> None:
    """Memory is never exceeded from a load's start to an unload's end, no model runs more calls than it has slots, two
    models never load at once, and a model is never unloaded while a call uses it.
    """
    driver = Driver(spec)
    for step in history:
        driver.step(step)


@given(hosts(), steps())
def test_every_accepted_call_starts_or_is_refused(spec: SimulatedHostSpec, history: list[Step]) -> None:
    """Whatever happened, once running calls end and time goes on, no call is left and the host comes to rest."""
    driver = Driver(spec)
    for step in history:
        driver.step(step)

    driver.drain()

    assert driver.ended == set(driver.accepted)
    view = driver.host.view()
    assert (view.head, view.queue) == (None, ())
    assert all(resident.state == "ready" for resident in view.residents)
    assert sum(driver.in_memory.values()) == view.used_bytes


@given(hosts(), steps())
def test_equal_histories_give_equal_decisions(spec: SimulatedHostSpec, history: list[Step]) -> None:
    """The host depends on nothing but its spec and its events."""
    first, second = Driver(spec), Driver(spec)
    for step in history:
        first.step(step)
        second.step(step)

    assert first.log == second.log
    assert first.host.view() == second.host.view()


@settings(deadline=None)
@given(hosts(), steps(), st.sampled_from([13, 250, 499]))
def test_how_often_time_is_told_changes_nothing(spec: SimulatedHostSpec, history: list[Step], tick_ms: int) -> None:
    """A host that hears of every tick decides the same, at the same times, as one that hears of events only."""
    lazy, eager = Driver(spec), Driver(spec)
    for step in history:
        for at_ms in range(eager.now_ms + tick_ms, eager.now_ms + step.after_ms, tick_ms):
            eager.now_ms, before_ms = at_ms, eager.now_ms
            eager.take(eager.host.advance(at_ms))
            eager.now_ms = before_ms
        lazy.step(step)
        eager.step(step)

    assert lazy.log == eager.log
