"""Alerts, pure: what is seen of a hub -> findings of rules -> what becomes of each alert.

    facts --rules.find--> findings --machine.step--> alerts + changes (raised, cleared)

Nothing here reads a clock or remembers anything: facts, the known alerts and the instant come in, the next alerts and
what there is to tell go out. Equal input gives equal output, in the order of the alerts' names.
"""
