"""Loads and unloads that the scheduler asks for: in order, one signal for each, whatever happens to the machine."""

import pytest

from ostler.domain.fleet import ModelAt
from ostler.domain.states import FailureClass
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import LoadModel, UnloadModel
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.ground import Ground
from ostler.simulate.virtual.records import Setting
from ostler.simulate.virtual.sites import Machine, Order
from ostler.simulate.virtual.swaps import Swaps
from ostler.simulate.virtual.timeline import START_MS
from tests.simulate.virtual.worlds import policy


class Bench:
    """A ground with swaps and nobody who schedules: what would be told to the scheduler is kept."""

    def __init__(self, hosts: dict[str, int] | None = None) -> None:
        rules = policy(hosts)
        self.ground = Ground(fleet_of(rules, keep_alive_s=-1), rules, Setting())
        self.told: list[sig.Signal] = []
        self.calls: list[tuple[str, int]] = []
        self.count = 100
        self.swaps = Swaps(self.ground, self.told.append, self.next_number)
        self.ground.furnish(self)

    def next_number(self) -> int:
        self.count += 1
        return self.count

    def began(self, number: int) -> None:
        self.calls.append(("began", number))

    def ended(self, number: int) -> None:
        if not self.swaps.ended(number):
            self.calls.append(("ended", number))

    def failed(self, number: int, kind: FailureClass, message: str, retry_after_ms: int | None) -> None:
        if not self.swaps.failed(number, message):
            self.calls.append((kind.value, number))

    def unloaded(self, site: str, model: str) -> None:
        self.swaps.unloaded(site, model)

    @property
    def machine(self) -> Machine:
        return self.ground.machines()["box"]

    def play(self, steps: int = 1000, *, quiet_ms: int = 600_000) -> None:
        """Let things happen until nothing does for so long."""
        timeline = self.ground.timeline
        for _ in range(steps):
            if not timeline._heap or timeline._heap[0][0] > timeline.time_ms + quiet_ms:
                return
            timeline.step()

    def load(self, model: str, *evict: str) -> None:
        gone = tuple(ModelAt("box-ollama", name) for name in evict)
        self.swaps.begin(LoadModel(host="box", endpoint="box-ollama", model=model, context_tokens=32_768, evict=gone))

    def unload(self, model: str) -> None:
        self.swaps.begin(UnloadModel(host="box", endpoint="box-ollama", model=model))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_load_into_empty_memory_takes_its_time(bench: Bench) -> None:
    """And is answered by one signal with the model as a listing shows it."""
    bench.load("big")
    bench.play()

    (answer,) = bench.told
    assert isinstance(answer, sig.LoadEnded)
    assert answer.ok
    assert (answer.started_ms, answer.at_ms, answer.load_ms) == (START_MS, START_MS + 20_000, 20_000)
    assert answer.resident is not None
    assert (answer.resident.model, answer.resident.context_tokens) == ("big", 32_768)
    assert (len(bench.swaps), bench.machine.figures.calls) == (0, 0)


def test_what_goes_leaves_one_after_the_other_before_the_load(bench: Bench) -> None:
    """Small leaves in 2 s, big in 10, then other loads in 20; the signal tells all of it."""
    bench.load("small")
    bench.play()
    bench.machine.call(Order(number=1, model="big", load_only=True))
    bench.play()
    started_ms = bench.ground.timeline.time_ms
    bench.load("other", "small", "big")
    bench.play()

    answer = bench.told[-1]
    assert isinstance(answer, sig.LoadEnded)
    assert [(gone.model, gone.unload_ms) for gone in answer.unloaded] == [("small", 2_000), ("big", 10_000)]
    assert (answer.at_ms - started_ms, answer.load_ms) == (32_000, 20_000)
    assert list(bench.machine.ready) == ["other"]
    assert bench.machine.figures.swaps == 1


def test_what_has_left_by_itself_is_not_waited_for(bench: Bench) -> None:
    """A model to evict that is not in memory costs nothing."""
    bench.load("big", "other")
    bench.play()

    answer = bench.told[-1]
    assert isinstance(answer, sig.LoadEnded)
    assert (answer.ok, answer.unloaded, answer.at_ms - START_MS) == (True, (), 20_000)


def test_an_unload_is_answered_too(bench: Bench) -> None:
    """With its time; one of a model that is not there at once."""
    bench.load("big")
    bench.play()
    bench.unload("big")
    bench.play()
    bench.unload("big")
    bench.play()

    first, second = bench.told[1:]
    assert isinstance(first, sig.UnloadEnded)
    assert isinstance(second, sig.UnloadEnded)
    assert (first.ok, first.unload_ms, second.ok, second.unload_ms) == (True, 10_000, True, 0)


def test_a_load_of_a_model_that_is_there_is_done_at_once(bench: Bench) -> None:
    """Nothing is loaded twice."""
    bench.load("big")
    bench.play()
    bench.load("big")
    bench.play()

    assert [answer.at_ms - START_MS for answer in bench.told if isinstance(answer, sig.LoadEnded)] == [20_000, 20_000]
    assert bench.machine.figures.loads == 1


@pytest.mark.parametrize("steps", [0, 1])
def test_a_machine_that_goes_away_fails_its_swap_once(bench: Bench, steps: int) -> None:
    """Before or after the load was begun; what comes later of it is not told."""
    bench.load("small")
    bench.play()
    bench.load("other", "small")
    bench.play(steps)
    bench.machine.fail()
    bench.swaps.lost("box")
    bench.play()

    (_, answer) = bench.told
    assert isinstance(answer, sig.LoadEnded)
    assert (answer.ok, answer.resident) == (False, None)
    assert answer.failure is not None
    assert "went away" in answer.failure.message
    assert len(bench.swaps) == 0


def test_a_load_onto_a_machine_that_is_away_fails(bench: Bench) -> None:
    """The answer says why."""
    bench.machine.fail()
    bench.load("big")
    bench.play()

    (answer,) = bench.told
    assert isinstance(answer, sig.LoadEnded)
    assert not answer.ok


def test_a_model_that_does_not_fit_fails_to_load() -> None:
    """As the machine says it."""
    bench = Bench({"box": 8})
    bench.load("big")
    bench.play()

    (answer,) = bench.told
    assert isinstance(answer, sig.LoadEnded)
    assert answer.failure is not None
    assert "more system memory" in answer.failure.message


def test_what_is_loaded_on_request_stays_longer_than_by_itself() -> None:
    """Half an hour, as the hub's drivers ask for; a call that brings no wish of its own leaves it at that."""
    bench = Bench()
    bench.ground = ground = Ground(fleet_of(policy(), keep_alive_s=60), policy(), Setting())
    bench.swaps = Swaps(ground, bench.told.append, bench.next_number)
    ground.furnish(bench)
    bench.load("big")
    bench.play(1)
    ground.timeline.at(START_MS + 100_000, lambda: bench.machine.call(Order(number=1, model="big", duration_ms=1_000)))
    bench.play(quiet_ms=10_000_000)

    (stay,) = bench.machine.stays
    assert stay.unload_start_ms == START_MS + 101_000 + 1_800_000


def test_calls_of_others_are_not_mistaken_for_loads(bench: Bench) -> None:
    """Numbers that are no load's go to whoever made the call."""
    bench.machine.call(Order(number=1, model="small", duration_ms=1_000))
    bench.play()

    assert bench.calls == [("began", 1), ("ended", 1)]
    assert bench.told == []
