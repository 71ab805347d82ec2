"""The text format of Prometheus, written by hand: it is small, and a client library would be a process-wide registry.

Version 0.0.4 of the format, which every scraper reads. One family after the other: `# HELP`, `# TYPE`, its samples; a
histogram as cumulative buckets that end with `+Inf`, a sum and a count.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a value under labels. `suffix` is that of a part of a histogram."""

    labels: Mapping[str, str] = {}
    value: float
    suffix: str = ""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one metric. `kind`: `counter`, `gauge` or `histogram`."""

    name: str
    kind: str
    doc: str
    samples: Sequence[Sample] = ()


def text_of(families: Iterable[Family]) -> str:
    """The whole answer to a scrape. Families without a sample are left out."""
    lines: list[str] = []
    for family in families:
        if family.samples:
            lines += [f"# HELP {family.name} {_escaped(family.doc)}", f"# TYPE {family.name} {family.kind}"]
            lines += [_line(family.name, sample) for sample in family.samples]
    return "\n".join(lines) + "\n" if lines else ""


def histogram(
    labels: Mapping[str, str], bounds: Sequence[float], counts: Sequence[int], total: float
) -> Iterator[Sample]:
    """The samples of one histogram. `counts`: of each bucket alone, and of what is above all bounds, last."""
    below = 0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        below += count
        yield Sample(labels={**labels, "le": number(bound)}, value=below, suffix="_bucket")
    yield Sample(labels=labels, value=total, suffix="_sum")
    yield Sample(labels=labels, value=below, suffix="_count")


def number(value: float) -> str:
    """A number as the format writes it.

    >>> number(3), number(0.5), number(float("inf")), number(float("nan"))
    ('3', '0.5', '+Inf', 'NaN')
    """
    if value != value:  # noqa: PLR0124 - what is not equal to itself is no number
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{label}="{_quoted(value)}"' for label, value in sample.labels.items())
    return (
        f"{name}{sample.suffix}{{{labels}}} {number(sample.value)}"
        if labels
        else (f"{name}{sample.suffix} {number(sample.value)}")
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
