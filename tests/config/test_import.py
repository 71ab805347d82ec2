"""Files of other systems become a profile and a pipeline: as they stand, with all that was not taken over said."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.cli.taskfile import parse_task_file
from ostler.config.emit import Value, scalar, yaml_text
from ostler.config.foreign import ForeignFileError, parse_foreign, read_foreign
from ostler.config.importing import Imported, import_trees
from ostler.config.load import load_text
from ostler.config.nodes import Node
from ostler.config.settings import LoadedProfile
from ostler.config.sources import BYTES_MAX, Source, built_in, read_text
from ostler.domain.catalog import Catalog

ORCHESTRA = """\
{
  "name": "claude-army",
  "version": "3.0.0",
  "description": "Model-aware pipeline execution system",

  "pipelineMode": {
    "enabled": true,
    "strategy": "simplified-two-model",
    "phases": [
      {
        "name": "architecture",
        "model": "opus",
        "fallback": "gpt-4",
        "agents": ["Chief Architect"]
      },
      {
        "name": "implementation-and-quality",
        "model": "gpt-4",
        "agents": [
          "Python Specialist",
          "Swift Specialist",
          "Go Specialist",
          "Rust Specialist",
          "Flutter Specialist",
          "API Explorer",
          "Salesforce API Specialist",
          "Authentik API Specialist",
          "DevOps Engineer",
          "Documentation Lead",
          "QA Engineer",
          "Security Auditor"
        ]
      },
      {
        "name": "credentials",
        "model": "ollama/qwen2.5-coder:7b-instruct",
        "agents": ["Credential Manager"]
      }
    ]
  },

  "llmRouting": {
    "endpoints": {
      "ccproxy": {
        "url": "https://coder.visiquate.com/v1",
        "models": {
          "fast": "ollama/qwen2.5-coder:7b-instruct",
          "latest": "ollama/qwen2.5-coder:32b-instruct-128k"
        },
        "aliases": {
          "gpt-4": "ollama/qwen2.5-coder:32b-instruct-128k",
          "gpt-4-turbo": "ollama/qwen2.5-coder:32b-instruct-128k"
        }
      }
    }
  }
}
"""
CCPROXY = """\
# config.yaml
models:
  default: qwen2.5-coder:32b-instruct-128k
  available:
    - name: qwen2.5-coder:32b-instruct-128k
      alias: [gpt-4, gpt-4-turbo, claude-3-5-sonnet]
      memory: 32GB
      context: 128k
      priority: high
    - name: qwen2.5-coder:7b-instruct
      alias: [gpt-3.5-turbo]
      memory: 8GB
      context: 32k
      priority: low

memory_management:
  max_loaded_models: 1
  swap_strategy: lru
  preload: qwen2.5-coder:32b-instruct-128k
"""
LARGE, SMALL = "qwen2.5-coder:32b-instruct-128k", "qwen2.5-coder:7b-instruct"


def known() -> Catalog:
    source = built_in("default")
    return load_text(read_text(source), source, {"HOME": "/nowhere"}, Path("/nowhere")).policy.catalog


KNOWN = known()


def imported(*texts: str) -> Imported:
    trees = [(f"f{number}", parse_foreign(text, f"f{number}")) for number, text in enumerate(texts, 1)]
    return import_trees(trees, KNOWN)


def loaded(found: Imported) -> LoadedProfile:
    """The profile as a hub would read it: it passes its own check."""
    source = Source(path=Path("/nowhere/ostler.yaml"), label="imported", name="imported")
    return load_text(found.profile, source, {"HOME": "/nowhere"}, Path("/nowhere"))


def test_ccproxy_becomes_a_profile_of_one_machine() -> None:
    """Models with aliases, memory and window; one in memory at a time; what is preloaded; the default for most work."""
    policy = loaded(imported(CCPROXY)).policy
    catalog = policy.catalog

    assert {name: (spec.memory_bytes, spec.context_tokens) for name, spec in catalog.models.items()} == {
        LARGE: (32 * 10**9, 128 * 1024),
        SMALL: (8 * 10**9, 32 * 1024),
    }
    assert {alias: catalog.model_aliases[alias] for alias in ("gpt-4", "gpt-4-turbo", "claude-3-5-sonnet")} == {
        "gpt-4": LARGE,
        "gpt-4-turbo": LARGE,
        "claude-3-5-sonnet": LARGE,
    }
    assert catalog.model_aliases["gpt-3.5-turbo"] == SMALL
    (host,) = catalog.hosts.values()
    assert (host.memory_bytes, host.max_resident_models, host.preload) == (32 * 10**9, 1, (LARGE,))
    assert [tier.models for tier in catalog.tiers] == [(), (SMALL,), (LARGE,)]
    assert policy.routing.complexity_tiers == {"trivial": "small", "standard": "large", "complex": "large"}


def test_orchestra_becomes_a_profile_and_a_pipeline() -> None:
    """Endpoint, models and aliases on one side; fourteen agents in three phases on the other."""
    found = imported(ORCHESTRA)
    catalog = loaded(found).policy.catalog
    assert found.pipeline is not None
    file = parse_task_file(found.pipeline, "pipeline.yaml")

    assert catalog.model_aliases["gpt-4"] == catalog.model_aliases["latest"] == f"ollama/{LARGE}"
    assert catalog.model_aliases["fast"] == catalog.model_aliases[SMALL] == f"ollama/{SMALL}"
    assert catalog.endpoints["ccproxy"].url == "https://coder.visiquate.com/v1"
    assert not catalog.endpoints["ccproxy"].local, "whether data stays yours there is for a person to say"
    assert [(phase.name, len(phase.tasks)) for phase in file.phases] == [
        ("architecture", 1),
        ("implementation-and-quality", 12),
        ("credentials", 1),
    ]
    specs = {spec.id: spec for spec in file.specs}
    assert (specs["chief-architect"].model, specs["chief-architect"].fallback_models) == ("opus", ("gpt-4",))
    assert specs["qa-engineer"].needs == ("chief-architect",)
    assert len(specs["credential-manager"].needs) == 12
    assert specs["credential-manager"].title == "Credential Manager"


def test_a_model_that_no_file_describes_is_looked_up() -> None:
    """`opus` is a tier of the default profile; its first model comes with its window and its price, off the ladder."""
    catalog = loaded(imported(ORCHESTRA)).policy.catalog
    name = catalog.model_aliases["opus"]
    spec = KNOWN.models[name]

    assert (catalog.models[name].input_usd_per_mtok, catalog.models[name].context_tokens) == (
        spec.input_usd_per_mtok,
        spec.context_tokens,
    )
    assert name not in [model for tier in catalog.tiers for model in tier.models], "nothing is sent there unasked"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_both_files_become_one_profile(order: tuple[int, int]) -> None:
    """The name is that of the endpoint, the size that of the server's own file; in either order."""
    texts = (ORCHESTRA, CCPROXY)
    catalog = loaded(imported(*(texts[index] for index in order))).policy.catalog

    large = catalog.models[f"ollama/{LARGE}"]
    assert (large.memory_bytes, large.context_tokens) == (32 * 10**9, 128 * 1024)
    aliases = ("gpt-4", "gpt-4-turbo", "claude-3-5-sonnet", "latest", LARGE)
    assert {catalog.model_aliases[alias] for alias in aliases} == {large.name}
    (host,) = catalog.hosts.values()
    assert (host.name, host.preload) == ("coder.visiquate.com", (large.name,))


def test_what_is_not_taken_over_is_said() -> None:
    """Nothing of the files disappears in silence."""
    notes = "\n".join(imported(ORCHESTRA, CCPROXY).notes)

    for said in (
        "swap_strategy 'lru': not taken over; with one model in memory at a time there is nothing to choose from",
        "pipelineMode.strategy 'simplified-two-model': not taken over",
        "'opus': no file describes it; taken as claude-opus",
        "hosts.coder.visiquate.com.memory: not stated; 32GB is what the loaded models need",
        "no key, slots or prices are stated",
        "load times are not stated",
        "no prompts are in the file",
        "each phase became needs on the whole phase before",
        "no durations are in the file",
    ):
        assert said in notes


def test_what_was_assumed_stands_in_the_profile_too() -> None:
    """Who reads the file later sees it."""
    assert "# hosts.localhost.memory: not stated; 32GB" in imported(CCPROXY).profile


def test_a_strategy_for_several_models_is_told_what_happens_instead() -> None:
    """Two in memory: their sizes together, and what is unloaded for a third."""
    found = imported(CCPROXY.replace("max_loaded_models: 1", "max_loaded_models: 2"))

    assert "never one that is in use" in "\n".join(found.notes)
    (host,) = loaded(found).policy.catalog.hosts.values()
    assert (host.memory_bytes, host.max_resident_models) == (40 * 10**9, 2)


def test_words_that_mean_nothing_here_are_named_with_their_line() -> None:
    """Not a mistake: the other system knows what it means."""
    (note,) = [note for note in imported(CCPROXY + "  cooldown: 30\n").notes if "cooldown" in note]

    assert note == "f1:20 memory_management.cooldown: not taken over, nothing here means this"


def test_a_switched_off_pipeline_is_written_and_said_to_be() -> None:
    """The file keeps its steps; so does the import."""
    found = imported(ORCHESTRA.replace('"enabled": true', '"enabled": false'))

    assert found.pipeline is not None
    assert "pipelineMode.enabled is false: the pipeline is written all the same" in found.notes


PHASES = """\
{"llmRouting": {"endpoints": {"e": {"url": "http://box:1/v1", "models": {"m": "model-m"}}}},
 "pipelineMode": {"phases": [%s]}}
"""


def test_a_phase_one_by_one_is_a_chain() -> None:
    """Every agent of it runs, each after the one before."""
    phases = '{"name": "a", "model": "m", "agents": ["One", "Two"], "parallel": false, "priority": "medium"}'
    found = imported(PHASES % phases)
    assert found.pipeline is not None
    one, two = parse_task_file(found.pipeline, "p").specs

    assert (one.needs, two.needs) == ((), ("one",))
    assert (one.priority.name, found.pipeline.count("parallel: false")) == ("NORMAL", 1)


def test_a_model_nobody_has_gives_way_to_the_other_one() -> None:
    """The step can still run, and it is said on what."""
    found = imported(PHASES % '{"name": "a", "model": "nowhere", "fallback": "m", "agents": ["One"]}')
    assert found.pipeline is not None
    (one,) = parse_task_file(found.pipeline, "p").specs

    assert (one.model, one.fallback_models) == ("m", ())
    assert "f1:2: no file describes a model 'nowhere'; m alone is used" in found.notes


def test_without_sizes_the_name_orders_the_tiers() -> None:
    """7b before 32b."""
    assert [tier.models for tier in loaded(imported(ORCHESTRA)).policy.catalog.tiers[1:]] == [
        (f"ollama/{SMALL}",),
        (f"ollama/{LARGE}",),
    ]


def test_any_number_of_models_gets_a_ladder() -> None:
    """One, two, three, and more than there are words for."""
    for count in (1, 2, 3, 5):
        models = "".join(f"    - {{name: 'x:{number}b', memory: {number}GB}}\n" for number in range(1, count + 1))
        policy = loaded(imported(f"models:\n  available:\n{models}")).policy

        assert [tier.models for tier in policy.catalog.tiers[1:]] == [(f"x:{n}b",) for n in range(1, count + 1)]


BAD: list[tuple[str, str, str]] = [
    ("another file", "a: 1\n", "f1: this is no configuration that can be imported (known are orchestra-config.json"),
    ("an empty file", "# x\n", "f1: the file is empty"),
    ("a list", "- a\n", "f1:1: a file is a mapping of sections"),
    ("broken JSON", '{"models": [}', "f1:1:13: not YAML"),
    ("a key twice", "models: {}\nmodels: {}\n", "f1:2: 'models' is given twice (first in line 1)"),
    ("models that are a list", "models: [a]\n", "f1:1 models: expected names with values"),
    ("no models", "models: {available: []}\n", "models: no model is described"),
    ("available that is a name", "models: {available: a}\n", "f1:1 models.available: expected a list"),
    ("a model without a name", "models: {available: [{memory: 1GB}]}\n", "f1:1 models.available[0]: the model has no"),
    ("a model that is text", "models: {available: [a]}\n", "f1:1 models.available[0]: expected names with values"),
    ("memory without a unit", "models: {available: [{name: a, memory: 32}]}\n", "[0].memory: expected a size with its"),
    (
        "a window in words",
        "models: {available: [{name: a, context: big}]}\n",
        "[0].context: expected a number of tokens",
    ),
    (
        "a priority",
        "models: {available: [{name: a, priority: hihg}]}\n",
        "'hihg' is no valid choice (did you mean 'high'?)",
    ),
    ("an alias that is a number", "models: {available: [{name: a, alias: [1]}]}\n", "[0].alias: expected a text"),
    ("a name that is a number", "models: {available: [{name: 1}]}\n", "[0].name: expected a text"),
    (
        "one alias for two",
        "models: {available: [{name: a, alias: x}, {name: b, alias: x}]}\n",
        "aliases: 'x' means both 'a' and 'b' (remove it from one of the two)",
    ),
    (
        "another default",
        "models: {default: bb, available: [{name: b}]}\n",
        "models.default: no model 'bb' is described (did you mean 'b'?)",
    ),
    (
        "another preload",
        "models: {available: [{name: abc}]}\nmemory_management: {preload: abd}\n",
        "memory_management.preload: no model 'abd' is described (did you mean 'abc'?)",
    ),
    (
        "no loaded models",
        "models: {available: [{name: a}]}\nmemory_management: {max_loaded_models: 0}\n",
        "f1:2 memory_management.max_loaded_models: expected a whole number from 1 up",
    ),
    (
        "an endpoint without an address",
        '{"llmRouting": {"endpoints": {"e": {"models": {"m": "x"}}}}}',
        "has no address",
    ),
    ("a phase without a model", PHASES % '{"name": "a", "agents": ["One"]}', "the phase has no model (add `model`)"),
    ("a phase without agents", PHASES % '{"name": "a", "model": "m"}', "the phase has no agents (add `agents`)"),
    ("a phase without a name", PHASES % '{"model": "m", "agents": ["One"]}', "the phase has no name (add `name`)"),
    (
        "a phase of a model nobody has",
        PHASES % '{"name": "a", "model": "model-n", "agents": ["One"]}',
        "f1:2: no model 'model-n' is described (did you mean 'model-m'?)",
    ),
    (
        "an agent in two phases",
        PHASES % '{"name": "a", "model": "m", "agents": ["One"]}, {"name": "b", "model": "m", "agents": ["one"]}',
        "f1:2 b: 'one' is an agent of phase 'a' already (name it once)",
    ),
    (
        "a flag in words",
        PHASES % '{"name": "a", "model": "m", "agents": ["One"], "parallel": "no"}',
        "phases[0].parallel: expected true or false",
    ),
]


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    """File, line, setting, what is wrong: one message for one mistake."""
    with pytest.raises(ForeignFileError) as caught:
        imported(text)

    (problem,) = caught.value.problems
    assert message in str(problem)


def test_all_mistakes_are_told_at_once() -> None:
    """Of all files."""
    with pytest.raises(ForeignFileError) as caught:
        imported("models: {available: [{name: a, memory: x, context: y}]}\n", "models: [b]\n")

    assert [problem.where.split(" ")[0] for problem in caught.value.problems] == ["f1:1", "f1:1", "f2:1"]


def test_json_may_be_indented_with_tabs() -> None:
    """As many editors write it."""
    tabbed = "\n".join(line.replace("  ", "\t") for line in ORCHESTRA.splitlines())

    assert imported(tabbed).profile == imported(ORCHESTRA).profile


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Not there, not text, too large."""
    (tmp_path / "binary").write_bytes(b"models:\n\xff")
    (tmp_path / "large").write_bytes(b"#" * (BYTES_MAX + 1))
    for name, what in (
        ("nowhere", "cannot be read: No such file"),
        ("binary", "not UTF-8"),
        ("large", "bytes, at most"),
    ):
        with pytest.raises(ForeignFileError, match=what) as caught:
            read_foreign(str(tmp_path / name))
        assert name in str(caught.value)


VALUES = st.recursive(
    st.text(max_size=12) | st.integers(-(10**9), 10**9) | st.booleans() | st.none(),
    lambda inner: (
        st.lists(st.text(max_size=8) | st.integers(0, 99), max_size=40)
        | st.lists(st.dictionaries(st.text(min_size=1, max_size=5), inner, min_size=1, max_size=3), max_size=3)
        | st.dictionaries(st.text(min_size=1, max_size=5), inner, min_size=1, max_size=3)
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(min_size=1, max_size=8), VALUES, min_size=1, max_size=4))
def test_what_is_written_is_read_back(document: dict[str, Value]) -> None:
    """Whatever the values: quotes, line ends, words that YAML takes for something else, lists longer than a line."""
    assert plain(parse_foreign(yaml_text(document, comment=["a comment"]), "f")) == listed(document)


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {name: plain(member.node) for name, member in node.value.items()}
    return [plain(item) for item in node.value] if isinstance(node.value, list) else node.value


def listed(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: listed(inner) for name, inner in value.items()}
    return [listed(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", '""'),
        ("yes", "yes"),
        ("null", '"null"'),
        ("1.5", '"1.5"'),
        ("a: b", '"a: b"'),
        ("- a", '"- a"'),
        ("a ", '"a "'),
        ("ü", '"ü"'),
        (None, "null"),
        (7, "7"),
    ],
)
def test_quotes_stand_where_they_are_needed(value: Value, text: str) -> None:
    """And nowhere else: the file is for people."""
    assert scalar(value) == text
