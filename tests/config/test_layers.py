"""Layers: one profile over another, and the environment over both."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.config.layers import environment_layer, merge, name_list_items
from ostler.config.mistakes import Mistakes
from ostler.config.nodes import Member, Node, Place

HERE = Place("over", 1)


def tree(value: object, place: Place = HERE) -> Node:
    if isinstance(value, dict):
        return Node({key: Member(tree(inner, place), place) for key, inner in value.items()}, place)
    if isinstance(value, list):
        return Node([tree(item, place) for item in value], place)
    assert value is None or isinstance(value, bool | int | float | str)
    return Node(value, place)


def plain(node: Node) -> object:
    if isinstance(node.value, dict):
        return {key: plain(member.node) for key, member in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


keys = st.sampled_from(["a", "b", "c"])
trees = st.dictionaries(
    keys,
    st.recursive(st.integers(0, 3), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=6),
    max_size=3,
)


@given(trees)
def test_nothing_over_a_profile_is_the_profile(value: dict[str, object]) -> None:
    """An empty layer changes nothing, above or below."""
    assert plain(merge(tree(value), tree({}))) == plain(merge(tree({}), tree(value))) == value


@given(trees)
def test_a_profile_over_itself_is_itself(value: dict[str, object]) -> None:
    """Extending what one says already changes nothing."""
    assert plain(merge(tree(value), tree(value))) == value


@given(trees, trees)
def test_everything_that_the_upper_layer_says_holds(below: dict[str, object], above: dict[str, object]) -> None:
    """Whatever the upper layer says is so; what it is silent about is as below."""

    def check(merged: object, low: object, high: object) -> None:
        if isinstance(high, dict) and isinstance(low, dict):
            assert isinstance(merged, dict)
            assert merged.keys() == low.keys() | high.keys()
            for key in merged:
                if key not in high:
                    assert merged[key] == low[key]
                else:
                    check(merged[key], low.get(key), high[key])
        else:
            assert merged == high

    check(plain(merge(tree(below), tree(above))), below, above)


def test_keys_keep_the_order_of_the_layer_below() -> None:
    """A tier that is changed stays where it was on the ladder; a new one comes last."""
    merged = merge(tree({"x": {}, "y": {}}), tree({"new": {}, "y": {"a": 1}}))

    assert list(plain(merged)) == ["x", "y", "new"]  # type: ignore[call-overload]


def test_an_empty_section_above_hides_nothing_below() -> None:
    """`routing:` with only comments below it is silence, not a wish for nothing."""
    assert plain(merge(tree({"routing": {"a": 1}}), tree({"routing": None}))) == {"routing": {"a": 1}}


def test_every_setting_keeps_the_place_it_was_written_at() -> None:
    """After merging, a mistake in the lower layer is still told with the lower layer's line."""
    merged = merge(tree({"s": {"a": 1, "b": 2}}, Place("base", 7)), tree({"s": {"b": 3}}))

    assert isinstance(merged.value, dict)
    section = merged.value["s"].node.value
    assert isinstance(section, dict)
    assert {key: str(member.place) for key, member in section.items()} == {"a": "base:7", "b": "over:1"}


def test_two_ways_to_say_one_thing_replace_each_other() -> None:
    """`model` above takes the place of `models` below, and the other way round."""
    below = {"t": {"models": ["x"], "provider": "p", "rank": 1}}

    merged = merge(tree(below), tree({"t": {"model": "y", "providers": ["q"]}}))

    assert plain(merged) == {"t": {"rank": 1, "model": "y", "providers": ["q"]}}


def test_a_list_of_named_entries_becomes_a_mapping() -> None:
    """So that a profile above can change one entry of a list below."""
    mistakes = Mistakes({}, "f")
    root = tree({"endpoints": [{"name": "a", "slots": 1}, {"name": "b"}], "hub": {}})

    named = name_list_items(root, "endpoints", mistakes)

    assert plain(named) == {"endpoints": {"a": {"slots": 1}, "b": {}}, "hub": {}}
    assert mistakes.problems == ()


def test_entries_without_a_usable_name_are_told() -> None:
    """No name, an empty one, one that is no text, or no mapping at all: four mistakes, and the good entry stays."""
    mistakes = Mistakes({}, "f")
    root = tree({"endpoints": [{"slots": 1}, {"name": ""}, {"name": 5}, "x", {"name": "good"}]})

    named = name_list_items(root, "endpoints", mistakes)

    assert plain(named) == {"endpoints": {"good": {}}}
    assert len(mistakes.problems) == 4


def test_the_environment_sets_plain_settings_of_hub_and_worker_only() -> None:
    """Other variables of Ostler, lists, and other sections are left alone."""
    env = {
        "OSTLER_HUB_PORT": "80",
        "OSTLER_HUB_HOST": "80",
        "OSTLER_WORKER_NAME": "w",
        "OSTLER_WORKER_ALLOW": "command",
        "OSTLER_BUDGET_MONTHLY_HARD_CAP": "1",
        "OSTLER_HUB_TOKEN": "t",
        "OSTLER_PROFILE": "p",
    }

    layer = environment_layer(env)

    assert plain(layer) == {"hub": {"host": "80", "port": 80}, "worker": {"name": "w"}}
    assert plain(environment_layer({})) == {}
