"""Results of needed tasks in a prompt: which are handed, where they stand, and what is left out when they are too long.

A prompt (or system prompt) names a result as `{{ results.ID }}`; ID is as in the task file, without the id of the run.
Of a task that names some, those are handed; of one that names none, all it needs, in a block behind the prompt, in the
order of its needs. What was put in is never searched for names again.

Too long: the longest results are cut first, down to a common length, in the middle, and each cut says how much is
missing. So a short result is never cut for the sake of a long one. Everything is a pure function of its inputs.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from ostler.domain.errors import InvalidInputError, nearest
from ostler.domain.tasks import ResultsRule, TaskKind, TaskSpec
from ostler.domain.work import NeedResult

NAME = re.compile(r"\{\{\s*results\.([A-Za-z0-9][A-Za-z0-9._:@-]*)\s*\}\}")
SEPARATOR = "."
"""Between the id of a run and that of a task in it."""
BLOCK = "\n\nResults of the tasks that this one builds on:\n"
HEAD_SHARE = 2 / 3
"""Of a cut result, so much of what is kept is its beginning."""


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A task with the results in its prompt. `trimmed`: name -> characters left out."""

    spec: TaskSpec
    given_characters: int = 0
    trimmed: Mapping[str, int] = {}


def local_name(task_id: str, batch: str | None) -> str:
    """The id of a task as its file has it.

    >>> local_name("r-1.build", "r-1"), local_name("build", None)
    ('build', 'build')
    """
    return task_id.removeprefix(batch + SEPARATOR) if batch else task_id


def handed_needs(spec: TaskSpec) -> tuple[str, ...]:
    """The needed tasks whose results are handed, in the order of the needs."""
    if spec.results is ResultsRule.NONE:
        return ()
    named = frozenset(_named(spec))
    if not named:
        return tuple(dict.fromkeys(spec.needs))
    return tuple(need for need in dict.fromkeys(spec.needs) if {need, local_name(need, spec.batch)} & named)


def check_names(spec: TaskSpec) -> None:
    """Refuse a prompt that names the result of a task it does not need. Raises `InvalidInputError`."""
    known = {local_name(need, spec.batch) for need in spec.needs}
    for name in _named(spec):
        if name not in known and name not in spec.needs:
            what = f"the prompt names the result of '{name}', which the task does not need"
            raise InvalidInputError(what, where="needs", remedy=f"add it, or {nearest(name, known)}")


def _named(spec: TaskSpec) -> list[str]:
    # Without needs there is nothing to name: such a prompt may well be a text about this very notation.
    if spec.kind is TaskKind.COMMAND or not spec.needs or spec.results is ResultsRule.NONE:
        return []
    return [match[1] for text in (spec.system, spec.prompt) for match in NAME.finditer(text)]


def with_results(spec: TaskSpec, results: Sequence[NeedResult], room: int | None) -> Rendered:
    """The task as it is asked of a model. `room`: characters that may be added to it; `None` = any number.

    `results` are those of `handed_needs`, in that order.
    """
    if not results:
        return Rendered(spec=spec)
    by_name = {name: result for result in results for name in (result.name, result.task_id)}
    named = [by_name[name] for name in _named(spec) if name in by_name]
    if named:
        texts, trimmed = _fitted(named, room)

        def put(match: re.Match[str]) -> str:
            return texts[by_name[match[1]].name] if match[1] in by_name else match[0]

        spec = msgspec.structs.replace(spec, system=NAME.sub(put, spec.system), prompt=NAME.sub(put, spec.prompt))
        given = sum(len(texts[result.name]) for result in named)
    else:
        around = len(BLOCK) + sum(len(_section(result, "")) for result in results)
        texts, trimmed = _fitted(results, room - around if room is not None else None)
        block = BLOCK + "".join(_section(result, texts[result.name]) for result in results)
        spec = msgspec.structs.replace(spec, prompt=spec.prompt + block)
        given = len(block)
    return Rendered(spec=spec, given_characters=given, trimmed=trimmed)


def _section(result: NeedResult, text: str) -> str:
    return f"\n--- result of {result.name} ---\n{text}\n--- end of {result.name} ---\n"


def missing_text(result: NeedResult) -> str:
    """What stands where a result would."""
    return f"[no result: {result.name} is optional and ended as {result.state.value}]"


def _fitted(pieces: Sequence[NeedResult], room: int | None) -> tuple[dict[str, str], dict[str, int]]:
    """The text of each result, cut where needed; a result that is put in twice counts twice."""
    texts = {piece.name: missing_text(piece) if piece.output is None else piece.output for piece in pieces}
    longest = common_length([len(texts[piece.name]) for piece in pieces], room)
    trimmed: dict[str, int] = {}
    for name, text in texts.items():
        if longest is not None and len(text) > longest:
            texts[name], trimmed[name] = cut(text, longest)
    return texts, trimmed


def common_length(lengths: Sequence[int], room: int | None) -> int | None:
    """The length down to which the longest are cut so that all fit into `room`; `None` when nothing needs cutting.

    >>> common_length([10, 100, 200], 110), common_length([10, 20], 30), common_length([5, 5], 4)
    (50, None, 2)
    """
    if room is None or sum(lengths) <= room:
        return None
    left, ordered = max(0, room), sorted(lengths)
    for index, length in enumerate(ordered):
        share = left // (len(ordered) - index)
        if length > share:
            return share
        left -= length
    return None


def cut(text: str, length: int) -> tuple[str, int]:
    r"""At most `length` characters of a text, its middle replaced by a note, and how many characters are missing.

    >>> cut("x" * 1000, 60)
    ('xxxxxxxxxxxxxxxx\n[... 976 characters left out ...]\nxxxxxxxx', 976)
    """
    note = f"\n[... {len(text)} characters left out ...]\n"
    kept = length - len(note)
    if kept <= 0:
        return f"[{len(text)} characters left out]"[: max(0, length)], len(text)
    head = int(kept * HEAD_SHARE)
    missing = len(text) - kept
    tail = text[len(text) - (kept - head) :]
    return f"{text[:head]}\n[... {missing} characters left out ...]\n{tail}", missing
