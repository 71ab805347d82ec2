"""Handlers of the routes about late results."""

from ostler.domain.errors import InvalidInputError
from ostler.domain.tasks import Task
from ostler.hub.api import HubApi
from ostler.hub.late_views import LateAnswer, LateList
from ostler.web.bodies import NoQuery
from ostler.web.call import Call


async def late(api: HubApi, call: Call[None, NoQuery]) -> LateList:
    """Results of attempts that had been given up when they were reported, newest first."""
    del call
    return await api.late.rows()


async def late_result(api: HubApi, call: Call[None, NoQuery]) -> LateAnswer:
    """One of them with its output."""
    return await api.late.show(call.path["id"], _number(call.path["attempt"]))


async def adopt(api: HubApi, call: Call[None, NoQuery]) -> Task:
    """Take it for the result of its task. 409 when the task has a result, or an attempt of it is under way."""
    return await api.late.adopt(call.path["id"], _number(call.path["attempt"]))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise InvalidInputError(f"'{text}' is no number of an attempt", where="attempt", remedy="attempts count from 1")
    return int(text)
