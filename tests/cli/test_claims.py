"""Files of claims: how they are read, every mistake in them, and what `ostler plan --claims` makes of them."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.app.plan_views import PlanReport
from ostler.cli.claimsfile import ClaimsFile, load_claims, parse_claims
from ostler.cli.plan_text import print_report
from ostler.cli.taskfile import TaskFileError
from ostler.domain.errors import ExitCode
from ostler.planning.audit import Account, Claim, Figure, Step, audit
from ostler.planning.figures import figures
from ostler.planning.phases import Group
from ostler.planning.strategies import planned
from ostler.simulate.fourteen_agents import fourteen_agents
from ostler.simulate.fourteen_agents_claims import CLAIMS, HYBRID, SEQUENTIAL
from tests.cli.conftest import Ostler, RecordingApp

EXAMPLES = Path(__file__).parents[2] / "examples"
PLAN, CLAIMED = str(EXAMPLES / "fourteen-agents-plan.yaml"), str(EXAMPLES / "fourteen-agents-claims.yaml")
INSTANCE = fourteen_agents()
TITLES = {task.id: task.label for task in INSTANCE.tasks}


def read(text: str) -> ClaimsFile:
    return parse_claims(text, "f", {"a": "The A", "b-api": "", "c-api": ""})


def test_a_claim_has_an_account_and_an_order() -> None:
    """Steps become lines of the account, phases groups of the order; ids, titles and wildcards name tasks."""
    file = read("""\
claims:
  - name: one
    total: 9m
    steps:
      - {phase: first, tasks: The A, lasts: 3m, agents: 2}
      - {swap: x to y, lasts: 40s}
      - {phase: then, tasks: ["*-api"], lasts: 5m, parallel: false}
""")

    steps = (
        Step(name="first", tasks=("a",), lasts_ms=180_000, agents=2),
        Step(name="the swap from x to y", lasts_ms=40_000),
        Step(name="then", tasks=("b-api", "c-api"), lasts_ms=300_000),
    )
    order = (Group(name="first", tasks=("a",)), Group(name="then", tasks=("b-api", "c-api"), sequential=True))
    assert file.claims == (Claim(name="one", order=order, account=Account(name="one", steps=steps, total_ms=540_000)),)


def test_a_claim_without_durations_is_an_order_and_a_total() -> None:
    """Nothing is made up for steps that say nothing."""
    (claim,) = read("claims: [{name: one, total: 9m, steps: [{phase: p, tasks: a}, {swap: x}]}]").claims

    assert (claim.account, claim.total_ms, claim.stated_ms) == (None, 540_000, 540_000)
    assert [group.tasks for group in claim.order] == [("a",)]


def test_figures_are_values_or_ranges() -> None:
    """One duration is a range of one."""
    file = read("figures: [{quantity: q, where: w, value: 60s}, {quantity: q, where: v, value: [35s, 45s]}]")

    assert file.figures == (
        Figure(quantity="q", where="w", least_ms=60_000, most_ms=60_000),
        Figure(quantity="q", where="v", least_ms=35_000, most_ms=45_000),
    )


BAD = [
    ("claims: 3", "f:1 claims: expected a list, got 3"),
    ("claims: []", "f:1 claims: nothing is claimed"),
    ("claim: []", "f:1 claim: unknown field 'claim' (did you mean 'claims'?)"),
    ("claims: [3]", "f:1 claims[0]: expected name and total, got 3"),
    ("claims: [{total: 3m}]", "f:1 claims[0]: the claim has no name"),
    ("claims: [{name: x, total: 3}]", "f:1 claims[0]: expected a duration, got 3"),
    ("claims: [{name: x, steps: [{lasts: 3m}]}]", "f:1 claims[0].steps[0]: a step is a phase or a swap"),
    ("claims: [{name: x, steps: [{phase: p, swap: s}]}]", "f:1 claims[0].steps[0]: a step is a phase or a swap"),
    ("claims: [{name: x, steps: [{swap: s, tasks: a}]}]", "f:1 claims[0].steps[0]: a swap has no tasks"),
    ("claims: [{name: x, steps: [{phase: p}]}]", "f:1 claims[0].steps[0]: phase 'p' has no tasks"),
    ("claims: [{name: x, steps: [{phase: p, tasks: The B}]}]", "no task 'The B' is planned (did you mean 'The A'?)"),
    ("claims: [{name: x, steps: [{phase: p, tasks: '*-web'}]}]", "no task '*-web' is planned"),
    ("claims: [{name: x, steps: [{phase: p, tasks: a, last: 3m}]}]", "unknown field 'last' (did you mean 'lasts'?)"),
    (
        "claims: [{name: x, steps: [{phase: p, tasks: a, lasts: 3m}, {swap: s}]}]",
        "f:1 claims[0].steps: 'the swap from s' does not say how long it lasts, others do",
    ),
    ("figures: [{quantity: q, where: w}]", "f:1 figures[0]: it has no value"),
    ("figures: [3]", "f:1 figures[0]: expected quantity and where, got 3"),
    ("figures: [{quantity: q, where: w, value: [45s, 35s]}]", "expected a duration or a range"),
    ("figures: [{quantity: q, where: w, value: []}]", "expected a duration or a range"),
    ("", "f: the file is empty (write a list of `claims:`)"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_every_mistake_is_told_with_its_place(text: str, said: str) -> None:
    """File, line, field, what is wrong and what to write."""
    with pytest.raises(TaskFileError) as caught:
        read(text)

    assert said in str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    """Not only the first."""
    with pytest.raises(TaskFileError) as caught:
        read("claims:\n  - {total: 3m}\n  - {name: x, totl: 3m}\nfigures:\n  - {quantity: q}\n")

    assert [problem.where.split()[0] for problem in caught.value.problems] == ["f:2", "f:3", "f:5"]


@given(text=st.text(max_size=60))
def test_any_text_is_read_or_refused_for_a_person(text: str) -> None:
    """Whatever stands in the file: claims, or problems with a place, never a traceback."""
    try:
        read(text)
    except TaskFileError as error:
        assert error.problems  # noqa: PT017 - a refusal is one of two good outcomes


def test_the_example_says_what_was_once_said() -> None:
    """The file that people can run and the claims that the tests know are the same figures."""
    claims = {claim.name: claim for claim in load_claims(CLAIMED, TITLES).claims}

    for account in (SEQUENTIAL, HYBRID):
        told = claims[account.name].account
        assert told is not None
        assert (told.steps, told.sum_ms, told.swaps) == (account.steps, account.sum_ms, account.swaps)
    assert claims["dependency"].total_ms == CLAIMS[1].total_ms


def test_the_example_is_found_out_from_file_to_text(ostler: Ostler) -> None:
    """What a newcomer types: the broken needs, the impossible total, the forgotten phase, and exit code 1."""
    words = ("--profile", "one-host-32gb", "--strategy", "hybrid", "--claims", CLAIMED)

    code, out, err = ostler("plan", PLAN, *words)
    said = " ".join(out[out.index("\nclaims\n") :].split())

    assert (code, err) == (ExitCode.FAILED, "")
    assert "breaks-needs hybrid: devops (phase 1a) runs before qa (phase 2)" in said
    assert "below-critical-path hybrid: 44.10 min is shorter than its longest chain, 48.00 min: chief-architect" in said
    assert "leaves-out hybrid: chief-architect is in none of its phases" in said
    assert "hybrid leaves out phase 0 and the swap from quality to latest, 3.67 min; of the difference to" in said
    assert "below-its-order dependency: its order takes 98.79 min" in said


def test_findings_are_data_for_programs(ostler: Ostler) -> None:
    """Kinds, tasks and amounts, beside the plan they were held against."""
    words = ("--profile", "one-host-32gb", "--strategy", "hybrid", "--claims", CLAIMED, "--json")

    _, out, _ = ostler("plan", PLAN, *words)
    report = msgspec.convert(json.loads(out), PlanReport)

    assert report.findings is not None
    found = [row for row in report.findings if row.kind == "leaves-out" and row.by_ms]
    assert [(row.tasks, row.by_ms, row.unexplained_ms) for row in found] == [(("chief-architect",), 220_000, 0)]
    assert {row.kind for row in report.findings} >= {"breaks-needs", "below-critical-path", "figures", "slots"}


def test_claims_against_which_nothing_speaks_are_good(ostler: Ostler, app: RecordingApp, tmp_path: Path) -> None:
    """Exit code 0, and it is said."""
    tasks, claims = tmp_path / "tasks.yaml", tmp_path / "claims.yaml"
    tasks.write_text("tasks: [{id: a, prompt: x, model: m}]", encoding="utf-8")
    claims.write_text("claims: [{name: slow, total: 300m}]", encoding="utf-8")

    code, out, _ = ostler("plan", str(tasks), "--claims", str(claims))

    assert code == ExitCode.OK
    assert out.endswith("claims\n  nothing speaks against them\n")


def test_a_wrong_file_of_claims_is_refused_before_anything_is_planned(
    ostler: Ostler, app: RecordingApp, tmp_path: Path
) -> None:
    """Nobody waits for a search to be told of a typo."""
    tasks = tmp_path / "tasks.yaml"
    tasks.write_text("tasks: [{id: a, prompt: x, model: m}]", encoding="utf-8")

    code, _, err = ostler("plan", str(tasks), "--claims", str(tmp_path / "no.yaml"))

    assert (code, app.calls) == (ExitCode.USAGE, [])
    assert "no.yaml: cannot be read" in err


def test_a_report_without_claims_speaks_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    """No section, no empty list."""
    plan = planned(INSTANCE, "hybrid")
    report = PlanReport(name="x", instance=INSTANCE, plan=plan, figures=figures(INSTANCE, plan))
    print_report(report)
    assert "\nclaims\n" not in capsys.readouterr().out

    print_report(msgspec.structs.replace(report, findings=audit(INSTANCE, CLAIMS)))
    assert "\nclaims\n  breaks-needs" in capsys.readouterr().out
