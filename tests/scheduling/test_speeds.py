"""Speeds in the scheduler: learned from loads and calls, used by decisions, stored with the change that taught them."""

import math

from ostler.domain.catalog import Speeds
from ostler.domain.commands import PutMeasurements
from ostler.domain.measured import Measurement, Quantity
from ostler.domain.tasks import Usage
from ostler.scheduling import signals as sig
from ostler.scheduling.effects import Apply
from ostler.scheduling.speeds import samples_of
from tests.scheduling.hosts_made import SPEEDS, ask, policy, rig_with
from tests.scheduling.rig import Rig, local

USAGE = Usage(input_tokens=1_000, output_tokens=100, prefill_ms=2_000, decode_ms=10_000)


def stored(rig: Rig) -> dict[tuple[str, str, Quantity], Measurement]:
    """The newest row of each quantity that went to the store."""
    rows = {}
    for effect in rig.effects:
        if isinstance(effect, Apply) and isinstance(effect.command, PutMeasurements):
            rows.update({(row.host, row.model, row.quantity): row for row in effect.command.measurements})
    return rows


def test_a_load_teaches_how_long_loads_take() -> None:
    """What was configured as 20 s and takes 40 s is expected to take nearly that after a few loads."""
    rig = rig_with(rules=policy(min_residence_ms=0))
    for n in range(8):
        ask(rig, f"t{n}", ("big", "other")[n % 2])
        rig.load_ends(load_ms=40_000, unload_ms=5_000)
        rig.finish(f"t{n}")
    speeds = rig.scheduler.books.hosts.speeds_of("box", "big", rig.policy.catalog)

    assert math.isclose(speeds.load_s, 40.0, rel_tol=0.2)
    assert math.isclose(speeds.unload_s, 5.0, rel_tol=0.2)
    assert speeds.decode_tokens_per_s == SPEEDS.decode_tokens_per_s
    row = stored(rig)["box", "big", Quantity.LOAD_MS]
    assert (row.context_tokens, row.seen.samples) == (32_768, 4)


def test_an_engine_that_answers_an_unload_at_once_frees_the_memory_during_the_load() -> None:
    """The time of the unload is in that of the load; it is taken off, and no unload is believed to take nothing."""
    rig = rig_with(rules=policy(min_residence_ms=0))
    for n in range(10):
        ask(rig, f"t{n}", ("big", "other")[n % 2])
        rig.load_ends(load_ms=20_000 + (10_000 if n else 0), unload_ms=1)
        rig.finish(f"t{n}")
    speeds = rig.scheduler.books.hosts.speeds_of("box", "other", rig.policy.catalog)

    assert math.isclose(speeds.load_s, 20.0, rel_tol=0.05)
    assert speeds.unload_s == SPEEDS.unload_s


def test_a_call_teaches_how_fast_a_model_reads_and_writes_there() -> None:
    """Half as fast as configured: the next decision reckons with it."""
    rig = rig_with(loaded=("big",))
    for n in range(12):
        ask(rig, f"t{n}", "big")
        rig.finish(f"t{n}", usage=USAGE)
    ask(rig, "last", "big", prompt="x" * 4_000, max_output_tokens=100)
    decision = rig.assignment("last").command.decision

    assert decision is not None
    assert decision.estimate is not None
    assert math.isclose(decision.estimate.prefill_ms, 2_000, rel_tol=0.15), "500 tokens/s, not 1000"
    assert math.isclose(decision.estimate.decode_ms, 10_000, rel_tol=0.2), "10 tokens/s, not 40"


def test_speeds_survive_a_restart() -> None:
    """What was stored is what the next hub reckons with."""
    rig = rig_with(loaded=("big",))
    for n in range(5):
        ask(rig, f"t{n}", "big")
        rig.finish(f"t{n}", usage=USAGE)
    again = Rig(rig.policy)
    again.tell(sig.Restored(tasks=(), sessions=(), measurements=tuple(stored(rig).values())))

    assert again.scheduler.books.hosts.speeds.effective == rig.scheduler.books.hosts.speeds.effective


def test_another_profile_brings_other_guesses_and_keeps_what_was_measured() -> None:
    """Only what nobody has measured follows the profile."""
    rig = rig_with(loaded=("big",))
    ask(rig, "t", "big")
    rig.finish("t", usage=USAGE)
    faster = {
        name: type(spec)(name=name, memory_bytes=spec.memory_bytes, speeds=Speeds(load_s=3.0))
        for name, spec in rig.policy.catalog.models.items()
    }
    changed = policy()
    catalog = type(changed.catalog)(tiers=changed.catalog.tiers, models=faster, hosts=changed.catalog.hosts)
    rig.tell(sig.PolicyChanged(policy=type(changed)(catalog=catalog, routing=changed.routing, version="next")))
    speeds = rig.scheduler.books.hosts.speeds_of("box", "big", catalog)

    assert math.isclose(speeds.load_s, 3.0, rel_tol=0.01)
    assert speeds.decode_tokens_per_s < 20


def test_a_host_without_declared_memory_teaches_too() -> None:
    """Reading and writing are measured wherever the engine says what they took."""
    rig = Rig()
    rig.worker()
    rig.up(local("gpu"))
    rig.chat("t")
    rig.finish("t", usage=USAGE)

    assert ("gpu", "qwen", Quantity.DECODE) in stored(rig)


def test_what_says_little_is_no_sample() -> None:
    """Estimated counts, tiny prompts and the milliseconds of a model that was loaded already teach nothing."""
    assert samples_of(Usage(input_tokens=500, output_tokens=50, prefill_ms=9, decode_ms=9, estimated=True)) == {}
    assert samples_of(Usage(input_tokens=5, output_tokens=2, prefill_ms=9, decode_ms=9, load_ms=30)) == {}
    assert samples_of(Usage(input_tokens=600, cached_tokens=590, output_tokens=2, prefill_ms=9)) == {}
    assert samples_of(Usage(input_tokens=1_000, output_tokens=9, prefill_ms=500, decode_ms=300, load_ms=9_000)) == {
        Quantity.PREFILL: 2_000.0,
        Quantity.DECODE: 30.0,
        Quantity.LOAD_MS: 9_000.0,
    }
