"""Experiments: workloads, measurement, records, plots and reports of the testbed.

Every package of the checkout may be imported from here; nobody imports this one.
"""
