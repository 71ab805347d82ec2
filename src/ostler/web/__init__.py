"""The hub's face over HTTP: a JSON API for people's tools and for remote workers. No policy: it asks `HubApi`.

One table (`routes`) names every route with its handler; what a handler's signature says (query, body, answer) is what
is decoded, encoded and described in `/hub/openapi.json`, so that the three cannot disagree.
"""
