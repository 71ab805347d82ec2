"""`ostler simulate`: from the command line to figures."""

from pathlib import Path

import msgspec
import pytest

from ostler.app.options import WhatIfOptions
from ostler.cli.what_if import print_comparison
from ostler.domain.errors import ExitCode
from ostler.hub.simulated import Comparison, HostResult, Miss, Result, Spread
from tests.cli.conftest import Ostler, RecordingApp

TASKS = """\
name: two
tasks:
  - {id: a, prompt: x, model: big}
  - {id: b, prompt: x, model: other}
"""
PROFILE = """\
routing:
  tiers:
    local: {models: [big, other]}
endpoints:
  - {name: ollama, provider: ollama, url: "http://box:11434", host: box, slots: 2, models: [big, other]}
hosts:
  box: {memory: 24GB}
models:
  big: {memory: 20GB, context: 32k, speeds: {load_s: 20, unload_s: 10, decode_tokens_per_s: 10}}
  other: {memory: 20GB, context: 32k, speeds: {load_s: 20, unload_s: 10, decode_tokens_per_s: 10}}
"""


def result(policy: str, **changes: object) -> Result:
    plain = Result(
        policy=policy,
        kind="policy",
        fleet="f",
        tasks=100,
        succeeded=98,
        makespan_ms=3_600_000,
        wait=Spread(mean_ms=1_000, p50_ms=500, p95_ms=2_000, p99_ms=4_000, max_ms=8_000),
        turnaround=Spread(),
        loads=6,
        swaps=4,
        swap_ms=120_000,
        cost_micro_usd=1_500_000,
        unpriced=0,
        missed={"expired": 2},
        misses=(Miss(task="t1", state="expired", reason="capacity: all slots are taken"),),
        hosts=(
            HostResult(name="box", calls=98, loads=6, swaps=4, load_ms=90_000, unload_ms=30_000, busy_permille=512),
        ),
        by_model={"big": 98},
    )
    return msgspec.structs.replace(plain, **changes)


COMPARISON = Comparison(
    workload="w",
    seed=3,
    rules=("a rule",),
    results=(result("mine"), result("fifo", kind="rival", makespan_ms=7_200_000, swaps=None, unpriced=2, missed={})),
)


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text(TASKS, encoding="utf-8")
    (tmp_path / "ostler.yaml").write_text(PROFILE, encoding="utf-8")
    (tmp_path / "trace.csv").write_text("t_s,in_tokens,out_tokens\n0,10,5\n5,10,5\n9,20,5\n", encoding="utf-8")


def test_flags_become_options(ostler: Ostler, app: RecordingApp) -> None:
    """Each its own; policies in the order given."""
    app.comparison = COMPARISON
    words = ["trace.csv", "--fleet", "f.yaml", "--policy", "p.yaml", "--compare", "fifo", "--compare", "drain"]
    more = [
        "--tasks",
        "9",
        "--load",
        "0.7",
        "--sigma",
        "0.3",
        "--ttl",
        "5m",
        "--seed",
        "4",
        "--outage",
        "box:1m-2m",
        "--plan",
        "live",
    ]

    assert ostler("simulate", *words, *more).code == 0
    assert app.calls == [
        (
            "what_if",
            WhatIfOptions(
                name="trace.csv",
                trace="trace.csv",
                fleet="f.yaml",
                policies=("p.yaml", "fifo", "drain"),
                tasks=9,
                load=0.7,
                sigma=0.3,
                ttl_ms=300_000,
                seed=4,
                outages=("box:1m-2m",),
                plan="live",
            ),
        )
    ]


def test_a_file_of_tasks_is_read_before_anything_runs(ostler: Ostler, app: RecordingApp) -> None:
    """Its mistakes are told as `ostler run` tells them."""
    app.comparison = COMPARISON
    ostler("simulate", "tasks.yaml")
    told = app.calls[0][1]
    missing = ostler("simulate", "nothing.yaml")

    assert isinstance(told, WhatIfOptions)
    assert (told.name, [spec.id for spec in told.specs], told.trace) == ("two", ["a", "b"], None)
    assert missing.code == ExitCode.USAGE
    assert "nothing.yaml: cannot be read" in missing.err


def test_the_limits_of_a_file_hold_in_the_simulation(ostler: Ostler, tmp_path: Path) -> None:
    """One task at a time, as the file says: two tasks of one model with two slots run one after the other."""
    tasks = "tasks:\n  - {id: a, prompt: x, model: big}\n  - {id: b, prompt: x, model: big}\n"
    spans = []
    for name, head in (("free", ""), ("slots", "slots: {big: 1}\n"), ("limit", "limit: 1\n")):
        (tmp_path / f"{name}.yaml").write_text(head + tasks, encoding="utf-8")
        answer = ostler("simulate", f"{name}.yaml", "--json")
        assert answer.code == 0, answer.err
        spans.append(msgspec.json.decode(answer.out, type=Comparison).results[0].makespan_ms)

    free, by_slots, by_limit = spans
    assert by_slots == by_limit > free


def test_the_table_has_a_column_and_a_ratio_for_each_policy(capsys: pytest.CaptureFixture[str]) -> None:
    """The first is what others are compared with; what is not known is no number."""
    print_comparison(COMPARISON)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]

    assert lines[:2] == ["w, simulated, seed 3", "  a rule"]
    cells = {line.split("  ")[0]: line.split()[-2:] for line in lines[3:]}
    assert cells["makespan"] == ["x", "2.00"]
    assert cells["swaps"] == ["-", "-"]
    assert "$1.50, 2 unpriced" in next(line for line in lines if line.startswith("money"))
    assert "expired 2" in next(line for line in lines if line.startswith("missed"))
    assert "fifo (rival, on f)" in lines
    assert "  t1 expired: capacity: all slots are taken" in lines


def test_two_tasks_are_simulated_from_end_to_end(ostler: Ostler) -> None:
    """20 s load, 40 s answer, 10 s unload, 20 s load, 40 s answer; the text says that it is simulated."""
    data = ostler("simulate", "tasks.yaml", "--policy", "ostler.yaml", "--compare", "fifo", "--json")
    text = ostler("simulate", "tasks.yaml", "--compare", "drain")

    assert (data.code, data.err) == (0, "")
    comparison = msgspec.json.decode(data.out, type=Comparison)
    assert [(r.policy, r.kind, r.swaps) for r in comparison.results] == [
        ("ostler", "policy", 1),
        ("fifo", "rival", 1),
    ]
    assert comparison.results[1].makespan_ms == pytest.approx(130_000, abs=100)
    assert text.code == 0
    assert "two, simulated, seed 0" in text.out


def test_the_same_command_prints_the_same(ostler: Ostler) -> None:
    """Noise and draws come from the seed."""
    words = ("simulate", "trace.csv", "--compare", "warm-first", "--sigma", "0.5", "--seed", "7", "--json")

    assert ostler(*words).out == ostler(*words).out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--policy", "fifi"), "--policy: there is no policy 'fifi' (did you mean 'fifo'?; or the path of a profile)"),
        (("--policy", "gone.yaml"), "there is no file"),
        (("--fleet", "fifo"), "--fleet: 'fifo' is a policy and has no machines (name a profile)"),
        (("--ttl", "soon"), "--ttl: 'soon' is no duration"),
        (("--outage", "box"), "--outage: 'box' is no outage"),
        (("--outage", "box:2m-1m"), "--outage: 'box:2m-1m' is no outage"),
        (("--outage", "bax:1m"), "--outage: the fleet has no host 'bax' (did you mean 'box'?)"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(ostler: Ostler, words: tuple[str, ...], complaint: str) -> None:
    """Exit code 2, one line, no traceback."""
    code, out, err = ostler("simulate", "tasks.yaml", *words)

    assert (code, out) == (ExitCode.USAGE, "")
    assert complaint in err


def test_a_bad_trace_is_refused_with_its_line(ostler: Ostler, tmp_path: Path) -> None:
    """And one that is not there, or not text, with its path."""
    (tmp_path / "bad.csv").write_text("t_s,in_tokens,out_tokens\n0,x,1\n", encoding="utf-8")
    (tmp_path / "binary.csv").write_bytes(b"t_s\n\xff\xfe\n")

    assert "bad.csv:2: in_tokens is 'x'" in ostler("simulate", "bad.csv").err
    assert "none.csv: cannot be read" in ostler("simulate", "none.csv").err
    assert "binary.csv:2: not UTF-8 text" in ostler("simulate", "binary.csv").err


def test_errors_are_json_when_json_is_asked_for(ostler: Ostler) -> None:
    """As with every verb."""
    code, _, err = ostler("simulate", "tasks.yaml", "--policy", "fifi", "--json")

    assert code == ExitCode.USAGE
    assert msgspec.json.decode(err)["error"]["where"] == "--policy"
