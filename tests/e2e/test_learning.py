"""Learning as a user has it: from work that really ran and was checked, kept through a kill, and undone."""

from pathlib import Path

from msgspec.structs import replace

from ostler.domain.observations import Observation
from ostler.domain.states import Outcome, TaskState
from ostler.domain.tasks import Complexity, TaskSpec
from ostler.hub.pattern_views import PatternRow
from ostler.learning.lessons import revision_of
from tests.e2e.process import HubProcess, until
from tests.e2e.test_whole import SimulatedHost, ostler

PROFILE = """\
routing:
  tiers:
    small: {{provider: ollama, base_url: {url}, models: [llama3.2:3b]}}
    large: {{provider: ollama, base_url: {url}, models: [nobody-has-it:70b]}}
  complexity: {{trivial: small, standard: large, complex: large}}
  fallback: {{direction: none}}
learning: {{history: posterior, explore: 0}}
worker:
  allow: [command, chat]
  commands: ["*"]
hub:
  port: 0
"""
MODEL = "llama3.2:3b"


def proven(number: int) -> list[Observation]:
    """Outcomes of another hub."""
    return [
        Observation(
            id=f"other:{index}", at_ms=index, task_type="docs", model=MODEL, success=True, proof=Outcome.VERIFIED
        )
        for index in range(number)
    ]


def question(name: str, *check: str) -> TaskSpec:
    """Work of which the profile says that it needs the large tier."""
    verify = (check,) if check else ()
    return TaskSpec(
        id=name, prompt="Describe it.", task_type="docs", complexity=Complexity.STANDARD, verify=verify, max_attempts=1
    )


def standing(hub: HubProcess) -> PatternRow:
    (row,) = [row for row in hub.client.patterns(task_type="docs").patterns if row.model == MODEL]
    return row


def test_outcomes_move_work_survive_a_kill_and_are_taken_back(tmp_path: Path) -> None:
    """What another hub proved lets work go down; what runs is kept with its check's word and its model's version; what
    comes to light later is put right; after a kill all is as it was; forgetting restores the first decision.
    """
    with SimulatedHost(tmp_path) as host:
        profile = PROFILE.format(url=host.url)
        with HubProcess(tmp_path, profile=profile) as hub:
            until(lambda: hub.client.status().endpoints_up == 1, "the simulated machine is found")
            assert hub.client.route(question("q")).verdict.decision.requested_tier == "large"
            change = hub.client.add_outcomes(proven(25))
            assert (change.count, "docs" in change.changed) == (25, True)
            bad = replace(question("bad", "false"), tier="small")  # a free one would go up, where nobody is
            hub.client.submit([question("good", "true"), bad])
            for name, state in (("good", TaskState.SUCCEEDED), ("bad", TaskState.DEAD_LETTER)):
                until(lambda name=name, state=state: hub.client.task(name).task.state is state, f"{name} ends")  # type: ignore[misc]
            until(lambda: standing(hub).failures == 1, "both outcomes are counted")
            row = standing(hub)
            assert (row.successes, row.failures, row.tier) == (26, 1, "small")
            assert len(row.version) == 12
            kept = {one.task_id: one for one in hub.client.outcomes(version=row.version).observations}
            assert {name: (one.success, one.proof) for name, one in kept.items()} == {
                "good": (True, Outcome.VERIFIED),
                "bad": (False, Outcome.VERIFIED),
            }
            assert kept["good"].propensity == 1.0
            hub.client.add_outcomes([revision_of("good", "docs", MODEL, 9, success=False, note="reverted")])
            before = hub.client.patterns()
            assert (before.checks.accepted_bad, before.checks.rejected, before.checks.looked_at) == (1, 1, 1)
            hub.kill()
        with HubProcess(tmp_path, profile=profile) as hub:
            after = hub.client.patterns()
            assert after.patterns == before.patterns
            assert after.checks == before.checks
            decision = hub.client.route(question("q")).verdict.decision
            assert (decision.requested_tier, decision.weighing is not None) == ("small", True)
            said = ostler(tmp_path, "patterns", "changes", "--hub", hub.url)
            assert (said.returncode, "forget --type docs" in said.stdout) == (0, True)
            told = ostler(tmp_path, "replay", "--since", "1h", "--policy", "ostler.yaml", "--hub", hub.url)
            assert (told.returncode, "what the log says" in told.stdout) == (0, True), told.stderr
            assert "only 1 logged" in told.stdout
            back = hub.client.forget_outcomes(version=standing(hub).version)
            assert back.count == 2
            assert (standing(hub).successes, standing(hub).failures) == (25, 0)
            assert hub.client.forget_outcomes().count == 28, "25 imported, a revision, two texts that stated their type"
            assert hub.client.route(question("q")).verdict.decision.requested_tier == "large"
            assert hub.stop() == 0
