"""What can be done from the pages: one table of verbs, each with the question that is asked before it is done.

A verb that changes what runs or what is kept asks first; the form is sent again with the answer. Every verb is one call
of the hub's interface, so that pages can do nothing that the API cannot.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from ostler.domain.errors import InvalidInputError, nearest
from ostler.domain.observations import ObservationQuery
from ostler.domain.tasks import Priority, TaskKind, TaskSpec
from ostler.hub.alert_views import AlertNote
from ostler.hub.api import HubApi
from ostler.hub.fleet_views import LoadOrder, UnloadOrder
from ostler.web.decode import check_names

Fields = Mapping[str, str]
PLAN_SECONDS = 2.0
_ID_BYTES = 5


class Done(NamedTuple):
    """What became of it, in a sentence, and where to go; an empty `path` stays on the page."""

    said: str
    path: str = ""


class Verb(NamedTuple):
    """One thing that can be done. `question`: asked before, with the fields of the form filled in; empty = none."""

    label: str
    do: Callable[[HubApi, Fields], Awaitable[Done]]
    needs: tuple[str, ...]
    question: str = ""
    consequence: str = ""

    def asks(self, fields: Fields) -> str:
        """The question for these fields."""
        return self.question.format_map(_Blank(fields))


class _Blank(dict[str, str]):
    """Fields of which those that are missing are empty."""

    def __missing__(self, key: str) -> str:
        return ""


async def submit(api: HubApi, fields: Fields) -> Done:
    """Hand in a task that was typed in."""
    spec = spec_of(fields)
    await api.submit([spec])
    return Done(f"{spec.id} is in the queue", f"tasks/{spec.id}")


def spec_of(fields: Fields) -> TaskSpec:
    """The task of the form. Raises `InvalidInputError`."""
    text = fields.get("prompt", "").strip()
    if not text:
        raise InvalidInputError("there is nothing to do", where="prompt", remedy="say what is to be done")
    kind = TaskKind(_one_of(fields, "kind", TaskKind, TaskKind.CHAT))
    priority = Priority[_one_of(fields, "priority", (one.name.lower() for one in Priority), "normal").upper()]
    is_command = kind is TaskKind.COMMAND
    task_id = fields.get("id", "").strip() or f"t-{secrets.token_hex(_ID_BYTES)}"
    check_names({"id": task_id})
    return TaskSpec(
        id=task_id,
        kind=kind,
        title=fields.get("title", "").strip(),
        prompt="" if is_command else text,
        argv=tuple(text.split()) if is_command else (),
        repo=fields.get("repo", "").strip() or None,
        tier=fields.get("tier") or None,
        model=fields.get("model", "").strip() or None,
        priority=priority,
        local_only=fields.get("local_only") == "yes",
    )


def _one_of(fields: Fields, field: str, known: Iterable[str], otherwise: str) -> str:
    """The choice in a field. Raises `InvalidInputError` for one that is not offered."""
    choices, chosen = tuple(known), fields.get(field) or otherwise
    if chosen not in choices:
        raise InvalidInputError(f"no {field} '{chosen}'", where=field, remedy=nearest(chosen, choices))
    return chosen


async def cancel(api: HubApi, fields: Fields) -> Done:
    """Cancel a task."""
    await api.cancel(fields["name"], fields.get("reason", "").strip() or "cancelled on the dashboard")
    return Done(f"{fields['name']} is cancelled")


async def retry(api: HubApi, fields: Fields) -> Done:
    """Send a task back to the queue."""
    await api.retry(fields["name"])
    return Done(f"{fields['name']} is in the queue again")


async def answer(api: HubApi, fields: Fields) -> Done:
    """Let a task that asks go on with an answer."""
    await api.people.answer(fields["name"], fields["text"], other=fields.get("other") == "yes")
    return Done(f"{fields['name']} goes on with your answer")


async def acknowledge(api: HubApi, fields: Fields) -> Done:
    """A person knows of an alert."""
    await api.alerts.acknowledge(AlertNote(id=fields["name"], by="dashboard"))
    return Done(f"{fields['name']} is silent until it is over")


async def pause(api: HubApi, fields: Fields) -> Done:
    """Pause a task."""
    await api.pause(fields["name"])
    return Done(f"{fields['name']} is paused")


async def resume(api: HubApi, fields: Fields) -> Done:
    """Let a paused task go on."""
    await api.resume(fields["name"])
    return Done(f"{fields['name']} may start again")


async def load(api: HubApi, fields: Fields) -> Done:
    """Load a model."""
    order = LoadOrder(model=fields["name"].strip(), drain=fields.get("drain") == "yes")
    change = await api.residency.load(fields["host"], order)
    return Done(f"{change.model} is being loaded on {change.host}")


async def unload(api: HubApi, fields: Fields) -> Done:
    """Unload a model that does no work."""
    change = await api.residency.unload(fields["host"], UnloadOrder(model=fields["name"]))
    return Done(f"{change.model} leaves {change.host}")


async def drain(api: HubApi, fields: Fields) -> Done:
    """Unload a model when its calls have ended."""
    change = await api.residency.unload(fields["host"], UnloadOrder(model=fields["name"], drain=True))
    return Done(f"{change.model} leaves {change.host} when its calls have ended")


async def pin(api: HubApi, fields: Fields) -> Done:
    """Keep a model in memory."""
    await api.residency.pin(fields["host"], fields["name"], pinned=True)
    return Done(f"{fields['name']} stays on {fields['host']} until the hub stops")


async def unpin(api: HubApi, fields: Fields) -> Done:
    """Allow a model to be evicted again."""
    await api.residency.pin(fields["host"], fields["name"], pinned=False)
    return Done(f"{fields['name']} may be evicted from {fields['host']} again")


async def check(api: HubApi, fields: Fields) -> Done:
    """List an endpoint now."""
    probe = await api.endpoints.check(fields["name"])
    return Done(f"{fields['name']} is {probe.status.value}" + (f": {probe.message}" if probe.message else ""))


async def reset(api: HubApi, fields: Fields) -> Done:
    """Close the breaker of an endpoint."""
    await api.endpoints.reset(fields["name"])
    return Done(f"{fields['name']} may be called again")


async def forget(api: HubApi, fields: Fields) -> Done:
    """Forget outcomes of a model at a type of work, and what they changed."""
    change = await api.patterns.forget(ObservationQuery(task_type=fields["name"], model=fields.get("model", "")))
    changed = f"; decisions about {', '.join(change.changed)} are as before" if change.changed else ""
    return Done(f"{change.count} outcomes are forgotten{changed}")


async def plan(api: HubApi, fields: Fields) -> Done:
    """Plan what is left of a run."""
    made = await api.plans.make(fields["name"], strategy="portfolio", seconds=PLAN_SECONDS)
    return Done(f"plan {made.versions[-1].version} of {fields['name']} is followed")


async def unplan(api: HubApi, fields: Fields) -> Done:
    """Follow the plan of a run no longer."""
    await api.plans.drop(fields["name"])
    return Done(f"the plan of {fields['name']} is followed no longer")


_STOPS = "What it has done so far is lost, and what it needs no more is cancelled with it."
VERBS: Mapping[str, Verb] = MappingProxyType(
    {
        "submit": Verb("Hand in", submit, ()),
        "cancel": Verb("Cancel task", cancel, ("name",), "Cancel {name}?", _STOPS),
        "retry": Verb("Try again", retry, ("name",)),
        "answer": Verb("Answer", answer, ("name", "text")),
        "acknowledge": Verb("Acknowledge", acknowledge, ("name",)),
        "pause": Verb("Pause", pause, ("name",)),
        "resume": Verb("Resume", resume, ("name",)),
        "load": Verb(
            "Load model",
            load,
            ("name", "host"),
            "Load {name} on {host}?",
            "What has to go for it is unloaded first, and what waits for that waits longer.",
        ),
        "unload": Verb(
            "Unload model", unload, ("name", "host"), "Unload {name} from {host}?", "It is refused while it works."
        ),
        "drain": Verb(
            "Drain model",
            drain,
            ("name", "host"),
            "Drain {name} on {host}?",
            "It takes no new calls, and leaves the memory when those under way have ended.",
        ),
        "pin": Verb("Pin", pin, ("name", "host")),
        "unpin": Verb("Unpin", unpin, ("name", "host")),
        "check": Verb("Check now", check, ("name",)),
        "reset": Verb("Close breaker", reset, ("name",)),
        "forget": Verb(
            "Forget outcomes",
            forget,
            ("name",),
            "Forget what {model} did at {name}?",
            "Decisions go back to what they were without these outcomes. They cannot be brought back.",
        ),
        "plan": Verb("Plan it", plan, ("name",)),
        "unplan": Verb("Drop plan", unplan, ("name",), "Follow the plan of {name} no longer?", "Its tasks go on."),
    }
)


def verb_of(fields: Fields) -> Verb:
    """The verb of a form with what it needs. Raises `InvalidInputError`."""
    name = fields.get("verb", "")
    verb = VERBS.get(name)
    if verb is None:
        raise InvalidInputError(f"no verb '{name}'", where="verb", remedy=nearest(name, VERBS))
    for field in verb.needs:
        if not fields.get(field, "").strip():
            raise InvalidInputError(f"'{field}' is empty", where=field, remedy="fill it in")
    return verb
