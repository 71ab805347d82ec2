"""A busy gateway beside a busy queue, played at random: everything ends, once, in its order, within the slots."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.states import FINAL_STATES, LEASED_STATES, FailureClass, WaitCode
from ostler.domain.tasks import Complexity, Priority
from ostler.scheduling import signals as sig
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import cloud, local

SLOTS = {"gpu1": 1, "gpu2": 3, "anthropic": 2}
SIDEWAYS = (FailureClass.NETWORK, FailureClass.SERVER, FailureClass.MALFORMED, FailureClass.OVERLOADED)


class Play:
    """Clients come, wait, hang up and come again; tasks run beside them; calls take the time they take."""

    def __init__(self, seed: int, *, faults: bool) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.rig = LiveRig()
        self.rig.worker(chat=8)
        self.rig.up(local("gpu1", slots=SLOTS["gpu1"]))
        self.rig.up(local("gpu2", slots=SLOTS["gpu2"]))
        self.rig.up(cloud(slots=SLOTS["anthropic"]), models=("claude",))
        self.came = 0
        self.left: set[str] = set()
        self.done: list[str] = []
        self.waited = 0

    def comes(self, wait_ms: int = 10**7) -> None:
        """One more client."""
        self.came += 1
        self.rig.call(
            f"c{self.came}",
            wait_ms=wait_ms,
            complexity=self.random.choice([Complexity.STANDARD, Complexity.STANDARD, Complexity.COMPLEX]),
            model=self.random.choice([None, None, "qwen"]),
            priority=self.random.choice([Priority.HIGH, Priority.HIGH, Priority.LOW, Priority.URGENT]),
            context_tokens=self.random.choice([200, 300, 6_000]),
        )

    def call_ends(self) -> None:
        """A call that runs ends; with faults, sometimes badly, and comes again elsewhere."""
        name = self.random.choice(sorted(self.rig.running))
        run = self.rig.running[name]
        if self.faults and run.attempt < 3 and self.random.random() < 0.2:
            self.rig.end_call(name, self.random.choice(SIDEWAYS))
            self.rig.call(name, attempt=run.attempt + 1, excluded=(run.endpoint,))
            return
        self.rig.end_call(name)
        self.done.append(name)

    def step(self) -> None:
        """Whatever happens next."""
        rig, chance = self.rig, self.random.random()
        leased = sorted(name for name, row in rig.rows.items() if row.state in LEASED_STATES)
        if chance < 0.35:
            self.comes(self.random.choice([50, 10**7]) if self.faults else 10**7)
        elif chance < 0.45:
            rig.chat(f"t{len(rig.rows)}", self.random.choice([Complexity.STANDARD, Complexity.COMPLEX]))
        elif chance < 0.75 and rig.running:
            self.call_ends()
        elif chance < 0.85 and leased:
            rig.finish(self.random.choice(leased))
        elif chance < 0.88 and (rig.running or rig.offered):
            name = self.random.choice(sorted({*rig.running, *rig.offered}))
            self.left.add(name)
            rig.hang_up(name)
        else:
            rig.pass_ms(self.random.choice([1, 20, 300]))
        self.waited += len(rig.offered)

    def check(self) -> None:
        """What holds at any instant."""
        rig = self.rig
        books = rig.scheduler.books
        taken = dict.fromkeys(SLOTS, 0)
        for run in rig.running.values():
            taken[run.endpoint] += 1
        for row in rig.rows.values():
            if row.state in LEASED_STATES and row.endpoint is not None:
                taken[row.endpoint] += 1
        assert books.in_flight == {name: used for name, used in taken.items() if used}, "a slot leaked"
        assert all(used <= SLOTS[name] for name, used in taken.items()), "a place was oversold"
        for name in rig.offered:
            standing = rig.scheduler.standing(name)
            assert standing is not None
            if standing.wait.code is WaitCode.CAPACITY:
                self._no_place_is_free(name, taken)

    def _no_place_is_free(self, name: str, taken: dict[str, int]) -> None:
        call = self.rig.scheduler.books.calls.known[name].call
        local_work = call.facts.model == "qwen" or call.facts.classification.complexity is Complexity.STANDARD
        for place in ("gpu1", "gpu2") if local_work else ("anthropic",):
            view = self.rig.scheduler.books.endpoints.views[place]
            usable = self.rig.scheduler.books.endpoints.is_usable(place) and place not in call.excluded
            assert not usable or taken[place] >= view.slots, f"{name} waits beside a free slot of {place}"

    def drain(self) -> None:
        """Nobody comes any more, and nothing fails."""
        self.faults = False
        rig = self.rig
        for _ in range(10_000):
            open_tasks = [row for row in rig.rows.values() if row.state not in FINAL_STATES]
            if not rig.running and not rig.offered and not open_tasks:
                return
            if rig.running:
                self.call_ends()
            for row in open_tasks:
                if rig.rows[row.id].state in LEASED_STATES:
                    rig.finish(row.id)
            rig.pass_ms(1_000)
            for session in sorted(rig.scheduler.books.workers.states):
                rig.tell(sig.WorkerRenewed(session_id=session))
            self.check()
        raise AssertionError(f"never ended: {sorted(rig.offered)} {sorted(rig.running)}")


def played(seed: int, *, faults: bool, steps: int = 250) -> Play:
    """A play to its end, checked after each step."""
    play = Play(seed, faults=faults)
    for _ in range(steps):
        play.step()
        play.check()
    play.drain()
    return play


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_without_faults_every_client_that_stays_is_served(seed: int) -> None:
    """Nobody is denied, nobody is served twice, and nothing is left in the books."""
    play = played(seed, faults=False)
    everybody = {f"c{number}" for number in range(1, play.came + 1)}

    assert not play.rig.denied, "a call was denied although every place was up"
    assert sorted(play.done) == sorted(everybody - play.left), "not exactly one answer for each"
    assert len(play.done) == len(set(play.done))
    assert not play.rig.scheduler.books.calls.known


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_with_faults_every_client_has_one_answer(seed: int) -> None:
    """An answer, a denial, or it has left: exactly one of the three."""
    play = played(seed, faults=True)
    everybody = {f"c{number}" for number in range(1, play.came + 1)}
    fates = [set(play.done), set(play.rig.denied), play.left]

    assert everybody == set.union(*fates), "somebody was forgotten"
    assert sum(map(len, fates)) == len(everybody), "somebody had two answers"


def test_the_plays_are_busy() -> None:
    """Many wait, some are denied, some go on elsewhere: the claims above are about something."""
    plays = [played(seed, faults=True) for seed in range(5)]

    assert sum(play.waited for play in plays) > 1_000
    assert sum(len(play.rig.denied) for play in plays) > 10
    assert sum(len(play.done) for play in plays) > 200
