"""Money, pure: windows of time, limits and their levels, the arithmetic of reserve and settle, prices, subscriptions.

Instants, prices and sums come in as arguments, answers go out as values. The store checks limits with this arithmetic
inside the transaction that reserves; the decision asks the same arithmetic about the last sums it was given.
"""
