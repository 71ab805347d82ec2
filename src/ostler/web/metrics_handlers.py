"""The handler of the route that scrapers ask."""

from ostler.hub.api import HubApi
from ostler.telemetry.exposition import CONTENT_TYPE
from ostler.web.bodies import NoQuery
from ostler.web.call import Call, Text


async def metrics(api: HubApi, call: Call[None, NoQuery]) -> Text:
    """All metrics, in the text format of Prometheus."""
    del call
    return Text(await api.metrics.text(), CONTENT_TYPE)
