"""Names: whatever a profile calls things, a name means one thing or the profile is refused."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from ostler.config.mistakes import Mistakes
from ostler.config.nodes import Place
from ostler.domain.catalog import DIRECT
from tests.config.support import loaded, problems

WORDS = ("a", "b", "c", "d", "e")
words = st.sampled_from(WORDS)
aliases = st.lists(words, max_size=2, unique=True)


def profile(tiers: Mapping[str, list[str]], models: Mapping[str, list[str]]) -> str:
    rows = [f"    {name}: {{provider: ollama, model: m-{name}, aliases: {other}}}" for name, other in tiers.items()]
    entries = [f"  {name}: {{aliases: {other}}}" for name, other in models.items()]
    return "routing:\n  tiers:\n" + "\n".join(rows) + "\nmodels:\n" + "\n".join(entries) + "\n"


@settings(max_examples=150, deadline=None)
@given(
    tiers=st.dictionaries(words, aliases, min_size=1, max_size=3), models=st.dictionaries(words, aliases, max_size=3)
)
def test_a_name_means_one_thing_or_the_profile_is_refused(
    tiers: dict[str, list[str]], models: dict[str, list[str]]
) -> None:
    """A name that two tiers, two models, or a tier and a model claim is told; otherwise each finds its owner."""
    claims: dict[str, set[tuple[str, str]]] = {}
    for kind, owners in (("tier", tiers), ("model", models)):
        for owner, others in owners.items():
            for name in {owner, *others}:
                claims.setdefault(name, set()).add((kind, owner))
    ambiguous = {name for name, owners in claims.items() if len(owners) > 1}

    found = problems(profile(tiers, models))

    assert {name for name in WORDS if any(f"'{name}' is ambiguous" in problem.what for problem in found)} == ambiguous
    if not ambiguous:
        catalog = loaded(profile(tiers, models)).policy.catalog
        resolved = {name: ("tier", tier) for name, tier in catalog.tier_aliases.items()}
        resolved |= {name: ("model", model) for name, model in catalog.model_aliases.items()}
        expected = {name: owner for name, (owner,) in claims.items() if name != owner[1]}
        assert resolved == expected


@settings(max_examples=100, deadline=None)
@given(
    count=st.integers(min_value=1, max_value=4),
    levels=st.fixed_dictionaries(
        {}, optional={level: st.integers(min_value=0, max_value=4) for level in ("trivial", "standard", "complex")}
    ),
)
def test_harder_work_never_goes_lower(count: int, levels: dict[str, int]) -> None:
    """Whichever complexities are written, the rest is filled in so that the order holds, or the mistake is told."""
    names = [DIRECT, *(f"t{number}" for number in range(1, count + 1))]
    wishes = {level: names[min(place, count)] for level, place in levels.items()}
    text = "routing:\n  tiers:\n" + "".join(f"    {name}: {{provider: ollama, model: m{name}}}\n" for name in names[1:])
    text += f"  complexity: {{{', '.join(f'{level}: {name}' for level, name in wishes.items())}}}\n"

    told = problems(text)
    ranks = [names.index(wishes[level]) for level in ("trivial", "standard", "complex") if level in wishes]

    if told:
        assert all("below" in problem.what for problem in told)
        assert ranks != sorted(ranks) or len(ranks) < 3
    else:
        found = loaded(text).policy.routing.complexity_tiers
        assert {level: found[level] for level in wishes} == wishes
        places = [names.index(tier) for tier in found.values()]
        assert places == sorted(places)


def mistakes() -> Mistakes:
    return Mistakes({("routing",): Place("f", 3), ("routing", "tiers", "a"): Place("f", 5)}, "f")


def test_a_mistake_is_placed_at_the_nearest_written_setting() -> None:
    """What is not written has the place of what it is missing from; with nothing written, the file."""
    book = mistakes()
    for path in (("routing", "tiers", "a", "model"), ("routing", "complexity"), ("hub", "port")):
        book.add(path, "what", "remedy")

    assert [problem.where for problem in book.problems] == [
        "f hub.port",
        "f:3 routing.complexity",
        "f:5 routing.tiers.a.model",
    ]


def test_names_may_be_missing_only_where_something_was_not_read() -> None:
    """A number out of range hides no name; an unknown key, an unread entry or an unread alias may."""
    place = Place("f", 1)
    tiers, models = ("routing", "tiers"), ("models",)

    book = mistakes()
    book.add_unread((*tiers, "a", "max_iterations"), "too large", "", place=place)
    book.add_unread(("hub", "port"), "too large", "", place=place)
    book.add((*tiers, "a"), "has no models", "")
    assert not book.may_lack(tiers, models)

    for path in ((*tiers, "a"), (*tiers, "a", "aliases"), (*tiers, "a", "model"), tiers):
        book = mistakes()
        book.add_unread(path, "", "", place=place)
        assert book.may_lack(tiers), path
        assert not book.may_lack(models), path

    for path in (("routing", "teirs"), (*tiers, "a", "aliasse")):
        book = mistakes()
        book.add_unknown(path, "", place=place)
        assert book.may_lack(tiers), path

    book = mistakes()
    book.add_unread(("extends",), "", "", place=place)
    assert book.may_lack(models)


def test_damage_is_known_below_and_at_a_setting() -> None:
    """A mistake damages everything around it and nothing beside it."""
    book = mistakes()
    book.add(("a", "b", "c"), "what", "remedy")

    assert all(book.is_damaged(path) for path in [("a",), ("a", "b"), ("a", "b", "c")])
    assert book.is_damaged(("x",), ("a", "b"))
    assert not book.is_damaged(("a", "c"), ("b",), ("a", "b", "c", "d"))
