"""Write docs/reference/events.md from the catalogue of events. A test fails when the page is not up to date."""

from pathlib import Path

from ostler.domain.event import CATALOGUE

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "events.md"

HEAD = """\
# Events

Everything that happens is an event: stored in order, shown by `ostler events` (`--follow` for live), and sent by
`GET /hub/events/stream`. An event has a `seq` (its place in the log), a `name`, `at_ms` (epoch milliseconds),
`task_id` where it is about a task, `measurements` (numbers) and `metadata` (texts, flags).
Events are stored in the same transaction as the change they tell of.

This page is generated from the catalogue in the code; `python scripts/events_reference.py` writes it.
"""


def page() -> str:
    """The page as text."""
    parts = [HEAD]
    family = ""
    for name, kind in CATALOGUE.items():
        if name.split(".")[0] != family:
            family = name.split(".")[0]
            parts.append(f"\n## {family}\n")
        parts.append(f"\n### `{name}`\n\n{kind.doc}\n")
        if kind.measurements:
            parts.append("\nMeasurements: " + ", ".join(f"`{field}`" for field in kind.measurements) + ".\n")
        if kind.metadata:
            parts.append("\nMetadata: " + ", ".join(f"`{field}`" for field in kind.metadata) + ".\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
