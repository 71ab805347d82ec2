"""Handlers of the routes for what needs a person, and what people answer."""

from ostler.domain.tasks import Task
from ostler.hub.api import HubApi
from ostler.hub.people_views import QuestionList
from ostler.web.bodies import AnswerBody, NoQuery, QuestionQuery
from ostler.web.call import Call


async def questions(api: HubApi, call: Call[None, QuestionQuery]) -> QuestionList:
    """What needs a person, the most urgent first: asked of whom, until when, with which choices and default."""
    return await api.people.questions(call.query.owner)


async def answer(api: HubApi, call: Call[AnswerBody, NoQuery]) -> Task:
    """Let a task that needs a person go on; its next attempt is told the answer. 409 when it asks nobody, 400 when it
    names choices and this is none of them.
    """
    return await api.people.answer(call.path["id"], call.body.text, other=call.body.other)
