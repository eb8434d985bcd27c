"""Networks to experiment in: what they are (plan, catalog) and how they are built (emulate)."""
