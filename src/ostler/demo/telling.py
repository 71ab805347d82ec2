"""Events of the hub in the words of the demo. Pure."""

from collections.abc import Callable, Mapping

from ostler.demo.report import Tone
from ostler.domain.event import Event
from ostler.hub.explaining import seconds

DOWN = "endpoint.down"
RATE_LIMITED = "endpoint.rate_limited"


def tell(event: Event) -> str | None:
    """An event that is worth a line; `None` for the everyday ones."""
    teller = _TELLERS.get(event.name)
    return teller(event) if teller is not None else None


def tone_of(event: Event) -> Tone:
    """How it sounds."""
    return _TONES.get(event.name, Tone.PLAIN)


def is_chapter(event: Event) -> bool:
    """Whether the event belongs into the short story of the report: what happened to the fleet, not to a task."""
    return event.name in _CHAPTERS and tell(event) is not None


def _down(event: Event) -> str:
    return f"the hub finds {event.metadata['endpoint']} down: {event.metadata['reason']}"


def _up(event: Event) -> str | None:
    down_ms = int(event.measurements.get("down_ms", 0))
    return f"the hub uses {event.metadata['endpoint']} again, after {seconds(down_ms)}" if down_ms else None


def _rate_limited(event: Event) -> str:
    wait = seconds(int(event.measurements["retry_after_ms"]))
    return f"{event.metadata['endpoint']} refuses: too many requests, come back in {wait}"


def _resident(event: Event) -> str | None:
    loaded, unloaded = event.metadata.get("loaded"), event.metadata.get("unloaded")
    if not loaded:
        return None
    return f"{event.metadata['endpoint']} has loaded {loaded}" + (f" and unloaded {unloaded}" if unloaded else "")


def _lost(event: Event) -> str:
    held = int(event.measurements["attempts"])
    return f"the hub gives up worker {event.metadata['worker']} and takes back what it held: {held} attempts"


def _joined(event: Event) -> str:
    return f"worker {event.metadata['worker']} joins the hub"


def _fallback(event: Event) -> str:
    tiers = f"{event.metadata['original_tier']} -> {event.metadata['fallback_tier']}"
    return f"{event.task_id}: fallback {tiers} after {seconds(int(event.measurements['wait_ms']))}"


def _model_fallback(event: Event) -> str:
    models = f"{event.metadata['original_model']} -> {event.metadata['fallback_model']}"
    return f"{event.task_id}: {models} after {seconds(int(event.measurements['wait_ms']))}"


def _reclaimed(event: Event) -> str:
    return f"{event.task_id} is taken back: {event.metadata['reason']}"


def _retry(event: Event) -> str | None:
    if event.metadata["failure"] == "worker_lost":
        return None  # told as taken back
    return f"{event.task_id} failed and is tried again: {event.metadata['message']}"


def _ended_badly(event: Event) -> str:
    what = event.name.removeprefix("task.").replace("_", " ")
    why = event.metadata.get("message") or event.metadata.get("reason") or "no reason is known"
    return f"{event.task_id}: {what}: {why}"


_TELLERS: Mapping[str, Callable[[Event], str | None]] = {
    DOWN: _down,
    "endpoint.up": _up,
    RATE_LIMITED: _rate_limited,
    "endpoint.resident": _resident,
    "worker.lost": _lost,
    "worker.joined": _joined,
    "scheduler.fallback": _fallback,
    "scheduler.model_fallback": _model_fallback,
    "task.reclaimed": _reclaimed,
    "task.retry_wait": _retry,
    "task.dead_letter": _ended_badly,
    "task.failed": _ended_badly,
    "task.cancelled": _ended_badly,
    "task.expired": _ended_badly,
    "task.needs_human": _ended_badly,
}
_TONES: Mapping[str, Tone] = {
    DOWN: Tone.BAD,
    "worker.lost": Tone.BAD,
    "task.dead_letter": Tone.BAD,
    "task.failed": Tone.BAD,
    "task.expired": Tone.BAD,
    "task.needs_human": Tone.BAD,
    RATE_LIMITED: Tone.CHANGE,
    "scheduler.fallback": Tone.CHANGE,
    "scheduler.model_fallback": Tone.CHANGE,
    "task.reclaimed": Tone.CHANGE,
    "task.retry_wait": Tone.CHANGE,
    "task.cancelled": Tone.CHANGE,
    "endpoint.up": Tone.GOOD,
    "worker.joined": Tone.GOOD,
}
_CHAPTERS = frozenset({DOWN, "endpoint.up", RATE_LIMITED, "worker.lost", "worker.joined"})
