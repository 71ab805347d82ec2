"""Answers of a real hub from a run of the demo (without their events), and what else a report is made of."""

from pathlib import Path

import msgspec

from ostler.config.load import load_text
from ostler.config.sources import Source
from ostler.demo.callers import CallRow
from ostler.demo.report import Chapter, Evidence, HostRow
from ostler.demo.simulated import SimulatedSite
from ostler.domain.catalog import Catalog
from ostler.domain.policy import Policy
from ostler.hub.views import TaskAnswer

ANSWERS = Path(__file__).with_name("recorded_answers.jsonl")
URLS = {
    "sim-alpha": "http://127.0.0.1:1001",
    "sim-beta": "http://127.0.0.1:1002",
    "sim-cloud": "http://127.0.0.1:1003",
}


def answers() -> tuple[TaskAnswer, ...]:
    """Nine tasks of one run, in the order of their hand-in."""
    lines = ANSWERS.read_bytes().splitlines()
    return tuple(msgspec.json.decode(line, type=TaskAnswer) for line in lines)


def answer(task_id: str) -> TaskAnswer:
    """One of them."""
    return next(found for found in answers() if found.task.id == task_id)


def policy_of(text: str) -> Policy:
    """A profile's text, checked as the hub checks it."""
    source = Source(path=Path("/tmp/demo.yaml"), label="demo.yaml", name="demo")
    return load_text(text, source, {}, Path("/tmp")).policy


def simulated_policy(speed: float = 10.0) -> Policy:
    """The profile of the simulated machines."""
    return policy_of(SimulatedSite(speed, Path("/tmp/work")).profile(URLS, {}))


def catalog() -> Catalog:
    """Its tiers, models and endpoints."""
    return simulated_policy().catalog


def host(name: str = "sim-alpha", **fields: object) -> HostRow:
    """A machine that did some work."""
    values: dict[str, object] = {
        "name": name,
        "engine": "simulated Ollama",
        "simulated": True,
        "residents": ("qwen2.5-coder:32b-instruct",),
        "loads": 5,
        "unloads": 3,
        "swaps": 3,
        "lost_ms": 165_000,
        "calls": 16,
        "input_tokens": 1063,
        "output_tokens": 3840,
        "switched_off": 1,
    }
    return msgspec.convert({**values, **fields}, HostRow)


def call(**fields: object) -> CallRow:
    """A live call that went well."""
    base = CallRow(
        format="openai-chat",
        asked="tier:local_small",
        model="llama3.2:3b",
        endpoint="sim-beta",
        tier="local_small",
        status=200,
        streamed=True,
        first_token_ms=90,
        duration_ms=1_300,
        queue_ms=0,
        attempts=1,
        input_tokens=12,
        output_tokens=60,
        cost_micro_usd=0,
        fallback="",
        message="",
    )
    return msgspec.structs.replace(base, **fields)


def evidence(**fields: object) -> Evidence:
    """What a report of the recorded run is made of."""
    found = answers()
    base = Evidence(
        answers=found,
        hosts=(host(), host("sim-beta", switched_off=0, swaps=0)),
        catalog=catalog(),
        story=(Chapter(at_s=1.5, text="sim-alpha IS SWITCHED OFF"),),
        shows={"contracts": "needs a window of 150k tokens"},
        expected=len(found),
        elapsed_s=33.04,
        speed=20.0,
        simulated=("both machines",),
        real=("the hub",),
        calls=(call(), call(asked="tier:local_strong", tier="cloud_small", fallback="sim-alpha is down")),
        calls_expected=2,
    )
    return msgspec.structs.replace(base, **fields)
