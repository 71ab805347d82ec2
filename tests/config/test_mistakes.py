"""A table of mistakes: each is reported with its line, its setting and what to do, all of a file at once."""

import pytest

from ostler.domain.errors import ExitCode, ProfileError
from tests.config.support import ONE_TIER, loaded, problems

TIER = 'tiers: {a: {provider: ollama, model: "m:7b"}, b: {provider: ollama, model: "n:7b"}}'

TABLE = [
    # unknown settings
    ("hob: {}\n", "1 hob", "unknown setting", "did you mean 'hub'?"),
    ("routing:\n  tiers:\n    fast:\n      modle: x\n", "4 routing.tiers.fast.modle", "unknown setting", "'model'"),
    ("hub:\n  prot: 1\n", "2 hub.prot", "unknown setting", "did you mean 'port'?"),
    ("models:\n  x: {alias: [y]}\n", "2 models.x.alias", "unknown setting", "aliases"),
    ("endpoints:\n  x: {kind: ollama, api_key: s3cret}\n", "2 endpoints.x.api_key", "unknown setting", "api_key_env"),
    ("hub:\n  <<: 1\n", "2 hub.<<", "unknown setting", "merge keys"),
    # wrong types
    ("hub: 5\n", "1 hub", "expected a mapping", "name: value"),
    ("hub:\n- port\n", "2 hub", "expected a mapping of settings, got a list", "name: value"),
    ("hub:\n  port: soon\n", "2 hub.port", "expected a whole number, got 'soon'", "a whole number"),
    ("hub:\n  port: 1.5\n", "2 hub.port", "expected a whole number", "a whole number"),
    ("hub:\n  port: true\n", "2 hub.port", "got the truth value true", "a whole number"),
    ("hub:\n  port:\n", "2 hub.port", "has no value", "remove the line"),
    ("hub:\n  host: 5\n", "2 hub.host", "expected text, got the number 5", "in quotes: '5'"),
    ("hub:\n  host: {}\n", "2 hub.host", "expected text, got a mapping", "quotes"),
    ("worker:\n  capabilities: gpu\n", "2 worker.capabilities", "expected a list, got 'gpu'", "write [gpu]"),
    ("worker:\n  capabilities: [gpu, 4]\n", "2 worker.capabilities", "expected text, got the number 4", "'4'"),
    ("routing:\n  enabled: yes\n", "2 routing.enabled", "expected true or false, got 'yes'", "true or false"),
    ("models:\n  x: {capabilities: tools}\n", "2 models.x.capabilities", "expected a list", "write [tools]"),
    # choices
    ("routing:\n  fallback: {direction: upp}\n", "2 routing.fallback.direction", "no valid choice", "mean 'up'?"),
    ("routing:\n  fallback: {direction: 3}\n", "2 routing.fallback.direction", "the number 3", "down, none, up"),
    ("worker:\n  allow: [chat, comand]\n", "2 worker.allow", "no valid choice", "did you mean 'command'?"),
    ("worker:\n  allow: [chat, chat]\n", "2 worker.allow", "lists 'chat' twice", "keep one"),
    ("models:\n  x: {capabilities: [tool]}\n", "2 models.x.capabilities", "no valid choice", "'tools'"),
    ("agents:\n  judge: cheap_clod\n", "2 agents.judge", "there is no tier 'cheap_clod'", "cheap_cloud"),
    ("agents:\n  folders: agents\n", "2 agents.folders", "expected a list, got 'agents'", "write [agents]"),
    ("worker:\n  agent_limits: {wall: 5}\n", "2 worker.agent_limits.wall", "5 has no unit", "write 5s or 5ms"),
    ("worker:\n  agent_limits: {repeats: 1}\n", "2 worker.agent_limits.repeats", "1 is below 2", "at least 2"),
    # numbers
    ("hub:\n  port: 70000\n", "2 hub.port", "70000 is too large", "at most 65535"),
    ("hub:\n  port: -1\n", "2 hub.port", "-1 is negative", "at least 0"),
    ("budget:\n  per_tick_cap: -0.1\n", "2 budget.per_tick_cap", "-0.1 is negative", "at least 0"),
    ("budget:\n  per_tick_cap: .inf\n", "2 budget.per_tick_cap", "too large", "at most"),
    ("budget:\n  per_tick_cap: free\n", "2 budget.per_tick_cap", "expected an amount", "20.00"),
    ("models:\n  x: {input_usd_per_mtok: .nan}\n", "2 models.x.input_usd_per_mtok", "too large", "at most"),
    ("worker:\n  slots: {chat: 0}\n", "2 worker.slots.chat", "0 is below 1", "at least 1"),
    ("routing:\n  max_availability_steps: 2\n", "2 routing.max_availability_steps", "too large", "at most 1"),
    ("models:\n  x: {input_usd_per_mtok: 1}\n", "2 models.x", "half a price", "output_usd_per_mtok"),
    ("scheduler:\n  max_attempts: 0\n", "2 scheduler.max_attempts", "more than 0", "default"),
    # quantities
    ("scheduler:\n  stuck: 5\n", "2 scheduler.stuck", "5 has no unit", "write 5s or 5ms"),
    ("scheduler:\n  stuck: 5x\n", "2 scheduler.stuck", "cannot read '5x'", "10m"),
    ("scheduler:\n  stuck: 99999d\n", "2 scheduler.stuck", "too large", "3650d"),
    ("hub:\n  lease: 10ms\n", "2 hub.lease", "10ms is below 1s", "at least 1s"),
    ("hub:\n  lease_ms: 10\n", "2 hub.lease", "10 is below 1000", "at least 1000"),
    ("hub:\n  lease: 3651d\n", "2 hub.lease", "3651d is too large", "at most 3650d"),
    ("alerts:\n  every: 5ms\n", "2 alerts.every", "5ms is below 1s", "at least 1s"),
    ("hosts:\n  x: {memory: 2000000TiB}\n", "2 hosts.x.memory", "too large", "at most 1048576TiB"),
    ("models:\n  x: {context: 2000M}\n", "2 models.x.context", "2000M is too large", "at most 1000000000"),
    ("budget:\n  per_tick_cap: 9e9\n", "2 budget.per_tick_cap", "too large", "at most 1000000000.00"),
    ("scheduler:\n  stuck_ms: 5s\n", "2 scheduler.stuck", "expected a whole number", "whole number"),
    ("scheduler:\n  stuck: 5s\n  stuck_ms: 5000\n", "3 scheduler.stuck", "given twice", "keep one"),
    ("hosts:\n  x: {memory: 32G}\n", "2 hosts.x.memory", "cannot read '32G'", "32GiB"),
    ("models:\n  x: {context: 128kb}\n", "2 models.x.context", "cannot read '128kb'", "128k"),
    # numbers that must agree
    ("budget:\n  monthly_soft_cap: 30\n", "2 budget.monthly_soft_cap", "above the hard cap of 20.00", "at most"),
    ("scheduler:\n  heartbeat: 2m\n", "2 scheduler.heartbeat", "above session_dead (1m)", "at most session_dead"),
    ("scheduler:\n  retry_cap: 1s\n", "2 scheduler.retry_cap", "retry_base (2s) is above", "at most retry_cap"),
    ("context:\n  budget: {small: 20000}\n", "2 context.budget.small", "above moderate (16000)", "at most moderate"),
    ("agi_loop:\n  cron: 61 * * * *\n", "2 agi_loop.cron", "minute: '61' is no minute", "0 to 59"),
    ("agi_loop:\n  max_loops: 1\n  cron: every day\n", "3 agi_loop.cron", "2 fields, not 5", "mon-fri"),
    ("agi_loop:\n  cron: 0 0 31 2 *\n", "2 agi_loop.cron", "no day that exists", "day and month"),
    ("agi_loop:\n  time_zone: Europe/Berln\n", "2 agi_loop.time_zone", "no time zone", "Europe/Berlin"),
    ("agi_loop:\n  identical_ticks: 1\n", "2 agi_loop.identical_ticks", "like itself", "2 or more"),
    ("agi_loop:\n  interval_hours: 9000\n", "2 agi_loop.interval_hours", "at most a year", "cron"),
    ("agi_loop:\n  interval_minutes: 0\n", "2 agi_loop.interval_minutes", "without a pause", "0.5"),
    ("hosts:\n  x: {memory: 8GB, reserve: 8GB}\n", "2 hosts.x.reserve", "leaves nothing of 8GB", "smaller"),
    # worker
    ("worker:\n  allow: [command]\n", "2 worker.allow", "no program", "worker.commands"),
    ("worker:\n  commands: [git]\n", "2 worker.commands", "commands are not allowed", "add command"),
    # tiers
    ("routing:\n  tiers:\n    a: {}\n", "3 routing.tiers.a", "has no models", "add `model:`"),
    (f"routing:\n  {TIER}\n  unclassified: c\n", "3 routing.unclassified", "no tier 'c'", "valid: a, b, direct"),
    (f"routing:\n  {TIER}\n  complexity: {{standard: bb}}\n", "3 routing.complexity.standard", "no tier 'bb'", "'b'"),
    (f"routing:\n  {TIER}\n  task_overrides: {{coding: x}}\n", "3 routing.task_overrides.coding", "no tier", "valid"),
    (f"routing:\n  {TIER}\n  task_overrides: {{codng: a}}\n", "3 routing.task_overrides.codng", "no known", "'coding'"),
    (f"routing:\n  {TIER}\n  type_minimums: {{coding: x}}\n", "3 routing.type_minimums.coding", "no tier", "valid"),
    (f"routing:\n  {TIER}\n  fallback: {{by_tier: {{x: up}}}}\n", "3 routing.fallback.by_tier.x", "no tier", "valid"),
    (
        f"routing:\n  {TIER}\n  complexity: {{standard: b, complex: a}}\n",
        "3 routing.complexity.complex",
        "below 'b' of standard work",
        "as high or higher",
    ),
    (
        "routing:\n  tiers:\n    a: {provider: ollama, model: m, aliases: [b]}\n    b: {provider: ollama, model: n}\n",
        "3 routing.tiers.a.aliases",
        "'b' is ambiguous: it is the name of tier 'b' too",
        "remove it",
    ),
    (
        "routing:\n  tiers:\n    a: {models: [m], aliases: [x]}\n    b: {models: [m], aliases: [x]}\nmodels: {m: {}}\n",
        "4 routing.tiers.b.aliases",
        "'x' is ambiguous: it is an alias of tier 'a' too",
        "remove it",
    ),
    (
        "routing:\n  tiers:\n    a: {provider: ollama, model: m, aliases: [auto]}\n",
        "3 routing.tiers.a.aliases",
        "'auto' cannot name a tier",
        "rename it",
    ),
    (
        "routing:\n  tiers:\n    a: {provider: ollama, model: m, rank: 1}\n    b: {provider: ollama, model: n}\n",
        "4 routing.tiers.b",
        "has no rank",
        "every tier a rank, or none",
    ),
    (
        "routing:\n  tiers:\n    a: {models: [m], rank: 1}\n    b: {models: [m], rank: 1}\nmodels: {m: {}}\n",
        "4 routing.tiers.b.rank",
        "rank 1 is the rank of tier 'a' too",
        "rank of its own",
    ),
    (
        "routing:\n  tiers:\n    a: {provider: ollama, model: m, enabled: false}\n",
        "2 routing.tiers",
        "every tier is disabled",
        "enable",
    ),
    ("routing:\n  tiers:\n    direct: {aliases: [x]}\n", "2 routing.tiers", "no tier has models", "add a tier"),
    (
        "routing:\n  tiers:\n    direct: {model: x}\n    a: {provider: ollama, model: m}\n",
        "3 routing.tiers.direct.model",
        "without a model",
        "aliases",
    ),
    (
        "routing:\n  tiers:\n    a: {provider: ollama, model: m, models: [n]}\n",
        "3 routing.tiers.a.models",
        "two ways to say one thing",
        "keep one",
    ),
    (
        "routing:\n  tiers:\n    a: {provider: ollama, providers: [openai], model: m}\n",
        "3 routing.tiers.a.providers",
        "two ways to say one thing",
        "keep one",
    ),
    # models
    (
        "routing:\n  tiers:\n    a: {models: [llma3]}\nmodels:\n  llama3: {}\n",
        "3 routing.tiers.a.models",
        "no model 'llma3'",
        "did you mean 'llama3'?",
    ),
    ("models:\n  x: {}\n  x:latest: {}\n", "3 models.x:latest", "is the same model as 'x'", "keep one"),
    ("models:\n  x: {aliases: [y]}\n  y: {}\n", "2 models.x.aliases", "it is the name of model 'y' too", "remove it"),
    ("models:\n  x: {aliases: [z]}\n  y: {aliases: [z]}\n", "3 models.y.aliases", "an alias of model 'x'", "remove it"),
    ("models:\n  x: {aliases: [opus]}\n", "2 models.x", "names the tier 'expensive_cloud' and the model 'x'", "rename"),
    ("models:\n  x: {provider: anthropc}\n", "2 models.x.provider", "no provider 'anthropc'", "'anthropic'"),
    (
        "routing:\n  tiers:\n    a: {provider: ollama, model: m}\nmodels:\n  m: {provider: openai}\n",
        "3 routing.tiers.a.model",
        "belongs to provider 'openai'",
        "change one",
    ),
    (
        "routing:\n  tiers:\n    a: {models: [x, 'x:latest']}\nmodels:\n  x: {}\n",
        "3 routing.tiers.a.models",
        "is the model 'x', which is listed already",
        "keep one",
    ),
    # endpoints, providers, hosts
    (
        "endpoints:\n- {name: a, kind: ollama}\n- {name: a, kind: ollama}\n",
        "3 endpoints.a",
        "first in line 2",
        "another",
    ),
    ("endpoints:\n- {kind: ollama}\n", "2 endpoints", "an entry without a name", "- name:"),
    ("endpoints:\n  a: {}\n", "2 endpoints.a", "not known what serves there", "add `provider:`"),
    ("endpoints:\n  a: {provider: olama}\n", "2 endpoints.a.provider", "no provider 'olama'", "'ollama'"),
    (
        "endpoints:\n  a: {provider: olama, kind: ollama, url: 'http://a'}\n",
        "2 endpoints.a.provider",
        "no provider 'olama'",
        "'ollama'",
    ),
    ("endpoints:\n  a: {provider: acme, kind: openai}\n", "2 endpoints.a.provider", "no provider 'acme'", "declare it"),
    ("endpoints:\n  a: {kind: ollama, url: box}\n", "2 endpoints.a.url", "'box' is no address", "http://host:port"),
    ("endpoints:\n  a: {kind: ollama, url: 'http://h:x'}\n", "2 endpoints.a.url", "is no address", "http://host:port"),
    ("endpoints:\n  a: {kind: ollama, url: 'http://u:p@h'}\n", "2 endpoints.a.url", "name or password", "api_key_env"),
    (
        "endpoints:\n  a: {kind: openai, api_key_env: sk-1}\n",
        "2 endpoints.a.api_key_env",
        "no name of an env",
        "variable",
    ),
    (
        "endpoints:\n  a: {kind: ollama, url: 'http://localhost:1'}\n  b: {kind: ollama, url: 'http://127.0.0.1:1/'}\n",
        "3 endpoints.b.url",
        "the same server as endpoint 'a'",
        "keep one",
    ),
    ("endpoints:\n  a: {kind: ollama, host: x}\nhosts:\n  y: {}\n", "2 endpoints.a.host", "no host 'x'", "valid: y"),
    (
        "endpoints:\n  a: {kind: ollama, slots_per_model: {x: 1}}\n",
        "2 endpoints.a.slots_per_model.x",
        "no model",
        "`models`",
    ),
    ("providers:\n  acme: {base_url: 'https://a'}\n", "2 providers.acme", "which protocol", "add `kind:`"),
    ("providers:\n  acme: {kind: soap}\n", "2 providers.acme.kind", "no valid choice", "anthropic, ollama, openai"),
    ("providers:\n  openai: {base_url: x}\n", "2 providers.openai.base_url", "is no address", "http://host:port"),
    ("hosts:\n  h: {pinned: [nope]}\n", "2 hosts.h.pinned", "there is no model 'nope'", "`models`"),
    (
        "models:\n  x: {}\n  y: {}\nhosts:\n  h: {max_resident_models: 1, pinned: [x, y]}\n",
        "5 hosts.h.pinned",
        "only 1",
        "raise",
    ),
    (
        "models:\n  x: {memory: 20GB}\nhosts:\n  h: {memory: 16GB, preload: [x]}\n",
        "4 hosts.h.preload",
        "need 20GB together, the host has 16GB",
        "shorten",
    ),
    (
        "providers:\n  acme: {kind: openai}\nrouting:\n  tiers:\n    a: {provider: acme, model: m}\n",
        "5 routing.tiers.a",
        "has no address",
        "base_url",
    ),
    (
        "endpoints:\n  e: {kind: ollama, models: [n]}\nrouting:\n  tiers:\n    a: {provider: ollama, model: m}\n",
        "5 routing.tiers.a",
        "'m' is not among the models of e",
        "endpoints.e.models",
    ),
    (
        "routing:\n  tiers:\n    a: {base_url: 'http://x', model: m}\nmodels: {m: {}}\n",
        "3 routing.tiers.a.base_url",
        "not known",
        "provider",
    ),
    ("extends: defalt\n", "1 extends", "no built-in profile 'defalt'", "did you mean 'default'?"),
]


@pytest.mark.parametrize(("text", "where", "what", "remedy"), TABLE, ids=[row[1] + "-" + row[2] for row in TABLE])
def test_a_mistake_is_reported_at_its_place_with_a_remedy(text: str, where: str, what: str, remedy: str) -> None:
    """One mistake makes one line: where it is, what is wrong, what would be right."""
    (problem,) = problems(text)

    assert problem.where == f"ostler.yaml:{where}"
    assert what in problem.what
    assert remedy in problem.remedy


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file() -> None:
    """Slips of reading and slips of meaning come in one list, so that one round of corrections is enough."""
    text = (
        "routing:\n"
        "  tiers:\n"
        "    fast: {provider: olama, model: x}\n"
        "    slow: {models: [y]}\n"
        "    big: {}\n"
        "  complexity: {standard: fsat}\n"
        "hub: {port: many, hots: 1}\n"
        "budget: {per_tick_cap: -1}\n"
    )

    found = [problem.where for problem in problems(text)]

    assert found == [
        "ostler.yaml:3 routing.tiers.fast.provider",
        "ostler.yaml:4 routing.tiers.slow.models",
        "ostler.yaml:5 routing.tiers.big",
        "ostler.yaml:6 routing.complexity.standard",
        "ostler.yaml:7 hub.port",
        "ostler.yaml:7 hub.hots",
        "ostler.yaml:8 budget.per_tick_cap",
    ]


def test_the_error_of_a_profile_lists_a_line_for_each_mistake() -> None:
    """The text is what a person sees; the exit code is that of bad input."""
    with pytest.raises(ProfileError) as caught:
        loaded("hub:\n  prot: 1\n  host: 5\n")

    assert str(caught.value).splitlines() == [
        "ostler.yaml:2 hub.prot: unknown setting 'prot' (did you mean 'port'?)",
        "ostler.yaml:3 hub.host: expected text, got the number 5 (put it in quotes: '5')",
    ]
    assert caught.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    "text",
    [
        "endpoints:\n  a: {kind: openai, api_key: sk-very-secret}\n",
        "endpoints:\n  a: {kind: openai, api_key_env: sk-very-secret}\n",
        "endpoints:\n  a: {kind: openai, url: 'https://me:sk-very-secret@h:x'}\n",
        "providers:\n  openai: {api_key_env: sk-very-secret}\n",
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(text: str) -> None:
    """Messages are logged and shared: a secret that was put into the profile does not come back in them."""
    found = problems(text)

    assert found
    assert all("sk-very-secret" not in str(problem) for problem in found)


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("OSTLER_HUB_PORT", "http", "expected a whole number, got 'http'"),
        ("OSTLER_HUB_PORT", "-4", "-4 is negative"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable: str, value: str, what: str) -> None:
    """The place of a setting from the environment is its variable, not a line of the file."""
    (problem,) = problems(ONE_TIER, {variable: value})

    assert (problem.where, problem.what) == (f"environment {variable} hub.port", what)


def test_empty_sections_are_no_mistake() -> None:
    """A section whose lines are all comments counts as absent, lists and mappings too."""
    assert problems("hub:\nrouting:\n  tiers:\n  fallback:\nworker:\n  capabilities:\nmodels:\n") == ()
