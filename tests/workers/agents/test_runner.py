"""Runs of agents with a program that behaves as badly as it is told: each ends by rule and class, and leaves
nothing. The program stands in for opencode and prints what opencode prints.
"""

import asyncio
import json

import pytest
from msgspec.structs import replace

from ostler.domain.errors import NotAllowedError, OstlerError
from ostler.domain.states import FailureClass, Outcome, Question
from ostler.domain.work import Progress
from ostler.workers.timing import SystemTiming
from tests.agents.barn import git
from tests.workers.agents.bench import GOOD, KEY, QUICK, Bench, bench, kind_of
from tests.workers.tagged import Tagged, tagged, until
from tests.workers.work_made import run_of

__all__ = ["bench", "tagged"]


async def test_good_work_is_reported_with_what_it_left(bench: Bench) -> None:
    """Text, tokens, steps, tool calls and the branch; not verified, because nothing checked it."""
    finished = await bench.ran(GOOD)

    assert finished.ok, finished
    assert (finished.output, finished.outcome, finished.exit_code) == ("Done.", Outcome.REPORTED, 0)
    assert finished.usage is not None
    assert (finished.usage.input_tokens, finished.usage.cached_tokens, finished.usage.output_tokens) == (12, 2, 5)
    evidence = finished.evidence
    assert evidence is not None
    assert (evidence.agent, evidence.version, evidence.session) == ("opencode", "1.18.99", "s1")
    assert (evidence.branch, evidence.files_changed, evidence.tool_calls) == ("ostler/t1.1", 1, 1)
    assert git(bench.repo, "show", "ostler/t1.1:note.txt") == "Oats."


async def test_checks_run_in_the_tree_and_prove_the_work(bench: Bench) -> None:
    """The same command passes or fails by what the agent wrote; on a failure the work is kept on its branch."""
    good = await bench.ran(GOOD, verify=(("grep", "-q", "Oats", "note.txt"),))
    assert good.outcome is Outcome.VERIFIED

    bad = await bench.ran(GOOD, verify=(("grep", "-q", "Hay", "note.txt"),))
    assert kind_of(bad) is FailureClass.VERIFICATION
    assert bad.evidence is not None
    assert bad.evidence.branch == "ostler/t1.1-2"


async def test_an_agent_of_a_traced_task_finds_its_trace_in_the_environment(bench: Bench) -> None:
    """Where programs that trace themselves look for it; without a trace there is none."""
    body = 'work(str(os.environ.get("TRACEPARENT")))\n'
    untraced = await bench.ran(body)
    bench.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = await bench.ran(body)

    assert (untraced.output, traced.output) == ("None", bench.traceparent)


async def test_the_environment_is_the_workers_choice(bench: Bench) -> None:
    """Left-over keys and settings of the person are not there, the home is the run's own, standard input is the prompt
    and ends with it.
    """
    body = (
        'assert sys.stdin.read().startswith("Write a note.")\n'
        'names = ("ANTHROPIC_API_KEY", "OPENCODE_PERMISSION", "SECRET", "HOME", "XDG_DATA_HOME", "TMPDIR", "LANG")\n'
        "work(json.dumps({name: os.environ.get(name) for name in names}))\n"
    )
    finished = await bench.ran(body)

    seen = json.loads(finished.output)
    assert (seen["ANTHROPIC_API_KEY"], seen["OPENCODE_PERMISSION"], seen["SECRET"]) == (None, None, None)
    assert seen["LANG"] == "C.UTF-8"
    assert all(seen[name].startswith(str(bench.work)) for name in ("HOME", "XDG_DATA_HOME", "TMPDIR"))


async def test_the_key_is_seen_nowhere(bench: Bench) -> None:
    """Not in the argument vector, and where the program itself says it, it is taken out."""
    body = (
        'key = os.environ["OPENCODE_OSTLER_KEY"]\n'
        'assert key not in open("/proc/self/cmdline").read() if os.path.exists("/proc") else True\n'
        'say("error", x=1)\nwork("My key is " + key)\n'
    )
    finished = await bench.ran(body)

    assert finished.output == "My key is [key]"
    assert all(KEY not in str(report) for report in bench.reports)
    assert any(isinstance(report, Progress) for report in bench.reports)
    assert KEY not in repr(finished)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("sys.exit(0)", FailureClass.ENVIRONMENT),
        ("sys.exit(3)", FailureClass.ENVIRONMENT),
        ('say("step_start"); sys.exit(0)', FailureClass.CUT),
        ('work(reason="tool-calls"); sys.exit(0)', FailureClass.CAPABILITY),
        (
            (
                'print(json.dumps({"type": "error", "error": {"name": "APIError", "data": '
                '{"message": "slow down", "statusCode": 429, "responseHeaders": {"Retry-After": "7"}}}}))'
            ),
            FailureClass.RATE_LIMIT,
        ),
        ('say("step_start"); say("text", text="I would."); say("step_finish", reason="stop")', FailureClass.CAPABILITY),
        ('say("step_start"); os.kill(os.getpid(), signal.SIGKILL)', FailureClass.CUT),
    ],
    ids=["nothing-0", "nothing-3", "cut", "wants-more", "rate-limit", "no-tool", "killed"],
)
async def test_a_failure_has_its_class_whatever_the_exit_code(bench: Bench, body: str, kind: FailureClass) -> None:
    """Programs of this kind end with 0 after most errors."""
    finished = await bench.ran(body)

    assert kind_of(finished) is kind, finished
    if kind is FailureClass.RATE_LIMIT:
        assert finished.failure is not None
        assert finished.failure.retry_after_ms == 7_000


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("time.sleep(60)", FailureClass.ENVIRONMENT, "told nothing"),
        ('say("step_start"); time.sleep(60)', FailureClass.STUCK, "no sign of life"),
        ('say("step_start")\nwhile True: print("x" * 60_000, flush=True)', FailureClass.STUCK, "printed more"),
        ('say("step_start")\nwhile True: sys.stderr.write("x" * 60_000)', FailureClass.STUCK, "printed more"),
        (
            (
                'for n in range(20):\n say("tool_use", tool="read", callID=str(n), state={"status": "completed"})\n'
                "time.sleep(60)"
            ),
            FailureClass.STUCK,
            "the very same thing 20 times",
        ),
        (
            (
                "sys.stderr.write('error.error=\"AI_APICallError: Incorrect API key provided\"\\n')\n"
                "sys.stderr.flush()\ntime.sleep(60)"
            ),
            FailureClass.AUTH,
            "Incorrect API key",
        ),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(60)", FailureClass.ENVIRONMENT, "told nothing"),
    ],
    ids=["hangs", "falls-silent", "spams", "spams-errors", "circles", "tries-for-ever", "ignores-term"],
)
async def test_a_run_that_does_not_end_is_ended_by_rule(bench: Bench, body: str, kind: FailureClass, says: str) -> None:
    """Each in its own way, each with the class that decides what happens next."""
    finished = await bench.ran(body)

    assert kind_of(finished) is kind, finished
    assert finished.failure is not None
    assert says in finished.failure.message


async def test_an_agent_may_ask_a_person(bench: Bench) -> None:
    """Its last line is the question: no check runs, its work until then is kept."""
    body = GOOD.replace("work()", 'work("I began.\\nNEEDS_HUMAN: Which oats? [rolled | cut] (default: cut)")')
    finished = await bench.ran(body, verify=(("grep", "-q", "Hay", "note.txt"),))

    assert kind_of(finished) is FailureClass.QUESTION, finished
    assert finished.failure is not None
    assert finished.failure.message == "Which oats?"
    assert finished.failure.question == Question(choices=("rolled", "cut"), default="cut")
    assert git(bench.repo, "show", "ostler/t1.1:note.txt") == "Oats."


@pytest.mark.parametrize(
    ("answer", "kind", "opinion"),
    [
        ("PASS", None, "pass"),
        ("FAIL: no oats", FailureClass.VERIFICATION, "fail: no oats"),
        ("Well.", None, "none: the judge gave no verdict"),
        (None, None, "none: the gateway is away"),
    ],
)
async def test_a_judge_is_asked_when_nothing_else_can_tell(
    bench: Bench, answer: str | None, kind: FailureClass | None, opinion: str
) -> None:
    """Its `FAIL` is a failed check, everything else is noted and changes nothing: never is a result verified by it."""
    asked: list[tuple[str, str, str]] = []

    async def ask(key: str, model: str, prompt: str) -> str:
        asked.append((key, model, prompt))
        if answer is None:
            raise OstlerError("the gateway is away")
        return answer

    bench.ask, bench.judge = ask, "cheap"
    finished = await bench.ran(GOOD)

    assert kind_of(finished) is kind, finished
    assert finished.evidence is not None
    assert finished.evidence.opinion == opinion
    assert finished.outcome is Outcome.REPORTED
    ((key, model, prompt),) = asked
    assert (key, model) == (KEY, "tier:cheap")
    assert "+Oats." in prompt
    assert "Done." in prompt


async def test_a_judge_is_not_asked_where_there_is_proof(bench: Bench) -> None:
    """Checks of the task's own say more, whatever they say; and bad work needs no opinion."""

    async def ask(key: str, model: str, prompt: str) -> str:
        raise AssertionError("it was asked")

    bench.ask, bench.judge = ask, "cheap"

    good = await bench.ran(GOOD, verify=(("grep", "-q", "Oats", "note.txt"),))
    assert good.outcome is Outcome.VERIFIED
    assert kind_of(await bench.ran("sys.exit(3)")) is FailureClass.ENVIRONMENT


async def test_what_a_program_leaves_running_ends_with_it(bench: Bench, tagged: Tagged) -> None:
    """Also a child in a session of its own that has let go of everything."""
    body = (
        'subprocess.Popen(["sleep", "60"], start_new_session=True, stdout=subprocess.DEVNULL)\n'
        'subprocess.Popen(["sleep", "60"])\n' + GOOD
    )
    finished = await bench.ran(body)

    assert finished.ok, finished
    assert tagged.count() == 0


async def test_a_program_that_forks_without_end_ends_with_all_it_forked(bench: Bench, tagged: Tagged) -> None:
    """Children of children, half of them in sessions of their own: the run ends for its silence, and none is left."""
    fork = (
        "import os, time\n"
        "for level in range(3):\n"
        "    for _ in range(2):\n"
        "        if os.fork() == 0:\n"
        "            os.setsid() if _ else None\n"
        "            break\n"
        "time.sleep(60)\n"
    )
    body = f'say("step_start")\nsubprocess.Popen([sys.executable, "-c", {fork!r}])\ntime.sleep(60)'

    finished = await bench.ran(body)

    assert kind_of(finished) is FailureClass.STUCK, finished
    assert tagged.count() == 0


async def test_both_streams_are_on_disk_as_they_came(bench: Bench) -> None:
    """Raw, before anything is read into them: notices and broken lines too, for who wants to know what went on."""
    bench.keep = True
    body = 'print("Sandbox: on")\nprint("{broken", flush=True)\nsys.stderr.write("a warning")\n' + GOOD
    _, task = bench.start(body)

    finished = await asyncio.wait_for(task, 30)

    assert finished.ok, finished
    (folder,) = bench.work.iterdir()
    output = (folder / "logs" / "stdout.jsonl").read_text(encoding="utf-8")
    assert output.startswith("Sandbox: on\n{broken\n")
    assert output.count('"step_finish"') == 1
    assert (folder / "logs" / "stderr.log").read_text(encoding="utf-8") == "a warning"


async def test_a_cancelled_run_keeps_its_half_of_the_work(bench: Bench) -> None:
    """The class is the caller's, the program is dead, what was written is on the branch."""
    run, task = bench.start('open("half.txt", "w").write("half")\nsay("step_start")\ntime.sleep(60)')
    await until(lambda: bool(bench.reports))

    run.stop.stop(FailureClass.CANCELLED, "cancelled on request")
    finished = await asyncio.wait_for(task, 20)

    assert kind_of(finished) is FailureClass.CANCELLED
    assert git(bench.repo, "show", "ostler/t1.1:half.txt") == "half"
    assert list(bench.work.iterdir()) == []


async def test_a_daemon_that_goes_down_keeps_the_work_too(bench: Bench) -> None:
    """The run's own task is cancelled: the program dies at once, and its folder goes."""
    _, task = bench.start('open("half.txt", "w").write("half")\nsay("step_start")\ntime.sleep(60)')
    await until(lambda: bool(bench.reports))

    task.cancel()
    await asyncio.wait({task})

    assert git(bench.repo, "show", "ostler/t1.1:half.txt") == "half"

    assert list(bench.work.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"runner": "claude"}, "may not run the agent 'claude'"),
        ({"repo": "moon"}, "may not let an agent work on 'moon'"),
        ({"env": {"OPENCODE_CONFIG": "/x"}}, "may not set 'OPENCODE_CONFIG'"),
        ({"env": {"HOME": "/x"}}, "may not set 'HOME'"),
        ({"env": {"OSTLER_TASK": "x"}}, "may not set the variable 'OSTLER_TASK'"),
        ({"verify": (("make",),)}, "may not run 'make'"),
    ],
)
async def test_what_is_not_allowed_never_starts(bench: Bench, changes: dict[str, object], says: str) -> None:
    """The refusal says what would allow it, and nothing is left of the attempt."""
    _, task = bench.start('open("/tmp/never", "x")', **changes)

    with pytest.raises(NotAllowedError, match=says):
        await task
    assert git(bench.repo, "branch", "--list", "ostler/*") == ""
    assert not bench.work.exists() or list(bench.work.iterdir()) == []


async def test_without_a_key_or_a_model_nothing_starts(bench: Bench) -> None:
    """No gateway, no run: an agent has no other way to a model. No endpoint, no run either."""
    run, task = bench.start(GOOD)
    task.cancel()

    for changes, kind in (({"key": None}, FailureClass.POLICY), ({"route": None}, FailureClass.NO_ENDPOINT)):
        assignment = replace(run.assignment, **changes)
        finished = await bench.runner().run(run_of(assignment, clock=SystemTiming()))
        assert kind_of(finished) is kind


async def test_notes_of_earlier_attempts_are_in_the_prompt(bench: Bench) -> None:
    """And the checks that will be run, so that the agent knows what counts."""
    run, task = bench.start("work(sys.stdin.read())", verify=(("grep", "x"),))
    task.cancel()
    await asyncio.wait({task})

    note = "Attempt 1 with small failed."
    assignment = replace(run.assignment, generation=2, notes=(note,))
    finished = await bench.runner().run(run_of(assignment, clock=SystemTiming(), identity=bench.identity))

    assert note in finished.output
    assert "- grep x" in finished.output


async def test_a_prompt_that_no_program_takes_is_told_before_anything_runs(bench: Bench) -> None:
    """Systems bound one argument of a program; what would fail there says what to do instead."""
    _, running = bench.start(GOOD, prompt="x" * 200_000)
    finished = await running

    assert finished.failure is not None
    assert finished.failure.kind is FailureClass.POLICY
    assert "into a file" in finished.failure.message
    assert not bench.work.exists()


async def test_the_longest_time_is_for_tasks_without_a_timeout(bench: Bench) -> None:
    """A busy run is ended by it; where the task says how long it may take, the daemon keeps that alone."""
    bench.limits = replace(QUICK, wall_s=1.0)
    busy = "import time\nfor _ in range(30):\n    say('text', text='on it')\n    time.sleep(0.1)\nwork()\n"

    ended = await bench.ran(busy)
    kept = await bench.ran(busy, timeout_s=60.0)

    assert ended.failure is not None
    assert ended.failure.kind is FailureClass.TIMEOUT
    assert kept.ok, kept.failure
