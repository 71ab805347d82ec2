"""What needs a person, and what people answer."""

from ostler.domain.errors import InvalidInputError, NotFoundError
from ostler.domain.ports import Store
from ostler.domain.states import TaskState
from ostler.domain.tasks import Task
from ostler.hub.needs import settled_now
from ostler.hub.people_views import QuestionList, asked_of, urgency
from ostler.hub.pump import Pump
from ostler.scheduling.intake import Settled
from ostler.scheduling.signals import Answered

ANSWER_CHARACTERS_MAX = 20_000


class PeopleDesk:
    """Questions of tasks that need a person, and the answers to them."""

    def __init__(self, pump: Pump, store: Store) -> None:
        self._pump = pump
        self._store = store

    async def questions(self, owner: str | None = None) -> QuestionList:
        """What needs a person: the nearest deadline first, then the oldest. O(those)."""
        tasks = self._pump.scheduler.books.tasks.in_state(TaskState.NEEDS_HUMAN).values()
        asked = map(asked_of, tasks)
        theirs = [one for one in asked if owner is None or one.owner in ("", owner)]
        return QuestionList(questions=tuple(sorted(theirs, key=urgency)), now_ms=self._pump.clock.now_ms())

    async def answer(self, task_id: str, text: str, *, other: bool = False) -> Task:
        """Let a task go on with an answer. Raises `ConflictError` when it asks nobody, `InvalidInputError` for what is
        none of its choices, unless it is meant to be `other`.
        """
        if not text.strip():
            raise InvalidInputError("the answer is empty", where="text", remedy="say what the task is to go on with")
        if len(text) > ANSWER_CHARACTERS_MAX:
            what = f"the answer has {len(text)} characters"
            raise InvalidInputError(what, where="text", remedy=f"at most {ANSWER_CHARACTERS_MAX}; put more into a file")
        detail = await self._store.task(task_id)
        if detail is None:
            raise NotFoundError(f"there is no task {task_id}", remedy="'ostler tasks list' shows what there is")
        settled = await settled_now(self._pump, self._store, detail.task.needs, Settled())
        task = self._pump.scheduler.books.tasks.get(task_id, detail.task)
        await self._pump.post(
            Answered(task=task, text=text.strip(), other=other, settled=settled.met, lengths=settled.lengths)
        )
        return self._pump.scheduler.books.tasks.get(task_id, task)
