"""Handlers of the routes for what people answer."""

from ostler.domain.tasks import Task
from ostler.hub.api import HubApi
from ostler.web.bodies import AnswerBody, NoQuery
from ostler.web.call import Call


async def answer(api: HubApi, call: Call[AnswerBody, NoQuery]) -> Task:
    """Let a task that needs a person go on; its next attempt is told the answer. 409 when it asks nobody."""
    return await api.people.answer(call.path["id"], call.body.text)
