"""What the faces of the hub ask of it about people: what needs one, and what one answers."""

from typing import Protocol

from ostler.domain.tasks import Task
from ostler.hub.people_views import QuestionList


class PeopleApi(Protocol):
    """What needs a person, and what people answer."""

    async def questions(self, owner: str | None = None) -> QuestionList:
        """What needs a person, the most urgent first; `owner`: what is theirs, or anybody's."""
        ...

    async def answer(self, task_id: str, text: str, *, other: bool = False) -> Task:
        """Let a task that needs a person go on; its next attempt is told. Refused when it asks nobody, and unless it is
        meant to be `other` than the choices that the question names.
        """
        ...
