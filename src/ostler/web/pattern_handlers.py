"""Handlers of the routes about outcomes and what is learned of them."""

from ostler.domain.errors import InvalidInputError
from ostler.domain.observations import Says
from ostler.hub.api import HubApi
from ostler.hub.pattern_views import ObservationList, PatternChange, PatternReport
from ostler.web.bodies import NoQuery, OutcomesBody, PatternQuery
from ostler.web.call import Call
from ostler.web.decode import check_names


async def patterns(api: HubApi, call: Call[None, PatternQuery]) -> PatternReport:
    """Standings of models by type of work, what is proven of tiers, and whether decisions obey it."""
    return await api.patterns.report(call.query.which())


async def outcomes(api: HubApi, call: Call[None, PatternQuery]) -> ObservationList:
    """Outcomes in the order in which they were kept."""
    return await api.patterns.observations(call.query.which())


async def add_outcomes(api: HubApi, call: Call[OutcomesBody, NoQuery]) -> PatternChange:
    """Keep outcomes. Those whose id is known are left alone, so it is safe to repeat."""
    for place, one in enumerate(call.body.observations):
        names = {"id": one.id, "task_type": one.task_type}
        check_names({f"$.observations[{place}].{field}": value for field, value in names.items()})
        if one.says is not Says.LABEL and not (one.model.strip() and one.model.isprintable()):
            remedy = "name the model that did it"
            raise InvalidInputError(f"'{one.model}' is no model", where=f"$.observations[{place}].model", remedy=remedy)
    return await api.patterns.add(call.body.observations)


async def forget_outcomes(api: HubApi, call: Call[None, PatternQuery]) -> PatternChange:
    """Forget outcomes and take back what they changed; without a parameter all of them."""
    return await api.patterns.forget(call.query.which())
