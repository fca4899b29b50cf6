"""What there is on this machine and whether it goes together: report, routes, warnings.

Nothing is loaded or applied here.
"""
