"""A typed client of a hub, made of the standard library and msgspec: for the command line, tests and scripts.

`HubClient(Transport("http://127.0.0.1:7433", token))`; every method answers with a struct of `ostler.hub.views` and
raises a subclass of `OstlerError` with the hub's own words.
"""

from ostler.client.hub_client import HubClient
from ostler.client.transport import Transport

__all__ = ["HubClient", "Transport"]
