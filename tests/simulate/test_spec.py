"""Simulated hosts and clouds as data."""

import msgspec
import pytest

from ostler.domain.errors import InvalidInputError
from ostler.simulate.presets import CLOUD, HOSTS, WORKSTATION
from ostler.simulate.spec import (
    BYTES_PER_GIB,
    SimulatedCloudSpec,
    SimulatedHostSpec,
    SimulatedModelSpec,
    spec_from,
)

MODEL = {"name": "m", "weights_gib": 1}


def test_a_host_is_read_from_a_mapping() -> None:
    """Faults included."""
    raw = {"models": [MODEL], "memory_gib": 8, "faults": [{"kind": "stall", "after_tokens": 3}]}

    spec = spec_from(raw, SimulatedHostSpec, where="host.yaml")

    assert spec.capacity_bytes == 6 * BYTES_PER_GIB
    assert spec.faults[0].after_tokens == 3


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({"models": [{**MODEL, "weight_gib": 1}]}, "unknown field `weight_gib`.*did you mean 'weights_gib'"),
        ({"models": [MODEL, {**MODEL, "name": "m:latest"}]}, "model `m` is named twice"),
        ({"models": [MODEL], "memory_gib": 2, "reserve_gib": 2}, "leaves nothing of 2 GiB"),
        ({"models": [{**MODEL, "slots": 0}]}, r">= 1.*models\[0\]\.slots"),
        ({"memory_gib": 2}, "missing required field `models`"),
        ({"models": [MODEL], "faults": [{"kind": "stal"}]}, "Invalid enum value 'stal'"),
        ({"models": [MODEL], "faults": [{"kind": "stall", "times": -1}]}, "must not be negative"),
        ([], "Expected `object`"),
    ],
)
def test_a_mistake_is_told_with_its_place(raw: object, says: str) -> None:
    """One message: the file, what is wrong where, and the nearest valid name."""
    with pytest.raises(InvalidInputError, match=f"^host.yaml: .*{says}"):
        spec_from(raw, SimulatedHostSpec, where="host.yaml")


@pytest.mark.parametrize(
    ("requested", "own", "expected"),
    [(None, None, 4096), (None, 8192, 8192), (512, 8192, 512), (10**6, None, 32_768), (1, None, 4)],
)
def test_the_context_of_a_request(requested: int | None, own: int | None, expected: int) -> None:
    """The request's, else the model's, else the host's; never above the trained window, never below four."""
    model = SimulatedModelSpec(name="m", weights_gib=1, num_ctx=own)

    assert model.effective_num_ctx(requested, 4096) == expected


def test_memory_grows_with_context_and_slots() -> None:
    """Weights once, the cache for every slot."""
    model = SimulatedModelSpec(name="m", weights_gib=1, slots=3, kv_bytes_per_token=1000)

    assert model.resident_bytes(4096) == BYTES_PER_GIB + 3 * 4096 * 1000


@pytest.mark.parametrize("spec", HOSTS.values(), ids=HOSTS.keys())
def test_every_preset_model_fits_its_machine(spec: SimulatedHostSpec) -> None:
    """With the context it is loaded with by default; and the preset survives being written and read."""
    for model in spec.models:
        assert model.resident_bytes(model.effective_num_ctx(None, spec.default_num_ctx)) <= spec.capacity_bytes, (
            model.name
        )
    assert spec_from(msgspec.to_builtins(spec), SimulatedHostSpec, where="preset") == spec


def test_the_large_coder_fills_the_workstation_and_the_smaller_context_leaves_room() -> None:
    """What the demo is about."""
    free = {
        model.name: WORKSTATION.capacity_bytes - model.resident_bytes(model.num_ctx or 4096)
        for model in WORKSTATION.models
    }
    small = min(
        model.resident_bytes(model.effective_num_ctx(None, 4096))
        for model in WORKSTATION.models
        if "completion" in model.capabilities
    )

    assert free["qwen2.5-coder:32b-instruct-128k"] < small
    assert free["qwen2.5-coder:32b-instruct"] > small


def test_the_preset_cloud_has_both_faces() -> None:
    """And survives being written and read."""
    assert {model.api for model in CLOUD.models} == {"openai", "anthropic"}
    assert spec_from(msgspec.to_builtins(CLOUD), SimulatedCloudSpec, where="preset") == CLOUD
