"""What a profile implies: endpoints, models, costs, aliases, complexities; nothing has to be said twice."""

import pytest

from ostler.config.providers import known_providers
from ostler.domain.catalog import DIRECT, Capability, Catalog, ChoiceRule, CostClass, EndpointKind, Speeds, TierSpec
from ostler.domain.policy import FallbackDirection, RoutingPolicy, SchedulerPolicy, ScoreWeights
from ostler.domain.tasks import TaskKind
from tests.config.support import EVERYTHING, HOME, ONE_TIER, loaded


def catalog(text: str) -> Catalog:
    return loaded(text).policy.catalog


def tier(text: str, name: str) -> TierSpec:
    return next(spec for spec in catalog(text).tiers if spec.name == name)


def ladder(*tiers: str) -> str:
    return "routing:\n  tiers:\n" + "".join(f"    {row}\n" for row in tiers)


def test_a_tier_with_provider_and_model_implies_model_and_endpoint() -> None:
    """Three words are a working tier: the model is known, the endpoint is where the provider usually is."""
    found = catalog(ladder("a: {provider: ollama, model: 'llama3:latest'}"))

    endpoint = found.endpoints["ollama@localhost:11434"]
    assert (endpoint.url, endpoint.kind, endpoint.host) == ("http://localhost:11434", EndpointKind.OLLAMA, "localhost")
    assert (endpoint.local, endpoint.slots, endpoint.models) == (True, 1, ())
    assert list(found.models) == ["llama3"]
    assert found.model_aliases == {"llama3:latest": "llama3"}
    assert found.tiers[1].models == ("llama3",)
    assert found.tiers[1].providers == ("ollama",)


def test_tiers_with_one_address_share_one_endpoint() -> None:
    """A slash at the end makes no second server; another port does."""
    found = catalog(
        ladder(
            "a: {provider: ollama, model: m, base_url: 'http://localhost:11434'}",
            "b: {provider: ollama, model: n, base_url: 'http://localhost:11434/'}",
            "c: {provider: ollama, model: o, base_url: 'http://localhost:11435'}",
        )
    )

    assert sorted(found.endpoints) == ["ollama@localhost:11434", "ollama@localhost:11435"]


def test_an_implied_cloud_endpoint_serves_exactly_the_models_named() -> None:
    """A cloud's listing may use other names than a call does, so what the profile names is what is served."""
    found = catalog(ladder("a: {provider: deepseek, model: m}", "b: {provider: deepseek, models: [n, m]}"))

    (endpoint,) = found.endpoints.values()
    assert (endpoint.name, endpoint.models) == ("deepseek@api.deepseek.com", ("m", "n"))
    assert (endpoint.local, endpoint.slots, endpoint.api_key_env) == (False, 4, "DEEPSEEK_API_KEY")


def test_written_endpoints_take_the_place_of_the_usual_one() -> None:
    """Who lists two Ollama machines does not get a third on localhost."""
    found = catalog(
        "endpoints:\n  a: {provider: ollama, url: 'http://a:1'}\n  b: {provider: ollama, url: 'http://b:1'}\n"
        + ONE_TIER
    )

    assert sorted(found.endpoints) == ["a", "b"]


def test_a_disabled_tier_calls_no_endpoint_into_being() -> None:
    """Nobody is probed for work that is switched off."""
    found = catalog(ladder("a: {provider: ollama, model: m}", "b: {provider: openai, model: n, enabled: false}"))

    assert list(found.endpoints) == ["ollama@localhost:11434"]
    assert found.tiers[2].models == ("n",)


@pytest.mark.parametrize("name", sorted(known_providers()))
def test_a_known_provider_works_by_its_name_alone(name: str) -> None:
    """Kind, address and the variable with the key are known."""
    (endpoint,) = catalog(ladder(f"a: {{provider: {name}, model: m}}")).endpoints.values()

    assert endpoint.url.startswith("http")
    assert (endpoint.api_key_env is None) == endpoint.local


def test_two_accounts_at_one_provider_are_two_endpoints() -> None:
    """The same address with another key has limits of its own."""
    text = "endpoints:\n  a: {provider: anthropic, api_key_env: ONE}\n  b: {provider: anthropic, api_key_env: TWO}\n"

    assert list(catalog(text + ladder("only: {provider: anthropic, model: m}")).endpoints) == ["a", "b"]


def test_an_endpoint_may_introduce_its_provider() -> None:
    """One that says kind and address itself needs no entry under `providers`; others may then refer to it."""
    text = "endpoints: {a: {provider: acme, kind: openai, url: 'https://llm.example.com/v1'}}\n"

    found = catalog(text + ladder("only: {provider: acme, model: m}"))

    assert [(spec.name, spec.provider, spec.local) for spec in found.endpoints.values()] == [("a", "acme", False)]
    assert found.tiers[1].providers == ("acme",)


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("provider: ollama, url: 'http://gpu-box:11434'", True),
        ("provider: ollama, url: 'http://192.168.1.7:11434'", True),
        ("provider: ollama, url: 'http://[fd00::1]:11434'", True),
        ("provider: ollama, url: 'http://gpu.lan:11434'", True),
        ("provider: ollama, url: 'https://ollama.com'", False),
        ("provider: ollama, url: 'http://8.8.8.8:11434'", False),
        ("provider: openai, url: 'http://localhost:4000'", False),
        ("provider: openai, url: 'http://localhost:4000', local: true", True),
        ("provider: vllm, url: 'https://vllm.example.com', local: true", True),
        ("provider: vllm, local: false", False),
    ],
)
def test_an_endpoint_is_local_only_when_nothing_speaks_against_it(endpoint: str, local: bool) -> None:
    """Work that must stay at home is not sent to a public address, nor to a proxy that may forward it."""
    found = catalog(f"endpoints:\n  x: {{{endpoint}}}\n{ONE_TIER}")

    assert found.endpoints["x"].local is local


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("endpoints:\n  x: {provider: openai}\n", "OPENAI_API_KEY"),
        ("endpoints:\n  x: {provider: openai, url: 'https://proxy.example.com/v1'}\n", None),
        ("endpoints:\n  x: {provider: openai, url: 'https://proxy.example.com/v1', api_key_env: MINE}\n", "MINE"),
        ("providers: {openai: {base_url: 'https://p.example.com'}}\nendpoints:\n  x: {provider: openai}\n", None),
        (
            "providers: {openai: {base_url: 'https://p', api_key_env: P}}\nendpoints: {x: {provider: openai}}\n",
            "P",
        ),
    ],
)
def test_the_usual_key_goes_to_the_providers_own_machine_only(text: str, variable: str | None) -> None:
    """A key is never sent to another address because a profile borrowed the name of its provider."""
    assert catalog(text + ONE_TIER).endpoints["x"].api_key_env == variable


def test_the_cost_of_a_tier_follows_from_where_its_models_run() -> None:
    """One model in a cloud makes a tier metered; what is written wins; `direct` is free."""
    text = ladder(
        "home: {provider: ollama, model: m}",
        "mixed: {models: [m, n]}",
        "cloud: {provider: anthropic, model: c}",
        "flat: {provider: anthropic, model: d, cost: subscription}",
    )
    found = catalog(text + "models: {m: {provider: ollama}, n: {provider: openai}}\n")

    assert {spec.name: spec.cost for spec in found.tiers} == {
        DIRECT: CostClass.FREE,
        "home": CostClass.LOCAL,
        "mixed": CostClass.METERED,
        "cloud": CostClass.METERED,
        "flat": CostClass.SUBSCRIPTION,
    }


def test_tiers_stand_in_the_order_they_are_written() -> None:
    """Cheapest first, `direct` always rank 0 wherever it is written."""
    found = catalog(
        ladder("b: {provider: ollama, model: m}", "direct: {aliases: [x]}", "a: {provider: ollama, model: n}")
    )

    assert [(spec.name, spec.rank) for spec in found.tiers] == [(DIRECT, 0), ("b", 1), ("a", 2)]
    assert found.tier_aliases == {"x": DIRECT}


def test_ranks_order_tiers_and_are_renumbered() -> None:
    """Only the order of ranks counts, so that a gap costs no step."""
    found = catalog(ladder("b: {provider: ollama, model: m, rank: 30}", "a: {provider: ollama, model: n, rank: 10}"))

    assert [(spec.name, spec.rank) for spec in found.tiers[1:]] == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(
    ("tiers", "complexity"),
    [
        (["a"], [DIRECT, "a", "a"]),
        (["a", "b"], [DIRECT, "a", "b"]),
        (["a", "b", "c"], [DIRECT, "b", "c"]),
        (["a", "b", "c", "d"], [DIRECT, "b", "d"]),
        (["standard", "b", "complex", "d"], [DIRECT, "standard", "complex"]),
        (["trivial", "b"], ["trivial", "trivial", "b"]),
    ],
)
def test_complexities_find_their_tiers_without_being_told(tiers: list[str], complexity: list[str]) -> None:
    """By name if a tier is called so, else by place: never the dearest of several for standard work."""
    text = ladder(*(f"{name}: {{provider: ollama, model: 'm{name}'}}" for name in tiers))

    found = loaded(text).policy.routing

    assert list(found.complexity_tiers.values()) == complexity
    assert found.unclassified_tier == found.complexity_tiers["standard"]


def test_standard_work_is_never_placed_above_complex_work() -> None:
    """When only the tier of complex work is named, standard work goes no higher."""
    tiers = [f"{name}: {{provider: ollama, model: m{name}}}" for name in "abcd"]

    found = loaded(ladder(*tiers) + "  complexity: {complex: a}\n").policy.routing

    assert found.complexity_tiers == {"trivial": DIRECT, "standard": "a", "complex": "a"}


def test_references_are_resolved_to_tier_names() -> None:
    """Aliases are for people; the policy knows names only."""
    text = ladder("a: {provider: ollama, model: m, aliases: [x]}", "b: {provider: ollama, model: n, aliases: [y]}")
    text += (
        "  complexity: {standard: x, complex: y}\n  unclassified: x\n  type_minimums: {coding: y}\n"
        "  task_overrides: {docs: x}\n  fallback: {by_tier: {y: none}}\n"
    )

    found = loaded(text).policy.routing

    assert found.complexity_tiers == {"trivial": DIRECT, "standard": "a", "complex": "b"}
    assert (found.unclassified_tier, found.type_minimums, found.task_overrides) == ("a", {"coding": "b"}, {"docs": "a"})
    assert found.fallback_by_tier == {"b": FallbackDirection.NONE}


def test_routing_switched_off_sends_all_work_to_one_tier() -> None:
    """Without routing, complexity and type of a task decide nothing."""
    tiers = [f"{name}: {{provider: ollama, model: m{name}}}" for name in "abc"]
    text = ladder(*tiers) + "  enabled: false\n  unclassified: c\n  type_minimums: {coding: b}\n"

    found = loaded(text).policy.routing

    assert set(found.complexity_tiers.values()) == {"c"}
    assert (found.type_minimums, found.task_overrides) == ({}, {})


def test_a_profile_without_tiers_extends_the_default_ladder() -> None:
    """Who only wants another port keeps the ladder; who adds an Ollama machine has it used by the ladder."""
    found = loaded("hub: {port: 9}\nendpoints: {gpu: {provider: ollama, url: 'http://gpu:11434'}}\n")

    assert [spec.name for spec in found.policy.catalog.tiers][:3] == [DIRECT, "local_cheap", "local_strong"]
    assert "ollama@localhost:11434" not in found.policy.catalog.endpoints
    assert found.hub.port == 9


def test_a_profile_can_change_a_part_of_the_one_it_extends() -> None:
    """Mappings are merged key by key, lists and values replaced; `model` takes the place of `models`."""
    text = "extends: tiered-ladder\nrouting:\n  tiers:\n    local_cheap: {model: 'small:3b', aliases: [tiny]}\n"
    text += "    cheap_cloud: {models: [a, b]}\nbudget: {monthly_hard_cap: 5, monthly_soft_cap: 4}\n"

    found = loaded(text)

    tiers = {spec.name: spec for spec in found.policy.catalog.tiers}
    assert (tiers["local_cheap"].models, tiers["local_cheap"].aliases) == (("small:3b",), ("tiny",))
    assert tiers["cheap_cloud"].models == ("a", "b")
    assert tiers["local_strong"].models == ("llama3:70b",)
    assert (found.budget.monthly_hard_cap_micro_usd, found.budget.per_tick_cap_micro_usd) == (5_000_000, 100_000)


def test_the_soft_cap_follows_the_hard_cap() -> None:
    """80 % of the hard cap when it is not written; 0 is 0, and no hard cap means no soft cap."""
    caps = [
        (found.monthly_hard_cap_micro_usd, found.monthly_soft_cap_micro_usd)
        for found in (
            loaded(ONE_TIER + f"budget: {{{text}}}\n").budget
            for text in ("monthly_hard_cap: 10", "monthly_soft_cap: 0", "monthly_hard_cap: null", "per_tick_cap: 1")
        )
    ]

    assert caps == [(10_000_000, 8_000_000), (20_000_000, 0), (None, None), (20_000_000, 16_000_000)]


def test_every_setting_reaches_its_place() -> None:
    """Values of the whole sample arrive in the policy, in the units of the core."""
    found = loaded(EVERYTHING)
    policy = found.policy
    tiers = {spec.name: spec for spec in policy.catalog.tiers}

    assert policy.profile == "everything"
    assert tiers["small"].context_tokens == 2048
    assert (tiers["small"].max_output_tokens, tiers["small"].max_iterations) == (1024, 4)
    assert (tiers["small"].choose, tiers["large"].choose) == (ChoiceRule.FIRST, ChoiceRule.BEST)
    assert (tiers["large"].context_tokens, tiers["large"].providers) == (20_480, ("acme", "ollama"))
    assert tiers["large"].models == ("best-model", "small:7b")
    box = policy.catalog.endpoints["box"]
    assert (box.kind, box.host, box.local, box.slots) == (EndpointKind.ANTHROPIC, "rack", True, 5)
    assert (box.slots_per_model, box.models, box.api_key_env) == ({"best-model": 2}, ("best-model",), "BOX_KEY")
    model = policy.catalog.models["best-model"]
    assert (model.context_tokens, model.memory_bytes) == (131_072, 20_000_000_000)
    assert model.capabilities == frozenset({Capability.TOOLS, Capability.VISION})
    assert model.speeds == Speeds(
        prefill_tokens_per_s=900, decode_tokens_per_s=60, load_s=12.5, unload_s=4, first_token_ms=250
    )
    rack = policy.catalog.hosts["rack"]
    assert (rack.memory_bytes, rack.reserve_bytes, rack.max_resident_models) == (64_000_000_000, 4 * 2**30, 2)
    assert (rack.pinned, rack.preload) == (("best-model",), ("small:7b",))


def test_no_rule_of_the_core_is_out_of_reach() -> None:
    """The sample changes every rule of routing and scheduling: a rule that a profile cannot set would be found here."""
    policy = loaded(EVERYTHING).policy
    pairs = [
        (policy.routing, RoutingPolicy()),
        (policy.scheduler, SchedulerPolicy()),
        (policy.routing.weights, ScoreWeights()),
    ]

    unchanged = [
        name
        for ours, theirs in pairs
        for name in ours.__struct_fields__
        if getattr(ours, name) == getattr(theirs, name)
    ]

    assert unchanged == []


def test_the_settings_beside_the_policy_are_complete_and_absolute() -> None:
    """Paths are made absolute from the profile's folder or the home folder, slots only for what is allowed."""
    found = loaded(EVERYTHING)

    assert found.worker.cwd_roots == (f"{HOME}/src", "/profiles/work")
    assert (found.hub.data_dir, found.hub.database) == (f"{HOME}/ostler", f"{HOME}/ostler/hub.db")
    assert found.worker.slots_by_kind() == {TaskKind.COMMAND: 3, TaskKind.CHAT: 4, TaskKind.AGENT: 2}
    assert loaded(ONE_TIER).worker.slots_by_kind() == {TaskKind.CHAT: 8}
    assert found.context.budget.large_tokens == 32_768
    assert (found.agi_loop.stimulus, found.agi_loop.interval_minutes) == ("look around", 15.0)


def test_a_worker_runs_no_command_until_it_is_told() -> None:
    """The default allows model calls alone."""
    found = loaded(ONE_TIER).worker

    assert (found.allow, found.commands) == ((TaskKind.CHAT,), ())


@pytest.mark.parametrize(
    ("database", "effective"),
    [
        ("", f"{HOME}/.local/share/ostler/ostler.db"),
        ("mine.db", f"{HOME}/.local/share/ostler/mine.db"),
        ("/data/x.db", "/data/x.db"),
        ("postgresql://u:p@db/ostler", "postgresql://u:p@db/ostler"),
    ],
)
def test_the_database_is_a_file_of_the_data_folder_or_an_address(database: str, effective: str) -> None:
    """A name is a file beside the hub's own, an address stays as it is."""
    assert loaded(f"hub: {{database: '{database}'}}\n{ONE_TIER}").hub.database == effective


def test_endpoints_may_be_a_list_or_a_mapping() -> None:
    """Both forms say the same."""
    rows = "provider: ollama, url: 'http://a:1', slots: 2"

    as_list = loaded(f"endpoints:\n- {{name: a, {rows}}}\n{ONE_TIER}").policy
    as_mapping = loaded(f"endpoints:\n  a: {{{rows}}}\n{ONE_TIER}").policy

    assert as_list == as_mapping
