"""What a loop hands to the queue: the task of a step, and the task that summarises older answers.

Both are functions of the loop alone, so that the same step is the same task whoever hands it in, and however often. The
prompt is made of the stimulus, the work's own prompt, the working set, and the newest answers that fit into `tokens`.
"""

from collections.abc import Sequence

import msgspec

from ostler.context.compaction import extracted, instruction
from ostler.context.fit import fitted, shortened
from ostler.context.measure import usual
from ostler.context.messages import Message
from ostler.domain.loops import LOOP_ENV, Loop, LoopRun, Summarizing
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.loops.machine import step_id, summary_id

SUMMARY_TOKENS = 300
ROOM_TOKENS = 3_000
WORDS = """You are called again and again: this is tick {tick} of {ticks} of loop {number}, step {step} of {steps} at
most. You may write lines of their own: `LOOP: continue` for another step of this tick, `LOOP: end` when this loop has
nothing left to do, `LOOP: stop WHY` to be called no more, `LOOP: objective TEXT`, `LOOP: reached TEXT` and
`LOOP: decision TEXT` for what to keep in mind."""


def step_spec(loop: Loop, run: LoopRun, tokens: int) -> TaskSpec:
    """The task of the step that is under way. Commands get no prompt, only their place in the environment."""
    work, schedule = loop.work, loop.schedule
    place = dict(zip(LOOP_ENV, (loop.name, str(run.number), str(run.tick)), strict=True))
    named: dict[str, object] = {
        "id": step_id(loop, run),
        "title": work.title or f"{loop.name}: loop {run.number}, tick {run.tick}",
        "session": loop.session,
        "tick": f"{run.number}.{run.tick}",
        "metadata": {**work.metadata, "loop": loop.name},
    }
    if work.kind is TaskKind.COMMAND:
        return msgspec.structs.replace(work, **named, env={**work.env, **place})
    words = WORDS.format(
        tick=run.tick,
        ticks=schedule.ticks_per_loop,
        number=run.number,
        step=run.step,
        steps=schedule.max_steps_per_tick,
    )
    if work.kind is TaskKind.AGENT:  # an agent's command line has a system prompt of its own
        return msgspec.structs.replace(work, **named, prompt=f"{_prompt(loop, run, tokens)}\n\n{words}")
    system = f"{work.system}\n\n{words}" if work.system else words
    return msgspec.structs.replace(work, **named, system=system, prompt=_prompt(loop, run, tokens))


def _prompt(loop: Loop, run: LoopRun, tokens: int) -> str:
    parts = [part for part in (loop.schedule.stimulus, loop.work.prompt) if part]
    told = "\n\n".join(parts) or "Go on."
    mind = loop.working.text()
    if mind:
        told += f"\n\nWhat you keep in mind:\n{shortened(mind, tokens // 4, usual)}"
    before = [*loop.history, run.said] if run.said else loop.history
    if before:
        room = max(0, tokens - usual(told))
        told += "\n\nWhat you said before, the newest last:\n" + "\n---\n".join(_newest(before, room))
    return told


def _newest(texts: Sequence[str], tokens: int) -> list[str]:
    """As many of the newest as fit, the newest one at least in part."""
    messages: list[Message] = [{"role": "user", "content": text} for text in texts]
    return [str(message["content"]) for message in fitted(messages, tokens, usual).messages]


def summary_spec(loop: Loop, job: Summarizing) -> TaskSpec:
    """The task that summarises: for the cheapest tier that may, and nothing depends on it."""
    return TaskSpec(
        id=summary_id(loop, job),
        title=f"{loop.name}: summary at tick {job.at_tick}",
        prompt=instruction(_said(job), _before(loop), SUMMARY_TOKENS, room=ROOM_TOKENS, count=usual),
        task_type="summarization",
        local_only=loop.work.local_only,
        session=loop.session,
        optional=True,
        metadata={"loop": loop.name},
    )


def extract(loop: Loop, job: Summarizing) -> str:
    """A summary without a model: always the same one."""
    return extracted(_said(job), _before(loop), SUMMARY_TOKENS, usual)


def _said(job: Summarizing) -> list[Message]:
    return [{"role": "assistant", "content": text} for text in job.texts]


def _before(loop: Loop) -> str:
    return loop.working.summaries[-1] if loop.working.summaries else ""
