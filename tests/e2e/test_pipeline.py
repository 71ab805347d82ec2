"""A pipeline as a user has it: simulated models on real ports, checks that fail, results that arrive."""

import json
from pathlib import Path

from ostler.domain.states import TaskState
from tests.e2e.process import QUICK_PROFILE, HubProcess
from tests.e2e.test_whole import SimulatedHost, ostler

CODER = "qwen2.5-coder:7b-instruct"
FILE = f"""\
limit: 4
slots: {{{CODER}: 1}}
tasks:
  - id: facts
    command: [sh, -c, "yes fact | head -n 1600"]
    phase: gather
  - id: broken
    command: [sh, -c, "exit 7"]
    optional: true
    max_attempts: 1
    phase: gather
  - id: summary
    prompt: "Summarize: {{{{ results.facts }}}}"
    model: llama3.2:3b
    fallback: ["{CODER}"]
    verify: [[sh, -c, 'grep -q "simulated {CODER}" "$OSTLER_OUTPUT"']]
    needs: [facts]
  - id: elsewhere
    prompt: Say it again.
    model: "mistral:7b"
    fallback: ["{CODER}"]
    needs: [summary, broken]
  - id: publish
    command: [sh, -c, 'cp "$OSTLER_RESULT_ELSEWHERE" published; ls "$OSTLER_RESULTS"; echo "$OSTLER_RESULTS_MISSING"']
    needs: [elsewhere, broken]
"""


def test_a_pipeline_hands_results_on_and_gets_round_what_fails(tmp_path: Path) -> None:
    """A command's output reaches a model, a failed check brings the next one, what is optional is left out."""
    (tmp_path / "pipeline.yaml").write_text(FILE, encoding="utf-8")
    with SimulatedHost(tmp_path) as host:
        profile = QUICK_PROFILE.replace("provider: ollama", f"provider: ollama\n      base_url: {host.url}")
        profile = profile.replace("routing:\n", "routing:\n  fallback: {wait: 300ms}\n").replace(
            "3b]", "3b, mistral:7b]"
        )
        with HubProcess(tmp_path, profile=profile) as hub:
            run = ostler(tmp_path, "run", "pipeline.yaml", "--run-id", "r", "--json", "--hub", hub.url)
            report = json.loads(run.stdout)
            answers = {name: hub.client.task(f"r.{name}") for name in ("summary", "elsewhere", "publish")}
            later = ostler(tmp_path, "tasks", "results", "r", "--phase", "1", "--hub", hub.url)
            why = ostler(tmp_path, "why", "r.elsewhere", "--hub", hub.url)
            assert hub.stop() == 0

    assert run.returncode == 0, run.stderr
    assert [(phase["depth"], phase["label"]) for phase in report["phases"]][:2] == [(0, "gather"), (1, "")]
    summary = answers["summary"]
    assert [(attempt.model, attempt.ok) for attempt in summary.attempts] == [("llama3.2:3b", False), (CODER, True)]
    assert summary.task.outcome == "verified"
    usage = summary.attempts[-1].usage
    assert usage is not None
    assert usage.input_tokens >= 1_600, "the model has read what the command put out"
    assert summary.task.handed_tokens == 2_000
    assert answers["elsewhere"].task.model == CODER
    assert "is not available" in (answers["elsewhere"].decisions[-1].fallback_reason or "")
    assert f"next of its models: {CODER}" in why.stdout
    output = answers["publish"].output or ""
    assert output.split() == ["elsewhere", "broken"]
    assert answers["publish"].task.state is TaskState.SUCCEEDED
    assert f"simulated {CODER}" in later.stdout
    assert "instead of llama3.2:3b" in later.stdout
