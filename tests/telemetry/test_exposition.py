"""What a scraper reads: the client library's own parser understands every line, whatever is in the labels."""

import doctest
import math
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ostler.telemetry import exposition
from ostler.telemetry.exposition import Family, Sample, histogram, number, text_of


def parsed(text: str) -> dict[str, list[tuple[str, dict[str, str], float]]]:
    """Samples by family, as the client library reads them."""
    return {
        family.name: [(sample.name, dict(sample.labels), sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


LABEL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(LABEL, st.floats(allow_nan=False), max_size=5), st.text(max_size=20).filter(str.isprintable))
def test_every_value_of_a_label_comes_through(values: Mapping[str, float], doc: str) -> None:
    """Quotes, line breaks, backslashes, signs of all scripts; numbers to the last digit."""
    samples = [Sample(labels={"model": label}, value=value) for label, value in values.items()]
    text = text_of([Family(name="ostler_x", kind="gauge", doc=doc, samples=samples)])

    found = {labels["model"]: value for _, labels, value in parsed(text).get("ostler_x", [])}
    assert found == dict(values)


def test_a_histogram_is_cumulative_and_ends_with_all() -> None:
    """As the format wants it: each bucket holds those below it."""
    samples = list(histogram({"tier": "low"}, (0.1, 1.0), [2, 0, 3], 7.5))
    text = text_of([Family(name="ostler_s", kind="histogram", doc="d", samples=samples)])

    assert parsed(text)["ostler_s"] == [
        ("ostler_s_bucket", {"tier": "low", "le": "0.1"}, 2),
        ("ostler_s_bucket", {"tier": "low", "le": "1"}, 2),
        ("ostler_s_bucket", {"tier": "low", "le": "+Inf"}, 5),
        ("ostler_s_sum", {"tier": "low"}, 7.5),
        ("ostler_s_count", {"tier": "low"}, 5),
    ]


def test_a_family_without_a_sample_is_left_out() -> None:
    """A type without a value is noise."""
    assert text_of([Family(name="ostler_x", kind="gauge", doc="d")]) == ""
    assert text_of([]) == ""


@pytest.mark.parametrize("value", [0, 1, -1, 2**53, 1e300, 0.1 + 0.2, 1 / 3, math.inf, -math.inf])
def test_a_number_is_written_so_that_it_is_read_as_itself(value: float) -> None:
    """Whole ones without a point."""
    assert float(number(value).replace("Inf", "inf")) == value


def test_the_examples_of_the_docs_hold() -> None:
    """Doctests of the module."""
    assert doctest.testmod(exposition).failed == 0
