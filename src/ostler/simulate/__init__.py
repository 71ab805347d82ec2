"""Simulated machines and providers: the real code runs against them without a GPU, a key or a bill.

Two kinds of module live here and never mix. Pure models (`host_model`, `cloud_model`, `faults`, `reply`, `timing`) take
events with `now_ms` and answer with decisions; they can be driven in virtual time. Shells (`engine`, `exchange`,
`host`, `cloud`, `server`) give them a clock and speak real wire protocols over HTTP. Whatever is simulated says so.
"""
