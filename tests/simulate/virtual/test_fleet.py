"""From profiles to simulated machines."""

import msgspec
import pytest

from ostler.config.load import load_profile
from ostler.config.sources import built_in_names
from ostler.domain.errors import InvalidInputError
from ostler.domain.policy import Policy
from ostler.simulate.virtual.fleet import fleet_of, on_fleet
from tests.simulate.virtual.worlds import GB, policy


def with_models(base: Policy, **changes: object) -> Policy:
    catalog = base.catalog
    models = {name: msgspec.structs.replace(model, **changes) for name, model in catalog.models.items()}
    return msgspec.structs.replace(base, catalog=msgspec.structs.replace(catalog, models=models))


def test_a_machine_has_the_memory_of_its_host_and_the_sizes_of_the_profile() -> None:
    """To the byte: two models fit when the profile says that they do."""
    fleet = fleet_of(policy({"box": 24}))

    machine = fleet.machines["box"]
    assert machine.capacity_bytes == 24 * GB
    assert {model.name: model.resident_bytes(model.num_ctx or 0) for model in machine.models} == {
        "big": 20 * GB,
        "other": 20 * GB,
        "small": 4 * GB,
    }


def test_the_built_in_profile_of_one_host_fits_exactly() -> None:
    """A model as large as the machine can be loaded there: sizes survive the way through gibibytes."""
    machine = fleet_of(load_profile("one-host-32gb", {}).policy).machines["localhost"]

    assert machine.capacity_bytes == max(model.weights_bytes for model in machine.models) == 32 * GB
    assert machine.max_loaded == 1


def test_slots_are_those_of_the_endpoint_and_its_models() -> None:
    """A model's own slots bind where they are fewer."""
    base = policy(slots=4)
    spec = msgspec.structs.replace(base.catalog.endpoints["box-ollama"], slots_per_model={"big": 1, "small": 9})
    catalog = msgspec.structs.replace(base.catalog, endpoints={spec.name: spec})
    fleet = fleet_of(msgspec.structs.replace(base, catalog=catalog))

    slots = {model.name: model.slots for model in fleet.machines["box"].models}

    assert slots == {"big": 1, "other": 4, "small": 4}
    assert [fleet.slots("box-ollama", model) for model in ("big", "other", "small")] == [1, 4, 4]


def test_a_cloud_is_a_provider_and_no_machine() -> None:
    """It serves what it declares."""
    fleet = fleet_of(policy(cloud=True))

    assert list(fleet.machines) == ["box"]
    assert [model.name for model in fleet.providers["sky"].models] == ["claude"]
    assert fleet.serving("claude") == ("sky",)
    assert "claude" not in fleet.offers["box-ollama"]


def test_a_model_without_a_size_is_refused_where_memory_counts() -> None:
    """The message names the setting; a host without a stated memory needs no sizes."""
    unsized = with_models(policy(), memory_bytes=None)

    with pytest.raises(InvalidInputError) as refused:
        fleet_of(unsized)
    catalog = msgspec.structs.replace(unsized.catalog, hosts={})
    endless = fleet_of(msgspec.structs.replace(unsized, catalog=catalog))

    assert refused.value.where == "models.big.memory"
    assert "memory: 20GB" in refused.value.remedy
    assert endless.machines["box"].max_loaded == 3


def test_a_profile_without_endpoints_is_refused() -> None:
    """There is nothing to simulate, and the message says what to add."""
    bare = policy()
    bare = msgspec.structs.replace(bare, catalog=msgspec.structs.replace(bare.catalog, endpoints={}))

    with pytest.raises(InvalidInputError, match="no endpoint to simulate"):
        fleet_of(bare)


def test_a_policy_on_another_fleet_keeps_its_rules_and_takes_the_machines() -> None:
    """Ladder and windows are the policy's; endpoints, hosts, sizes and speeds the fleet's."""
    fleet = fleet_of(policy({"box": 24, "twin": 48}))
    mine = with_models(policy({"mine": 8}), context_tokens=1000, memory_bytes=1)

    moved = on_fleet(mine, fleet)

    assert set(moved.catalog.hosts) == {"box", "twin"}
    assert set(moved.catalog.endpoints) == {"box-ollama", "twin-ollama"}
    assert moved.catalog.models["big"].context_tokens == 1000
    assert moved.catalog.models["big"].memory_bytes == 20 * GB
    assert moved.catalog.tiers == mine.catalog.tiers


@pytest.mark.parametrize("name", sorted(built_in_names()))
def test_each_built_in_profile_can_be_simulated_or_says_what_it_lacks(name: str) -> None:
    """No profile ends in anything but a fleet or a message for people."""
    try:
        fleet = fleet_of(load_profile(name, {}).policy)
    except InvalidInputError as error:
        refused = error
    else:
        assert fleet.offers
        return
    assert refused.remedy
