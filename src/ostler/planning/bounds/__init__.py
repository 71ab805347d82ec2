"""Lower bounds: how long any plan of an instance must take, with a witness for each claim. See `certificates`."""

from ostler.planning.bounds.certificates import certificates, certify

__all__ = ["certificates", "certify"]
