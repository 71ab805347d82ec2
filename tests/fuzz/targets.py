"""Every reader of what others wrote, with good inputs to begin with: one row each."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC
from functools import partial
from pathlib import Path

import msgspec

from ostler.app.prices import read_table, shipped_table
from ostler.cli.claimsfile import parse_claims
from ostler.cli.spec import duration_ms
from ostler.cli.taskfile import parse_task_file
from ostler.config.agent_files import parse_agent
from ostler.config.foreign import parse_foreign
from ostler.config.importing import import_trees
from ostler.config.load import load_text
from ostler.domain.cron import following, parsed
from ostler.domain.errors import InvalidInputError
from ostler.domain.sites import host_name, is_loopback, is_same_site
from ostler.domain.trace import parse as parse_trace
from ostler.fleet.gpu import parse_nvidia
from ostler.hub.sign_ins import client_of
from ostler.store.postgres_engine import place_of
from ostler.web.call import Route
from ostler.web.decode import decode_form, decode_json, decode_query
from ostler.web.routes import hub_routes
from ostler.wire.allowances import reported
from ostler.wire.retry_after import retry_after_ms
from ostler.workers import claims
from ostler.workers.runners.agents.aider import AiderReader
from ostler.workers.runners.agents.claude import ClaudeReader
from ostler.workers.runners.agents.codex import CodexReader
from ostler.workers.runners.agents.contract import Reader
from ostler.workers.runners.agents.lines import LineCutter
from ostler.workers.runners.agents.opencode import OpencodeReader
from tests.config.support import EVERYTHING, SOURCE
from tests.config.test_import import CCPROXY, KNOWN, ORCHESTRA
from tests.fuzz import http_targets, wire_targets
from tests.fuzz.mutate import HTTP_JUNK, YAML_JUNK, of_bytes, of_trees
from tests.fuzz.play import Target

ROOT = Path(__file__).parents[2]
YAML, JSON, PLAIN = of_bytes(YAML_JUNK), of_trees(), of_bytes()
AT_MS = 1_770_000_000_000


def _text(data: bytes) -> str:
    """As files are read: what is no UTF-8 is refused before, so it never gets here."""
    return data.decode("utf-8", "replace")


def _files(pattern: str) -> Callable[[], Sequence[bytes]]:
    return lambda: [path.read_bytes()[:20_000] for path in sorted(ROOT.glob(pattern)) if path.stat().st_size]


# files of people


def profile(data: bytes) -> object:
    return load_text(_text(data), SOURCE, {"HOME": "/home-of-a-test"}, Path("/profiles"))


def foreign(data: bytes) -> object:
    found = import_trees([("f1", parse_foreign(_text(data), "f1"))], KNOWN)
    return load_text(found.profile, SOURCE, {"HOME": "/nowhere"}, Path("/nowhere"))


def todo(data: bytes) -> object:
    text = _text(data)
    again = claims.written(text, "T-1", "somebody", "2026-01-01")
    claim = claims.read(again, "T-1")
    assert claim is None or claim.assignee == "somebody", "a claim that was written is not read back"
    return claim


def prices(data: bytes) -> object:
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(data)
        file.flush()
        return read_table(Path(file.name))


def cron(data: bytes) -> object:
    return following(parsed(_text(data)), AT_MS, UTC)


def database(data: bytes) -> object:
    place = place_of(_text(data))
    return place.shown, repr(place)


def duration(data: bytes) -> object:
    return duration_ms(_text(data), "--timeout")


# bodies of requests to the hub


def _decoded(row: Route, data: bytes) -> object:
    if row.takes_body:
        return decode_json(data, row.body)
    pairs = [tuple(part.partition("=")[::2]) for part in _text(data).split("&")]
    return decode_query([(str(a), str(b)) for a, b in pairs], row.query)


def bodies(data: bytes) -> object:
    """Every route is given the same; what one refuses another may take."""
    found, refused = [], None
    for row in hub_routes():
        try:
            found.append(_decoded(row, data))
        except InvalidInputError as error:
            refused = error
            if not error.where:
                raise AssertionError("a refused body has no place") from error
    if refused is not None:
        raise refused
    return found


def form(data: bytes) -> object:
    (row,) = (row for row in hub_routes() if row.takes_forms)
    assert isinstance(row.body, type)
    return decode_form(data, row.body)


BODIES = (
    b'{"tasks":[{"id":"t-1","kind":"command","argv":["true"],"needs":["a"],"env":{"A":"b"},"timeout_s":5}],"plan":{}}',
    b'{"name":"w","host":"h","slots":{"chat":1},"capabilities":["a"],"holds":[{"task_id":"t","generation":1}]}',
    b'[{"type":"finished","task_id":"t","generation":1,"ok":true,"output":"x","usage":{"input_tokens":1}}]',
    b'{"cpu_percent":10,"memory_bytes":1,"residents":[]}',
    b'{"wait_ms":100}',
    b"null",
    b"{}",
    b"limit=5&state=queued&batch=x",
    b"after=0",
    b'{"name":"k","models":["a"],"limit_micro_usd":5,"window":"day"}',
)


def headers(data: bytes) -> object:
    """What endpoints, clients and browsers put into headers."""
    lines = [line.partition(": ") for line in data.decode("latin-1").split("\r\n")]
    told = {name.lower(): value for name, _, value in lines}
    for value in told.values():
        host_name(value), is_loopback(value), is_same_site(value, value), parse_trace(value), client_of(value)
    parse_nvidia(_text(data))
    return retry_after_ms(told, AT_MS), reported(told, AT_MS)


HEADERS = (
    b"retry-after: 5\r\nretry-after-ms: 100\r\nx-ratelimit-reset-requests: 1m30s\r\nhost: [::1]:80\r\norigin: http://a:1",
    (
        b"retry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n"
        b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    ),
    b"anthropic-ratelimit-unified-5h-utilization: 0.5\r\nanthropic-ratelimit-unified-5h-reset: 1770000000",
    b"x-codex-primary-used-percent: 5\r\nx-codex-primary-window-minutes: 300\r\n16384, 12000",
)


def agent(make: Callable[[], Reader], data: bytes) -> object:
    """The output of an agent's command line, in pieces; whatever it says, the verdict is a verdict."""
    reader, cutter = make(), LineCutter()
    step = 1 + sum(data[:64]) % 4_001
    lines = [line for at in range(0, len(data), step) for line in cutter.feed(data[at : at + step])]
    for line in [*lines, *cutter.end()]:
        reader.feed(line)
    errors = _text(data[-2_000:])
    reader.stuck_on(errors)
    assert reader.steps >= 0
    assert reader.repeats >= 0
    return [reader.verdict(code, errors) for code in (0, 1, -9, None)]


def _agents() -> Iterator[Target]:
    made: dict[str, Callable[[], Reader]] = {
        "opencode": OpencodeReader,
        "claude": ClaudeReader,
        "codex": CodexReader,
        "aider": AiderReader,
    }
    for name, make in made.items():
        seeds = _files(f"tests/workers/agents/recordings/{name}-*/*.jsonl")
        yield Target(name=f"agent {name}", read=partial(agent, make), seeds=seeds, mutate=JSON)


def _people() -> Iterator[Target]:
    profiles = _files("src/ostler/config/profiles/*.yaml")
    yield Target(
        name="profile",
        read=profile,
        seeds=lambda: [EVERYTHING.encode(), *profiles()],
        mutate=YAML,
        remedied=True,
        share=0.5,
    )
    yield Target(
        name="imported", read=foreign, seeds=lambda: [ORCHESTRA.encode(), CCPROXY.encode()], mutate=YAML, share=0.3
    )
    yield Target(
        name="tasks",
        read=lambda data: parse_task_file(_text(data), "tasks.yaml"),
        seeds=_files("examples/fourteen-*.yaml"),
        mutate=YAML,
        remedied=True,
        share=0.3,
    )
    yield Target(
        name="claims of a plan",
        read=lambda data: parse_claims(_text(data), "claims.yaml", {"T1": "one"}),
        seeds=_files("examples/*-claims.yaml"),
        mutate=YAML,
        remedied=True,
        share=0.5,
    )


def _more_of_people() -> Iterator[Target]:
    yield Target(
        name="agents",
        read=lambda data: parse_agent(data, "a.md"),
        mutate=YAML,
        seeds=lambda: [
            b"---\nname: a\ndescription: d\ntools: [read, bash]\nmodel: sonnet\n---\nYou.\n",
            b"# Role\n\nText\n",
        ],
    )
    yield Target(
        name="TODO.md",
        read=todo,
        mutate=PLAIN,
        seeds=lambda: [b"# Work\n- [ ] T-1 do it assignee:me started:2026-01-01 (#5)\n- [x] T-2 done\r\n* [-] T-3 x\n"],
    )
    yield Target(
        name="prices",
        read=prices,
        mutate=JSON,
        seeds=_prices,
    )
    yield Target(name="cron", read=cron, seeds=lambda: [b"*/5 0-4,9 1 jan mon", b"@daily", b"0 0 29 2 *"], mutate=PLAIN)
    yield Target(
        name="database",
        read=database,
        mutate=PLAIN,
        seeds=lambda: [
            b"postgresql://u:p@h:5432/d?options=-c%20x&sslmode=require",
            b"postgresql:///d?host=/run",
            b"ostler.db",
        ],
    )
    yield Target(name="duration", read=duration, seeds=lambda: [b"5m", b"1.5h", b"90"], mutate=PLAIN)


def _prices() -> Sequence[bytes]:
    """The table of the package, but for most of its models."""
    table = shipped_table()
    few = {name: dict(list(models.items())[:3]) for name, models in list(table.providers.items())[:2]}
    return [msgspec.json.encode(msgspec.structs.replace(table, providers=few))]


def targets() -> list[Target]:
    """All of them."""
    return [
        *_people(),
        *_more_of_people(),
        Target(name="bodies", read=bodies, seeds=lambda: BODIES, mutate=JSON, share=0.5),
        Target(name="form", read=form, seeds=lambda: [b"from=a&to=b&host=c%20d"], mutate=PLAIN),
        Target(name="headers", read=headers, seeds=lambda: HEADERS, mutate=of_bytes(HTTP_JUNK)),
        *_agents(),
        *wire_targets.targets(),
        *http_targets.targets(),
    ]
