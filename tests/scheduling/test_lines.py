"""Lines of classes that wait alike: who is first, what is left when they leave, and that one speaks for all."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from ostler.domain.decision import RouteRequest
from ostler.domain.fleet import ProbeStatus
from ostler.domain.limits import BudgetPolicy, Limit, ScopeKind, Unit, Window, WindowKind
from ostler.domain.states import WaitCode
from ostler.domain.tasks import Complexity
from ostler.routing.decide import decide
from ostler.scheduling import rounds
from ostler.scheduling import signals as sig
from ostler.scheduling.lines import Apart, Head, Lines, kin_of
from tests.scheduling.rig import Rig, cloud, local, three_tiers

KEYS = [Apart(kin, charged) for kin in ("std", "large") for charged in range(4)]
NAMES = st.sampled_from([("gpu",), ("gpu", "cloud"), ()])
BATCHES = 30


class Standing(RuleBasedStateMachine):
    """Lines beside a model that is a dictionary."""

    @initialize()
    def begin(self) -> None:
        self.lines = Lines()
        self.stands: dict[Apart, tuple[tuple[str, ...], Head | None]] = {}

    @rule(key=st.sampled_from(KEYS), names=NAMES, priority=st.integers(0, 3), parked=st.booleans())
    def put(self, key: Apart, names: tuple[str, ...], priority: int, parked: bool) -> None:
        head = None if parked else (priority, KEYS.index(key), f"t{KEYS.index(key)}")
        self.lines.put(key, kin_of(key), names, (), head)
        self.stands[key] = names, head

    @rule(key=st.sampled_from(KEYS))
    def drop(self, key: Apart) -> None:
        self.lines.drop(key)
        self.stands.pop(key, None)

    @rule(besides=st.sets(st.sampled_from(KEYS)))
    def ask_for_the_first(self, besides: set[Apart]) -> None:
        for key in self.stands:
            line = self.lines.of(key)
            assert line is not None
            heads = [
                (head, other)
                for other, (names, head) in self.stands.items()
                if head is not None and (kin_of(other), names) == (line.kin, line.names) and other not in besides
            ]
            assert line.first(besides) == min(heads, key=lambda found: found[0], default=None)

    @invariant()
    def a_class_stands_where_it_was_put(self) -> None:
        for key in KEYS:
            line = self.lines.of(key)
            assert (line is None) == (key not in self.stands)
            assert line is None or (line.kin, line.names) == (key.kin, self.stands[key][0])

    @invariant()
    def names_lead_to_who_waits_for_them_and_to_nobody_else(self) -> None:
        assert self.lines.names() == {name for names, _ in self.stands.values() for name in names}
        for name in self.lines.names():
            found = [key for line in self.lines.waiting_for(name) for key in line.members]
            assert len(found) == len(set(found))
            assert set(found) == {key for key, (names, _) in self.stands.items() if name in names}


TestStanding = Standing.TestCase
TestStanding.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_what_has_left_takes_no_room() -> None:
    """A class that comes and goes all the time leaves nothing behind in a line that lasts."""
    lines = Lines()
    lines.put("stays", "kin", ("gpu",), (), (1, 0, "a"))
    for number in range(500):
        lines.put("goes", "kin", ("gpu",), (), (2, number, f"t{number}"))
        lines.drop("goes")
    line = lines.of("stays")

    assert line is not None
    assert len(line._heap) < 40
    assert line.first(set()) == ((1, 0, "a"), "stays")


def limited() -> Rig:
    """A rig where each batch has a limit of its own, so that each is a class."""
    window = Window(kind=WindowKind.NONE)
    limit = Limit(name="a-batch", scope=ScopeKind.BATCH, window=window, unit=Unit.USD, hard=100_000_000)
    return Rig(replace(three_tiers(), budget=BudgetPolicy(limits=(limit,))))


@pytest.fixture
def decisions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that were decided for, in order."""
    made: list[str] = []

    def counted(request: RouteRequest, *others: object) -> object:
        made.append(request.facts.id)
        return decide(request, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(rounds, "decide", counted)
    return made


def waits(rig: Rig) -> set[tuple[WaitCode, str]]:
    """Why everything waits that does."""
    found = [rig.scheduler.wait_of(name) for name in rig.rows]
    return {(wait.code, wait.detail) for wait in found if wait is not None}


def test_one_decision_speaks_for_all_batches(decisions: list[str]) -> None:
    """A worker joins who suits nobody, a listing changes a place, an attempt ends: each costs what one batch would, and
    every task is told why it waits.
    """
    rig = limited()
    rig.up(local("gpu", slots=4))
    for number in range(BATCHES):
        rig.chat(f"t{number:02}", batch=f"b{number}")
    assert len(rig.scheduler.books.queue.classes) == BATCHES
    decisions.clear()

    rig.worker("other", chat=0)
    assert len(decisions) == 1
    assert {detail for _, detail in waits(rig)} == {
        "no joined worker allows chat work; 'worker.allow' in its profile, or 'ostler up --allow chat'"
    }
    decisions.clear()
    session = rig.worker("w", chat=1)
    assert decisions == ["t00", "t01"], "the first starts, and the next one's wait is that of all others"
    assert waits(rig) == {(WaitCode.CAPACITY, "every worker slot for chat work is taken")}
    decisions.clear()
    rig.finish("t00")
    assert decisions == ["t01"]
    decisions.clear()
    rig.probe("gpu", ProbeStatus.KEY_INVALID)
    rig.probe("gpu", ProbeStatus.AVAILABLE, models=("qwen",))
    rig.tell(sig.WorkerLeft(session_id=session))
    rig.worker("w", chat=2)
    assert rig.rows["t02"].session is not None


def test_where_a_limit_is_asked_each_batch_is_decided_for(decisions: list[str]) -> None:
    """What one batch may still spend says nothing about the next."""
    rig = limited()
    rig.worker(chat=1)
    rig.up(cloud(), models=("claude",))
    for number in range(3):
        rig.chat(f"t{number}", complexity=Complexity.COMPLEX, batch=f"b{number}")
    decisions.clear()
    rig.probe("anthropic", ProbeStatus.KEY_INVALID)

    assert set(decisions) >= {"t1", "t2"}


def test_a_class_whose_tasks_were_parked_and_cancelled_is_offered_places_again() -> None:
    """It waited for its fallback alone, and waits like any other then."""
    rig = Rig()
    rig.worker(chat=1)
    rig.up(local("gpu", slots=4))
    rig.up(cloud(), models=("claude",))
    rig.chat("runs")
    rig.down("gpu")
    rig.chat("parked")
    rig.chat("next")
    rig.tell(sig.Cancel(task_id="parked", reason=""))
    rig.up(local("gpu", slots=4))
    rig.finish("runs")

    assert rig.rows["next"].session is not None


def test_each_of_a_line_is_offered_a_place_once_and_again_when_more_came() -> None:
    """Whoever is through with it is not asked before the others have been."""
    lines = Lines()
    for number in range(3):
        lines.put(f"k{number}", "kin", ("gpu",), (), (2, number, f"t{number}"))
    line = lines.of("k0")
    assert line is not None

    def asked() -> list[object]:
        found = []
        while (one := line.next()) is not None:
            found.append(one[1])
        return found

    assert asked() == ["k0", "k1", "k2"]
    assert asked() == ["k0", "k1", "k2"], "what is free now is another thing"
    assert line.next() == ((2, 0, "t0"), "k0")
    line.again = True
    assert asked() == ["k1", "k2", "k0", "k1", "k2"]
    line.next()
    line.rest()
    assert asked() == ["k0", "k1", "k2"]
