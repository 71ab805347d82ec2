"""What outcomes teach about which model will do: counts that fade, beliefs with bounds, choices that say why.

Pure: outcomes, prices, instants and draws come in as arguments. Nothing here reads a clock or throws dice, so equal
evidence gives equal choices.
"""
