"""Handlers of the routes about alerts."""

from ostler.hub.alert_views import AlertList, AlertNote, DeliveryTest
from ostler.hub.api import HubApi
from ostler.web.bodies import AlertNoteBody, AlertQuery, NoQuery
from ostler.web.call import Call


async def alerts(api: HubApi, call: Call[None, AlertQuery]) -> AlertList:
    """What is raised, the worst first, and the rules as they are in force."""
    return await api.alerts.alerts(every=call.query.all)


async def acknowledge(api: HubApi, call: Call[AlertNoteBody, NoQuery]) -> AlertList:
    """A person knows of an alert: it is silent until it is cleared. Without an id, of all that are active."""
    return await api.alerts.acknowledge(AlertNote(id=call.body.id, by=call.body.by, note=call.body.note))


async def test(api: HubApi, call: Call[None, NoQuery]) -> DeliveryTest:
    """Tell a test at every place that alerts are told at, and say how that went."""
    del call
    return await api.alerts.test()
