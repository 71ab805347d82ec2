"""The command line: verbs over the hub's API, and the entry points of hub, worker and simulators. No policy.

Start-up is part of the interface: `main` knows the verbs by name only and imports the module of the one that was
called; each verb imports what it needs when it needs it. SQLAlchemy and the web server are imported by the verbs that
serve, and by no other.
"""
