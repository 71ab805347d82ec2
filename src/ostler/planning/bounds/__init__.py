"""Lower bounds: how long any plan of an instance must take, with a witness for each claim. See `certificates`."""

from ostler.planning.bounds.certificates import bounds_of, certificates, certify

__all__ = ["bounds_of", "certificates", "certify"]
