"""The context that a live call asks its engine for: as loaded where that is enough, else a size with room."""

import pytest
from msgspec.structs import replace

from ostler.domain.fleet import Probe, ProbeStatus, Resident
from ostler.domain.policy import Policy
from ostler.domain.states import WaitCode
from ostler.scheduling import signals as sig
from ostler.scheduling.engine_terms import CONTEXT_MIN_TOKENS, context_step
from tests.scheduling.live_rig import LiveRig
from tests.scheduling.rig import local, three_tiers


def unstated() -> Policy:
    """A profile that says nothing about the window of its local model."""
    policy = three_tiers()
    models = {**policy.catalog.models, "qwen": replace(policy.catalog.models["qwen"], context_tokens=None)}
    return replace(policy, catalog=replace(policy.catalog, models=models))


def rig_of(policy: Policy, loaded: int | None, *, window: int | None = None, warm: bool = True) -> LiveRig:
    """One Ollama endpoint that lists its model loaded at a context."""
    rig = LiveRig(policy)
    rig.tell(sig.EndpointAdded(spec=local("gpu1", slots=4)))
    probe = Probe(
        endpoint="gpu1",
        status=ProbeStatus.AVAILABLE,
        at_ms=rig.now_ms,
        models=("qwen",),
        residents=(Resident(model="qwen", context_tokens=loaded),) if warm else (),
        context_tokens={} if window is None else {"qwen:latest": window},
    )
    rig.tell(sig.Probed(probe=probe))
    return rig


@pytest.mark.parametrize(
    ("loaded", "need", "window", "asked"),
    [
        (8_192, 5_000, None, 8_192),
        (4_096, 5_000, None, 8_192),
        (4_096, 9_000, 10_000, 10_000),
        (None, 3_000, None, None),
        (None, 5_000, None, 8_192),
    ],
)
def test_a_call_names_a_context_that_has_room(
    loaded: int | None, need: int, window: int | None, asked: int | None
) -> None:
    """What is loaded if it is enough: no call has the engine load anew without need. Never more than the window."""
    rig = rig_of(unstated(), loaded, window=window)
    rig.call("c1", context_tokens=need)

    assert rig.running["c1"].context_tokens == asked


def test_a_model_that_is_not_loaded_is_loaded_with_room() -> None:
    """A short call leaves the size to the engine."""
    rig = rig_of(unstated(), None, warm=False)
    rig.call("long", context_tokens=20_000)
    other = rig_of(unstated(), None, warm=False)
    other.call("short", context_tokens=200)

    assert rig.running["long"].context_tokens == 32_768
    assert other.running["short"].context_tokens is None


def test_what_the_profile_states_is_loaded() -> None:
    """One size for all calls; what is loaded larger stays."""
    for loaded, asked in ((4_096, 32_768), (65_536, 65_536)):
        rig = rig_of(three_tiers(), loaded)
        rig.call("c1", context_tokens=5_000)
        assert rig.running["c1"].context_tokens == asked


def test_a_load_is_reckoned_once() -> None:
    """The next call finds the model as the first one has it loaded; a shorter one keeps the size."""
    rig = rig_of(unstated(), 4_096)
    for name, need in (("first", 9_000), ("same", 9_000), ("short", 100)):
        rig.call(name, context_tokens=need)

    assert [rig.running[name].context_tokens for name in ("first", "same", "short")] == [16_384] * 3
    assert [rig.running[name].decision.swap_needed for name in ("first", "same", "short")] == [True, False, False]


def test_a_call_too_long_for_the_model_is_denied_with_both_figures() -> None:
    """No load would help."""
    rig = rig_of(unstated(), 4_096, window=8_192)
    rig.call("c1", model="qwen", context_tokens=9_000)

    assert rig.denied["c1"].wait.code is WaitCode.NO_ROUTE
    assert "gpu1 has a window of 8192 tokens for qwen, the call needs 9000" in rig.denied["c1"].wait.detail


def test_steps_grow_by_two() -> None:
    """So that a conversation that grows has its model loaded anew a few times, not with each turn."""
    assert context_step(1) == CONTEXT_MIN_TOKENS
    assert {context_step(need) for need in range(4_097, 65_537, 111)} == {8_192, 16_384, 32_768, 65_536}
