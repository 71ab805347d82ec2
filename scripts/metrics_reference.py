"""Write docs/reference/metrics.md from the catalogue of metrics. A test fails when the page is not up to date."""

from pathlib import Path

from ostler.telemetry.metrics import LABELS, METRICS, SERIES_MAX

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "metrics.md"

HEAD = f"""\
# Metrics

`GET /metrics` answers in the text format of Prometheus. How to scrape it is in [monitoring](../how-to/monitoring.md).
Units are seconds, bytes and dollars. Counters begin at 0 when the hub starts. An attempt, a call and what they cost are
counted when their record is durable.

```console
$ curl -s http://127.0.0.1:7433/metrics | grep ostler_queue
```

The number of series is bounded by rule. Names of tasks, runs, sessions, keys, repositories and messages are no labels.
A value of a label beyond its bound becomes `other`, and so does a series beyond the {SERIES_MAX:,} of its metric.

This page is generated from the catalogue in the code; `python scripts/metrics_reference.py` writes it.
"""

KINDS = {"gauge": "Gauges", "counter": "Counters", "histogram": "Histograms"}


def page() -> str:
    """The page as text."""
    parts = [HEAD]
    for kind, title in KINDS.items():
        parts.append(f"\n## {title}\n\n| metric | labels | meaning |\n|---|---|---|\n")
        for name, metric in METRICS.items():
            if metric.kind == kind:
                labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
                parts.append(f"| `{name}` | {labels} | {metric.doc} |\n")
    parts.append("\n## Labels\n\n| label | values at most | what they are |\n|---|---|---|\n")
    parts += [f"| `{name}` | {bound} | {doc} |\n" for name, (bound, doc) in LABELS.items()]
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
