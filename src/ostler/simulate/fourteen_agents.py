"""The fourteen agents on one machine: the problem this scheduler was written for, as an instance to plan.

One host of 32 GB. Two 32B models fill it, each alone, and the 7B model takes 8 GB: no two are ever resident together.
Nothing is loaded at the start. Three readings of what needs what, because the design they come from holds three:

- `map`: its table of dependencies, literally; who is not listed needs nothing.
- `mermaid`: its diagram; sign-in comes before all other code, all code before all review, and DevOps deploys last.
- `phases`: what its phases assume; DevOps is infrastructure work beside the code, and review needs the code.

Loads and unloads are the midpoints of the ranges it gives for swaps (35-45, 20-30 and 25-35 s).
"""

from collections.abc import Mapping
from typing import Literal, get_args

from ostler.domain.errors import InvalidInputError, nearest
from ostler.planning.instance import Choice, Instance, PlanHost, PlanTask, Serving
from ostler.planning.phases import Group, Order

GB = 1000**3
MINUTE_MS = 60_000
Reading = Literal["map", "mermaid", "phases"]
READINGS: tuple[Reading, ...] = get_args(Reading)

LATEST, QUALITY, FAST = "latest", "quality", "fast"
MEMORY_GB = 32
SIZES_GB = {LATEST: 32, QUALITY: 32, FAST: 8}
LOAD_MS = {LATEST: 22_500, QUALITY: 22_500, FAST: 7_500}
UNLOAD_MS = {LATEST: 17_500, QUALITY: 17_500, FAST: 7_500}

# Task, name of the agent, model, minutes; in the order of the design's own lists.
AGENTS: tuple[tuple[str, str, str, int], ...] = (
    ("chief-architect", "Chief Architect", QUALITY, 3),
    ("python", "Python Specialist", LATEST, 15),
    ("swift", "Swift Specialist", LATEST, 10),
    ("go", "Go Specialist", LATEST, 15),
    ("rust", "Rust Specialist", LATEST, 10),
    ("flutter", "Flutter Specialist", LATEST, 10),
    ("api-explorer", "API Explorer", LATEST, 10),
    ("salesforce", "Salesforce API Specialist", LATEST, 10),
    ("authentik", "Authentik API Specialist", LATEST, 15),
    ("devops", "DevOps Engineer", LATEST, 15),
    ("docs", "Documentation Lead", QUALITY, 15),
    ("qa", "QA Engineer", QUALITY, 15),
    ("security", "Security Auditor", QUALITY, 15),
    ("credentials", "Credential Manager", FAST, 3),
)
CRITICAL = ("python", "go", "authentik", "devops")
SECONDARY = ("swift", "flutter", "rust", "api-explorer", "salesforce")
CODERS = tuple(task for task, _, model, _ in AGENTS if model == LATEST)
REVIEWS = ("qa", "security", "docs")

_ARCHITECTURE = Group(name="architecture", tasks=("chief-architect",))
_IMPLEMENTATION = Group(name="implementation", tasks=CODERS)
_CREDENTIALS = Group(name="credentials", tasks=("credentials",))
# The phases of the design's three strategies, as its programs have them. B awaits each review before the next.
DECLARED: Mapping[str, Order] = {
    "model-first": (_ARCHITECTURE, _IMPLEMENTATION, Group(name="quality", tasks=REVIEWS), _CREDENTIALS),
    "dependency-first": (
        _ARCHITECTURE,
        _IMPLEMENTATION,
        Group(name="quality", tasks=REVIEWS, sequential=True),
        _CREDENTIALS,
    ),
    "hybrid": (
        _ARCHITECTURE,
        Group(name="core implementation", tasks=CRITICAL),
        Group(name="extended implementation", tasks=SECONDARY),
        Group(name="quality", tasks=REVIEWS),
        _CREDENTIALS,
    ),
}


def needs(reading: Reading) -> dict[str, tuple[str, ...]]:
    """What each task needs in one reading; a task that is not a key needs nothing."""
    if reading == "map":
        return {
            "python": ("chief-architect",),
            "qa": ("python", "go"),
            "security": ("python", "authentik"),
            "docs": ("python",),
            "devops": ("qa", "security"),
        }
    if reading == "mermaid":
        code = tuple(task for task in CODERS if task != "devops")
        return {
            "authentik": ("chief-architect",),
            **{task: ("chief-architect", "authentik") for task in code if task != "authentik"},
            **dict.fromkeys(REVIEWS, code),
            "devops": ("qa", "security"),
        }
    return {
        **dict.fromkeys(CODERS, ("chief-architect",)),
        "qa": CODERS,
        "security": CRITICAL,
        "docs": CRITICAL,
    }


def fourteen_agents(reading: Reading = "map", slots: int = 4) -> Instance:
    """The instance in one reading, every model with that many slots. Raises `InvalidInputError` for another reading."""
    if reading not in READINGS:
        raise InvalidInputError(f"no reading '{reading}'", where="reading", remedy=nearest(reading, READINGS))
    if slots < 1:
        raise InvalidInputError(f"{slots} slots", where="slots", remedy="at least one task must be able to run")
    needed = needs(reading)
    models = {
        model: Serving(
            memory_bytes=SIZES_GB[model] * GB, load_ms=LOAD_MS[model], unload_ms=UNLOAD_MS[model], slots=slots
        )
        for model in SIZES_GB
    }
    return Instance(
        hosts=(PlanHost(name="mac", memory_bytes=MEMORY_GB * GB, models=models),),
        tasks=tuple(
            PlanTask(
                id=task,
                label=label,
                choices=(Choice(models=(model,), duration_ms=minutes * MINUTE_MS),),
                needs=needed.get(task, ()),
            )
            for task, label, model, minutes in AGENTS
        ),
        name=f"fourteen-agents-{reading}-{slots}",
    )
