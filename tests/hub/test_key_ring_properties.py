"""What a hub knows of its keys while it runs is what it would know if it began anew, whatever happened."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.domain.commands import PruneCalls, PutCalls
from ostler.domain.live import GatewayKey
from ostler.hub.key_ring import KeyRing
from ostler.hub.windows import DAY_MS, WINDOWS, window_of
from ostler.store.memory_gateway import MemoryGateway
from tests.store.rows_made import make_call, make_key

KEYS = tuple(make_key(window, f"h-{window}", limit_window=window, limit_micro_usd=50) for window in WINDOWS)
START_MS = 1_700_000_000_000

PASSES = st.tuples(st.just("pass"), st.sampled_from([1, 3_600_000, DAY_MS // 2, DAY_MS, 20 * DAY_MS]))
CALLS = st.tuples(
    st.just("call"),
    st.sampled_from([*WINDOWS, ""]),
    st.sampled_from([0, 1, DAY_MS, 40 * DAY_MS]),
    st.none() | st.integers(0, 30),
)
PRUNES = st.tuples(st.just("prune"), st.sampled_from([0, DAY_MS // 2, 31 * DAY_MS]), st.integers(0, 4))


class World:
    """A ring and a store that are told the same."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self.store = MemoryGateway()
        self.ring = self.begun_anew()
        self.calls = 0

    def begun_anew(self) -> KeyRing:
        """As `GatewayDesk.start` does it."""
        ring = KeyRing(lambda: self.now_ms)
        spent = {
            key.name: self.store.key_spend(window_of(key.limit_window, self.now_ms).since_ms).micro_usd.get(key.name, 0)
            for key in KEYS
        }
        ring.load(KEYS, spent, self.store.key_spend(0))
        return ring

    def do(self, step: tuple[object, ...]) -> None:
        """One step of a life."""
        match step:
            case ("pass", int(duration_ms)):
                self.now_ms += duration_ms
            case ("call", str(name), int(took_ms), cost):
                self.calls += 1
                record = make_call(f"c-{self.calls:05}", at_ms=self.now_ms - took_ms, key=name, cost_micro_usd=cost)
                self.ring.charge(record)
                self.store.put_calls(PutCalls(records=(record,)))
            case ("prune", int(age_ms), int(limit)):
                self.store.prune_calls(PruneCalls(before_ms=self.now_ms - age_ms, limit=limit))


def known(ring: KeyRing, key: GatewayKey) -> tuple[object, ...]:
    use = ring.use(key)
    return use.window, use.micro_usd, use.calls, use.last_ms


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(CALLS | CALLS | PASSES | PRUNES, max_size=30))
def test_a_hub_that_begins_anew_knows_what_the_running_one_knows(steps: list[tuple[object, ...]]) -> None:
    """Spending, calls and last use of every key agree after every step: over windows, long calls and pruning."""
    world = World()

    for step in steps:
        world.do(step)
        anew = world.begun_anew()
        for key in KEYS:
            assert known(world.ring, key) == known(anew, key), f"key {key.name} after {step}"
